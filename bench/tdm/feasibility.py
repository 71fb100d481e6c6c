"""Is what a temporal difference model says of goals true: `python bench/tdm/feasibility.py panda --goals 200 --seed 5 --json F`.

Points in a box around the arm, within reach and out of it, from home. What is said: the distance left at the end of the chain, and the
time. What is true: where the simulated arm is after its time, led by the same planner.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from taustack.cli.output import add_workers, table, workers_of
from taustack.config import SuccessConfig, load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.subgoal_kinds import make_subgoal_planner
from taustack.pool import run_all
from taustack.sim.episode import run_episode
from taustack.sim.planners import make_planner
from taustack.sim.plant import MujocoPlant

TOLERANCE_M = 0.05  # of what counts as reachable, as the node refuses goals
LOW, HIGH = np.array([-1.1, -1.1, 0.02]), np.array([1.1, 1.1, 1.4])
SUCCESS = SuccessConfig(tolerance=0.02, hold_s=0.2, timeout_s=4.0)  # of the time that is taken
Job = tuple[str, Path, int, int]


def judged(job: Job) -> dict[str, Any]:
    """One goal: what was said of it, and what came of it."""
    name, bundle, seed, index = job
    robot = load_robot(name)
    task = load_task(robot, "reach")
    goal = np.random.default_rng([seed, index]).uniform(LOW, HIGH)
    plant = MujocoPlant(robot)
    plant.reset()
    said = make_subgoal_planner("tdm", robot, task, load_bundle(bundle, robot)).choose(plant.read(), goal)
    done = run_episode(plant, make_planner("tdm", robot, task, bundle, np.random.default_rng(index)), goal, SUCCESS)
    assert said.left_m is not None
    return {
        "goal": goal.tolist(),
        "left_m": said.left_m,
        "expected_s": said.time_s,
        "reached": done.final_error_m <= TOLERANCE_M,
        "took_s": done.time_to_goal_s if done.success else None,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("robot")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--goals", type=int, default=200)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--json", type=Path)
    add_workers(parser)
    options = parser.parse_args()
    bundle = options.bundle or load_robot(options.robot).folder / "bundle"
    found = run_all(judged, [(options.robot, bundle, options.seed, i) for i in range(options.goals)], workers_of(options))
    said = np.array([row["left_m"] <= TOLERANCE_M for row in found])
    true = np.array([row["reached"] for row in found])
    both = said & true
    ratio = np.array([row["expected_s"] / row["took_s"] for row in found if row["took_s"]])
    figures = {
        "goals": len(found), "reached": int(true.sum()), "called reachable": int(said.sum()), "precision": float(both.sum() / max(1, said.sum())),
        "recall": float(both.sum() / max(1, true.sum())), "expected over real time, median": float(np.median(ratio)),
        "off by, median": float(np.median(np.abs(ratio - 1))),
    }  # fmt: skip
    print(table(["what", "value"], [[name, f"{value:.4g}"] for name, value in figures.items()]))
    if options.json:
        options.json.write_text(json.dumps({"figures": figures, "goals": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
