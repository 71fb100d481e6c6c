"""Tries a bundle, see `rehearsal`: `python -m taustack.controllers.rehearse FOLDER ROBOT TASK`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from taustack.config import load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.mppi import MPPI
from taustack.errors import TaustackError
from taustack.legged import load_legged
from taustack.robot_folders import has_legs
from taustack.walk_task import load_walk_task

PLANS = 5


def rehearse(folder: Path, robot_name: str, task_name: str) -> None:
    """Hashes, contract, metadata, golden inputs, and some plans.

    Raises:
        BundleRefused: something about it is wrong.
        TaustackError: a plan is not finite.
    """
    if has_legs(robot_name):
        rehearse_walk(folder, robot_name, task_name)
        return
    robot = load_robot(robot_name)
    planner = MPPI(load_bundle(folder, robot), robot, load_task(robot, task_name), np.random.default_rng(0))
    home = np.concatenate([robot.home, 0 * robot.home] * 2)
    for _ in range(PLANS):
        if not all(np.isfinite(out).all() for shard in planner.rehearse(home) for out in shard[:4]):
            raise TaustackError(f"{folder}: a plan from home is not finite")


def rehearse_walk(folder: Path, robot_name: str, task_name: str) -> None:
    """The same of a robot on legs. Raises PlanFailed, too."""
    # Here, for these bring the compiler: nearly half the work of an arm's rehearsal, which waits for a core beside a busy planner.
    from taustack.controllers.standing import standing
    from taustack.controllers.walk_bundle import load_walk_bundle
    from taustack.controllers.walk_mppi import WalkMPPI

    robot = load_legged(robot_name)
    task = load_walk_task(robot, task_name)
    planner = WalkMPPI(load_walk_bundle(folder, robot), robot, task, np.random.default_rng(0))
    for _ in range(PLANS):
        planner.plan(standing(robot), 0.5 * np.array(task.velocity))


def main(arguments: list[str]) -> int:
    try:
        rehearse(Path(arguments[0]), arguments[1], arguments[2])
    except TaustackError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
