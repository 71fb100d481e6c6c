"""The delay between a reference and its effect, identified from runs, and runs aligned to the time of effect.

A robot that acts d late follows at time t the reference of t - d. With the reference part of the state taken from t - d the
state is Markov again, and a model without memory can learn it; the planner starts from the same state (see controllers/mppi).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.models.dataset import Run

FloatArray = NDArray[np.float64]
MOST_STEPS = 10
CLEARLY = 0.9  # a longer delay must leave less than this share of the error of a shorter one to be believed
CLEARLY_TOGETHER = 0.97  # the same for the mean over the joints, which scatters less
STILL = 0.02  # [rad/s or m/s] of reference speed (rms) below which a joint says nothing
MOST_STEPS_READ = 60_000  # of all runs: twenty minutes at 50 Hz say it, hours would cost their memory


@dataclass(frozen=True, kw_only=True)
class DelayEstimate:
    """Delay of each joint in steps, -1 where the joint did not move, and the one of all of them."""

    per_joint: tuple[int, ...]
    steps: int
    error: FloatArray
    """Residual (MOST_STEPS + 1, n) of the linear predictor, as a share of the change that it predicts."""


def identify_delay(runs: list[Run], joint_names: tuple[str, ...]) -> DelayEstimate:
    """For each joint the delay with which a linear predictor of its next velocity errs least. Of many hours, runs from all over them are read.

    Raises:
        BadInput: no joint moved, or the runs are too short.
    """
    n = len(joint_names)
    rows = [run for run in runs if len(run.u) > MOST_STEPS + 2]
    if not rows:
        raise BadInput("dataset", "runs", f"none longer than {MOST_STEPS + 2} steps", "longer runs")
    rows = rows[:: 1 + sum(len(run.u) for run in rows) // MOST_STEPS_READ]
    speed = np.sqrt(np.mean(np.concatenate([run.u for run in rows]) ** 2, axis=0))
    moved = speed > STILL
    if not moved.any():
        raise BadInput("dataset", "excitation", f"the fastest joint moved at {speed.max():.3f} rad/s (rms)", f"more than {STILL:g} in some joint")
    error = np.array([_residual(rows, n, steps) for steps in range(MOST_STEPS + 1)])
    per_joint = [_shortest(error[:, j], CLEARLY) if moved[j] else -1 for j in range(n)]
    # A joint that payload and friction disturb says little by itself; all of them together do.
    together = np.exp(np.log(np.maximum(error[:, moved], 1e-9)).mean(axis=1))
    return DelayEstimate(per_joint=tuple(per_joint), steps=_shortest(together, CLEARLY_TOGETHER), error=error)


def aligned(runs: list[Run], steps: int) -> list[Run]:
    """Runs whose references are those of `steps` control steps before; each loses that many steps at its start."""
    if steps == 0:
        return runs
    out = []
    for run in runs:
        if len(run.u) <= steps:
            continue
        n = run.u.shape[1]
        x = np.concatenate([run.x[steps:, : 2 * n], run.x[:-steps, 2 * n :]], axis=1)
        out.append(Run(x=x, u=run.u[:-steps], ee=run.ee[steps:], torque=run.torque[steps:]))
    return out


def _shortest(error: FloatArray, clearly: float) -> int:
    """The first delay that no longer one beats clearly."""
    best = 0
    for steps in range(1, len(error)):
        if error[steps] < clearly * error[best]:
            best = steps
    return best


def _residual(runs: list[Run], n: int, steps: int) -> FloatArray:
    """Share (n,) of the change of velocity that a linear predictor leaves, with references `steps` old."""
    parts = aligned(runs, steps)
    # The same samples for every delay, so that the errors compare.
    x = np.concatenate([run.x[MOST_STEPS - steps : -1] for run in parts])
    after = np.concatenate([run.x[MOST_STEPS - steps + 1 :] for run in parts])
    u = np.concatenate([run.u[MOST_STEPS - steps :] for run in parts])
    q, dq, q_ref, dq_ref = np.split(x, 4, axis=1)
    left = np.zeros(n)
    for j in range(n):
        features = np.stack([q_ref[:, j] - q[:, j], dq_ref[:, j] - dq[:, j], u[:, j] - dq_ref[:, j], dq[:, j], np.ones(len(x))], axis=1)
        change = after[:, n + j] - dq[:, j]
        fit, *_ = np.linalg.lstsq(features, change, rcond=None)
        left[j] = np.mean((change - features @ fit) ** 2) / max(1e-12, float(np.var(change)))
    return left
