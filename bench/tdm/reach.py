"""How fast a TDM learns to reach, beside DDPG, DDPG + HER, an ensemble under MPPI and its own ablations:
`python bench/tdm/reach.py planar_reacher --steps 20000 --seeds 0 1 2 --json F --picture P`.

Every row has the same episodes, networks, batch and updates a step; DDPG and HER are those of stable-baselines3 with minus the
distance as reward. Each finished run is written to the JSON file at once, and not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from rows import ROWS, Job, run

from taustack.cli.output import table
from taustack.models.tdm.train import Schedule
from taustack.pool import Workers, run_all


def job(wanted: Job) -> dict[str, Any]:
    """One run, as data."""
    return {"task": named(wanted.task, wanted.goal_space), "row": wanted.row, "seed": wanted.seed, **vars(run(wanted))}


def named(task: str, goal_space: str | None) -> str:
    """How runs are kept."""
    return f"{task} {goal_space}" if goal_space else task


def draw(runs: list[dict[str, Any]], rows: list[str], path: Path) -> None:
    """Median over seeds, and the range."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.8), constrained_layout=True)
    for row in rows:
        of = [r for r in runs if r["row"] == row]
        if of:
            distance = np.array([r["distance"] for r in of])
            (line,) = axes.semilogy(of[0]["steps"], np.median(distance, 0), label=row)
            axes.fill_between(of[0]["steps"], distance.min(0), distance.max(0), color=line.get_color(), alpha=0.15)
    axes.set(
        xlabel="steps of the task", ylabel="mean final distance [m, or the goal's unit]", title=f"{runs[0]['task']}: {len({r['seed'] for r in runs})} seeds"
    )
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("--goal-space", help="of a robot (default: its first)")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--every", type=int, default=500)
    parser.add_argument("--episodes", type=int, default=25)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=ROWS)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--workers", type=int)
    options = parser.parse_args()
    runs: list[dict[str, Any]] = json.loads(options.json.read_text()) if options.json.is_file() else []
    name = named(options.task, options.goal_space)
    done = {(r["row"], r["seed"]) for r in runs if r["task"] == name and r["steps"][-1] == options.steps}
    schedule = Schedule(steps=options.steps, evaluate_every=options.every, episodes=options.episodes)
    wanted = [
        Job(task=options.task, row=row, seed=seed, schedule=schedule, goal_space=options.goal_space)
        for row in options.rows for seed in options.seeds if (row, seed) not in done
    ]  # fmt: skip
    batch = options.workers or 2
    for i in range(0, len(wanted), batch):
        runs += run_all(job, wanted[i : i + batch], Workers(count=batch))
        options.json.write_text(json.dumps(runs, indent=1) + "\n")
    runs = [r for r in runs if r["task"] == name and r["steps"][-1] == options.steps]
    marks = sorted({s for s in (1000, 2000, 5000, 10_000, 20_000) if s % options.every == 0 and s < options.steps} | {options.steps})
    lines = []
    for row in options.rows:
        of = [r for r in runs if r["row"] == row]
        at = ["  ".join(f"{1e3 * r['distance'][r['steps'].index(mark)]:.0f}" for r in of) for mark in marks]
        lines.append([row, *at, "  ".join(f"{r['seconds'][-1]:.0f}" for r in of)])
    print(table(["mean final distance by seed [mm, or thousandths of the goal's unit]", *[f"{mark} steps" for mark in marks], "seconds"], lines))
    if options.picture:
        draw(runs, options.rows, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
