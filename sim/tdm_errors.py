"""How far a bundle's temporal difference model is off on runs that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.tdm_bundle import tdm_of
from taustack.models.dataset import Run
from taustack.tdm_arm import joint_state

FloatArray = NDArray[np.float64]


def tdm_errors(bundle: Bundle, robot: RobotConfig, runs: Sequence[Run]) -> dict[str, float]:
    """Mean errors of f, of the joint that is furthest off [rad or m]; empty for a bundle without such a model or runs that are too short.

    `one step`: with tau 0 f is where the robot is a step later, whatever the goal. `reached`: of goals where the robot was tau + 1 steps
    later, f must say that they are reached.
    """
    if bundle.manifest.tdm is None:
        return {}
    model = tdm_of(bundle, robot).model
    layout, n = model.contract.layout, robot.n
    every, last = round(layout.dt / robot.rates.control_dt), layout.tau_max
    rng = np.random.default_rng(0)
    one_step, reached = [], []
    for run in runs:
        x = run.x[::every]
        if len(x) < last + 2:
            continue
        t = np.arange(len(x) - last - 1)
        s, a = np.asarray(joint_state(x[t])), x[t + 1, 3 * n :]
        goals = x[rng.permutation(len(x))[: len(t)], :n]
        f, _ = model.reach(s, a, goals, np.zeros(len(t)))
        one_step.append(_furthest(f, x[t + 1, :n]))
        tau = rng.integers(last // 2, last + 1, len(t))
        then = x[t + tau + 1, :n]
        f, _ = model.reach(s, a, then, tau.astype(float))
        reached.append(_furthest(f, then))
    if not one_step:
        return {}
    return {"one step": float(np.concatenate(one_step).mean()), "reached": float(np.concatenate(reached).mean())}


def _furthest(f: FloatArray, q: FloatArray) -> FloatArray:
    """Of quantiles f (B, quantiles, n) the middle one against q (B, n): (B,)."""
    return np.asarray(np.abs(f[:, f.shape[1] // 2] - q).max(-1))
