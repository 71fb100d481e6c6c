"""A TDM of the double integrator against what can be reached exactly, and its quantiles against walks with noise:
`python bench/tdm/double_integrator.py --seeds 0 1 2 --json F --picture P`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taustack.cli.output import table
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.spec import HELD_FOR_QUANTILES, WITHOUT_HINDSIGHT, TDMConfig
from taustack.models.tdm.train import Schedule, train
from taustack.sim.tdm_tasks.double_integrator import DoubleIntegrator, reached

FloatArray = NDArray[np.float64]
CONFIG = TDMConfig(hidden=(128, 128), updates_per_step=5, final_rates=0.03)
LEVELS = (0.1, 0.5, 0.9)
NOISE = 0.05  # deviation of the push on v in each step [m/s]
WALKS = 4000


def grid(task: DoubleIntegrator) -> tuple[FloatArray, ...]:
    """s, a, g, tau over the range that episodes begin in."""
    tau_max = task.layout.tau_max
    axes = (np.linspace(-0.8, 0.8, 7), np.linspace(-0.4, 0.4, 5), np.linspace(-0.9, 0.9, 5), np.linspace(-0.9, 0.9, 9), np.arange(tau_max + 1))
    p, v, a, g, tau = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
    return np.stack([p, v], 1), a[:, None], g[:, None], tau.astype(float)


def f_of(learner: TDMLearner, *arguments: FloatArray) -> FloatArray:
    """f (B, quantiles, ng), mean of the twins."""
    with torch.no_grad():
        return learner.f(*(torch.tensor(v, dtype=torch.float32) for v in arguments)).mean(0).double().numpy()


def exactness(config: TDMConfig, steps: int) -> tuple[dict[str, Any], TDMLearner]:
    """Root mean square errors of f and Q over the grid, as a share of the width of the set reached in tau_max steps."""
    task = DoubleIntegrator()
    learner, _, curve = train(task, config, Schedule(steps=steps, evaluate_every=steps))
    s, a, g, tau = grid(task)
    exact, found = reached(s, a, g, tau, task.layout.dt), f_of(learner, s, a, g, tau)[:, 0]
    width = (task.layout.dt * task.layout.tau_max) ** 2
    off = np.abs(g - found) - np.abs(g - exact)
    result = {
        "f_rms": float(np.sqrt(np.mean((found - exact) ** 2))) / width, "f_p99": float(np.quantile(np.abs(found - exact), 0.99)) / width,
        "q_rms": float(np.sqrt(np.mean(off**2))) / width, "q_p99": float(np.quantile(np.abs(off), 0.99)) / width,
        "still_rms": float(np.sqrt(np.mean((s[:, :1] - exact) ** 2))) / width, "final_distance_m": curve.distance[-1], "seconds": curve.seconds[-1],
    }  # fmt: skip
    return result, learner


def calibration(config: TDMConfig, steps: int) -> dict[str, float]:
    """Share of noisy walks under the policy that end below each predicted quantile, over random s, g and tau."""
    task = DoubleIntegrator(noise=NOISE)
    noisy = dataclasses.replace(config, quantiles=LEVELS, learner="ddpg", relabel=WITHOUT_HINDSIGHT, held=HELD_FOR_QUANTILES)
    learner, _, _ = train(task, noisy, Schedule(steps=steps, evaluate_every=steps))
    rng = np.random.default_rng(10_000 + config.seed)
    below = np.zeros(len(LEVELS))
    for _ in range(WALKS):
        s, g = task.reset(rng)
        first, tau = s, int(rng.integers(1, task.layout.tau_max + 1))  # the push on v moves p only in the step after
        a = learner.act(s, g, tau)
        predicted = f_of(learner, first[None], a[None], g[None], np.array([float(tau)]))[0, :, 0]
        for left in range(tau, -1, -1):
            s = task.step(learner.act(s, g, left))
        below += s[0] <= predicted
    return {f"{100 * level:.0f} %": float(share) for level, share in zip(LEVELS, below / WALKS, strict=True)}


def draw(learner: TDMLearner, path: Path) -> None:
    """Distance to the goal that is left, over goals and tau: exact, and what the TDM says."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    task = DoubleIntegrator()
    goals, taus = np.linspace(-1.5, 1.5, 121), np.arange(task.layout.tau_max + 1)
    g, tau = (x.ravel() for x in np.meshgrid(goals, taus.astype(float), indexing="ij"))
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), constrained_layout=True, sharey=True)
    for axis, v in zip(axes, (-0.4, 0.0, 0.4), strict=True):
        s, a = np.tile([0.0, v], (len(g), 1)), np.zeros((len(g), 1))
        shape = (len(goals), len(taus))
        exact = np.abs(g - reached(s, a, g[:, None], tau, task.layout.dt)[:, 0]).reshape(shape)
        found = np.abs(g - f_of(learner, s, a, g[:, None], tau)[:, 0, 0]).reshape(shape)
        levels = [0.05, 0.2, 0.4, 0.6, 0.8, 1.0]
        lines = axis.contour(taus * task.layout.dt, goals, exact, levels, colors="k", linewidths=0.8)
        axis.contour(taus * task.layout.dt, goals, found, levels, colors="tab:orange", linewidths=1.5, linestyles="--")
        axis.clabel(lines, fontsize=7)
        axis.set(xlabel="time left [s]", title=f"v = {v:g} m/s")
    axes[0].set_ylabel("goal [m], from p = 0")
    figure.suptitle("distance that stays, |Q| [m]: exact (black), temporal difference model (orange)", fontsize=10)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = []
    for seed in options.seeds:
        config = dataclasses.replace(CONFIG, seed=seed)
        exact, learner = exactness(config, options.steps)
        rows.append({"seed": seed, **exact, "below": calibration(config, options.steps)})
        if options.picture and seed == options.seeds[0]:
            draw(learner, options.picture)
        shown = [[str(v) if not isinstance(v, float) else f"{v:.4f}" for v in row.values()] for row in rows]
        print(table(list(rows[0]), shown), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
