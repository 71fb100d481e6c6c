"""Laws without a model, MPPI over MuJoCo and MPPI over learned models, side by side: the same episodes, the estimator in the loop.

python bench/walks/table.py go2 --tasks goal velocity push --episodes 30 --seed 5 --json runs/walks.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from taustack.cli.output import table
from taustack.legged import load_legged
from taustack.pool import Workers
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks
from taustack.sim.walk_planners import MPPI, MPPI_MUJOCO

COLUMNS = {
    "goal": ("success_rate", "falls", "mean_speed_m_s", "limit_violations", "estimator_velocity_rms_m_s", "estimator_drift_share"),
    "velocity": ("falls", "rms_vx_m_s", "rms_vy_m_s", "rms_turn_rad_s", "limit_violations", "estimator_velocity_rms_m_s"),
    "push": ("kicks", "kicks_survived", "limit_violations"),
    "push_hard": ("kicks", "kicks_survived", "limit_violations"),
    "stand": ("falls", "limit_violations"),
}


def rows_of(options: argparse.Namespace) -> list[tuple[str, str, Path]]:
    """Name, planner and bundle of each row."""
    folder = load_legged(options.robot).folder / "bundle"
    laws = [(name, name, folder) for name in ("open_loop", "feed_forward", "feedback", MPPI_MUJOCO) if name in options.planners]
    bundles = options.bundles or [folder]
    return laws + ([(f"mppi {bundle.name}", MPPI, bundle) for bundle in bundles] if MPPI in options.planners else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot")
    parser.add_argument("--tasks", nargs="+", default=["goal", "velocity", "push"], choices=list(COLUMNS))
    parser.add_argument("--planners", nargs="+", default=["open_loop", "feed_forward", "feedback", MPPI])
    parser.add_argument("--bundles", nargs="+", type=Path, help="of the mppi rows (default: the robot's own)")
    parser.add_argument("--scenario", default="nominal")
    parser.add_argument("--episodes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    robot, results = load_legged(options.robot), list[dict[str, Any]]()
    for task in options.tasks:
        for name, planner, bundle in rows_of(options):
            spec = {"robot": robot.folder, "task": task, "scenario": options.scenario, "planner": planner, "seed": options.seed, "bundle": bundle}
            specs = [WalkSpec(index=i, **spec) for i in range(options.episodes)]
            with tqdm(total=len(specs), desc=f"{task} {name}", disable=None) as bar:
                results.append({"task": task, "row": name, "scenario": options.scenario} | evaluate_walks(specs, Workers(count=options.workers), bar.update))
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
        shown = [[done["row"], *(_figure(done.get(column)) for column in COLUMNS[task])] for done in results if done["task"] == task]
        print(table([f"{task}, {options.scenario}", *COLUMNS[task]], shown), flush=True)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    main()
