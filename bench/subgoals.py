"""Planners of subgoals beside each other on a task with obstacles: `python bench/subgoals.py panda wall --json F --picture P`.

`--also NAME=BUNDLE` adds a row of `tdm` over another bundle.

Success, collisions (episodes in which the plant touched anything), time to goal and the time that a choice takes, and a picture of the
ways: the end effector seen from above and from the front.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from taustack.cli.output import add_workers, table, workers_of
from taustack.config import RobotConfig, TaskConfig, load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.subgoal_kinds import KINDS, make_subgoal_planner
from taustack.pool import run_all
from taustack.sim.episode import Episode
from taustack.sim.evaluate import EpisodeSpec, episode, metrics

DRAWN = 12  # episodes in the picture
COLOURS = {True: "tab:green", False: "tab:red"}


def choosing_ms(kind: str, robot: RobotConfig, task: TaskConfig, bundle: Path, episodes: list[Episode]) -> tuple[float, float]:
    """Median and 99th percentile of the time for a choice [ms], over states of the episodes; the first one of a goal apart, which is several searches."""
    planner, took = make_subgoal_planner(kind, robot, task, load_bundle(bundle, robot)), []
    for done in episodes:
        assert done.log is not None
        planner.reset()
        planner.choose(done.log.plans[0][0].state, done.goal)
        for measured, _ in done.log.plans[5::5]:
            began = time.perf_counter()
            planner.choose(measured.state, done.goal)
            took.append(1e3 * (time.perf_counter() - began))
    return float(np.median(took)), float(np.quantile(took, 0.99))


def draw(found: dict[str, list[Episode]], task: TaskConfig, path: Path) -> None:
    """Ways of the end effector: from above, and from the front."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(found), figsize=(3.4 * len(found), 5.6), constrained_layout=True, sharex=True, sharey="row", squeeze=False)
    for column, (kind, episodes) in enumerate(found.items()):
        for row, (across, up) in enumerate(((1, 0), (1, 2))):
            axis = axes[row, column]
            for done in episodes[:DRAWN]:
                assert done.log is not None
                ee = np.array([values[-3:] for *_, values in done.log.rows])
                axis.plot(ee[:, across], ee[:, up], color=COLOURS[done.success], linewidth=0.8)
                axis.plot(done.goal[across], done.goal[up], "k+", markersize=5)
            for body in task.obstacles:
                half = body.size if body.shape == "box" else body.size * 3
                low = body.position[across] - half[across], body.position[up] - half[up]
                axis.add_patch(plt.Rectangle(low, 2 * half[across], 2 * half[up], color="tab:orange", alpha=0.6))
            axis.set_aspect("equal")
        axes[0, column].set_title(f"{kind}: {np.mean([done.success for done in episodes]):.2f}")
        axes[1, column].set_xlabel("y [m]")
    axes[0, 0].set_ylabel("x [m], from above")
    axes[1, 0].set_ylabel("z [m], from the front")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot")
    parser.add_argument("task")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--also", nargs="*", default=[], metavar="NAME=BUNDLE")
    parser.add_argument("--scenario", default="nominal")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    add_workers(parser)
    options = parser.parse_args()
    robot = load_robot(options.robot)
    task = load_task(robot, options.task)
    rows: list[dict[str, Any]] = []
    found: dict[str, list[Episode]] = {}
    others = [(name, "tdm", Path(folder).resolve()) for name, _, folder in (row.partition("=") for row in options.also)]
    for name, kind, bundle in [*((kind, kind, robot.folder / "bundle") for kind in options.kinds), *others]:
        same = {"robot": robot.folder, "task": options.task, "scenario": options.scenario, "bundle": bundle, "seed": options.seed}
        specs = [EpisodeSpec(planner=kind, index=i, log=True, **same) for i in range(options.episodes)]
        began = time.perf_counter()
        found[name] = run_all(episode, specs, workers_of(options))
        measured = metrics(found[name], time.perf_counter() - began)
        p50, p99 = choosing_ms(kind, robot, task, bundle, found[name])
        kept = ("success_rate", "collisions", "median_time_to_goal_s", "p90_time_to_goal_s", "median_final_error_m", "limit_violations", "median_plan_ms")
        rows.append({"planner": name, **{name: measured[name] for name in kept}, "choice_p50_ms": p50, "choice_p99_ms": p99})
        shown = [[f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
        print(table(list(rows[0]), shown), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"task": options.task, "scenario": options.scenario, "seed": options.seed, "rows": rows}, indent=1) + "\n")
    if options.picture:
        draw(found, task, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
