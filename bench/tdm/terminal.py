"""Does a temporal difference model at the end of the horizon stand in for steps: `python bench/tdm/terminal.py panda FOLDER --json F`.

FOLDER is a finished training of `taustack train tdm panda`. The plan graph of the robot's bundle is written for each horizon, with and without
the model, and runs the same episodes; plan times are measured in turn, so that all of them see the same machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from taustack.cli.output import add_workers, table, workers_of
from taustack.config import RobotConfig, load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.costs import COST_TERMS
from taustack.controllers.mppi import MPPI
from taustack.models.again import write_again
from taustack.models.tdm.terminal import trained_terminal
from taustack.pool import run_all
from taustack.sim.evaluate import EpisodeSpec, episode, metrics
from taustack.sim.mjcf import chain_from_model, compile_model

ROUNDS = 200


@dataclass(frozen=True, kw_only=True)
class Row:
    """A horizon, what it ends in, and the weight of that."""

    horizon: int
    terminal: str
    weight: float

    @property
    def name(self) -> str:
        """In the table."""
        return f"H = {self.horizon}, {'TDM' if self.terminal == 'tdm' else 'distance'} at its end, weight {self.weight:g}"


def prepared(row: Row, robot: RobotConfig, task_name: str, tdm: Path, work: Path) -> tuple[Path, Path]:
    """A copy of the robot whose task is that of the row, and the bundle for it."""
    home = work / f"{row.horizon}_{row.terminal}_{row.weight:g}" / robot.name
    shutil.copytree(robot.folder, home, ignore=shutil.ignore_patterns("bundle*"))
    path = home / "tasks" / f"{task_name}.yaml"
    task = yaml.safe_load(path.read_text())
    task["mppi"]["horizon"], task["terminal"], task["cost"]["terminal"] = row.horizon, row.terminal, row.weight
    path.write_text(yaml.safe_dump(task))
    own = load_robot(home)
    terminal = trained_terminal(tdm) if row.terminal == "tdm" else None
    bundle = home.parent / "bundle"
    write_again(robot.folder / "bundle", bundle, own, load_task(own, task_name), chain_from_model(compile_model(own), own), COST_TERMS, terminal, "bench")
    return home, bundle


def plan_ms(rows: dict[str, tuple[Path, Path]], task: str) -> dict[str, float]:
    """Median time of a plan step [ms], the rows in turn."""
    planners, took = {}, {name: [] for name in rows}  # type: ignore[var-annotated]
    for name, (home, bundle) in rows.items():
        robot = load_robot(home)
        planners[name] = MPPI(load_bundle(bundle, robot), robot, load_task(robot, task), np.random.default_rng(0)), robot
    for _ in range(ROUNDS):
        for name, (planner, robot) in planners.items():
            began = time.perf_counter()
            planner.rehearse(np.concatenate([robot.home, 0 * robot.home] * 2))
            took[name].append(1e3 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in took.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot")
    parser.add_argument("tdm", type=Path)
    parser.add_argument("--task", default="reach")
    parser.add_argument("--planner", default="direct")
    parser.add_argument("--horizons", type=int, nargs="+", default=[30, 10, 5])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.05, 1.0], help="of what stands at the end")
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", type=Path)
    add_workers(parser)
    options = parser.parse_args()
    robot, found = load_robot(options.robot), []
    with tempfile.TemporaryDirectory() as temporary:
        wanted = [Row(horizon=h, terminal=t, weight=w) for h in options.horizons for t in ("distance", "tdm") for w in options.weights]
        rows = {row.name: prepared(row, robot, options.task, options.tdm, Path(temporary)) for row in wanted}
        spec = EpisodeSpec(
            robot=robot.folder, task=options.task, scenario="nominal", planner=options.planner, bundle=robot.folder, seed=options.seed, index=0
        )  # fmt: skip
        for row in wanted:
            home, bundle = rows[row.name]
            specs = [dataclasses.replace(spec, robot=home, bundle=bundle, index=i) for i in range(options.episodes)]
            began = time.monotonic()
            episodes = run_all(episode, specs, workers_of(options))
            done: dict[str, Any] = {**dataclasses.asdict(row), **metrics(episodes, time.monotonic() - began)}
            found.append(done)
            print(row.name, f"success {done['success_rate']:.2f}", flush=True)
        times = plan_ms(rows, options.task)
    for row, done in zip(wanted, found, strict=True):
        done["plan_ms"] = times[row.name]
    keys = ("success_rate", "median_time_to_goal_s", "p90_time_to_goal_s", "median_final_error_m", "limit_violations", "plan_ms")
    print(table(["at the end", *keys], [[row.name, *[f"{done[key]:.4g}" for key in keys]] for row, done in zip(wanted, found, strict=True)]))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
