"""Tries a bundle in a process of its own before anything that runs touches it: `python -m taustack.controllers.rehearsal FOLDER ROBOT TASK`."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np

from taustack.config import load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.mppi import MPPI
from taustack.errors import TaustackError

NICE = 3  # what plans in real time is above any of these; where nothing may, it still comes first
PLANS = 5
CPU_S = 60  # of work, of which two are needed; on a busy robot what gives way may wait long for them
TIMEOUT_S = 240.0


def rehearse(folder: Path, robot_name: str, task_name: str) -> None:
    """Hashes, contract, metadata, golden inputs, and some plans.

    Raises:
        BundleRefused: something about it is wrong.
        TaustackError: a plan is not finite.
    """
    robot = load_robot(robot_name)
    planner = MPPI(load_bundle(folder, robot), robot, load_task(robot, task_name), np.random.default_rng(0))
    home = np.concatenate([robot.home, 0 * robot.home] * 2)
    for _ in range(PLANS):
        if not all(np.isfinite(out).all() for shard in planner.rehearse(home) for out in shard[:4]):
            raise TaustackError(f"{folder}: a plan from home is not finite")


def start_rehearsal(folder: Path, robot_name: str, task_name: str) -> subprocess.Popen[str]:
    """The same in another process, which gives way to all others. Exit code 0, or its output says why not."""
    command = [sys.executable, "-m", "taustack.controllers.rehearsal", str(folder), robot_name, task_name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_give_way)


def _give_way() -> None:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def fault_of(returncode: int, said: str) -> str | None:
    """Why a rehearsal that ended refuses its bundle, or None."""
    if returncode < 0:
        return f"its rehearsal was ended by signal {-returncode}: it took over {CPU_S} s of a core or {TIMEOUT_S:.0f} s in all, or somebody killed it"
    return (said[-500:] or f"its rehearsal ended with exit code {returncode}") if returncode else None


def main(arguments: list[str]) -> int:
    try:
        rehearse(Path(arguments[0]), arguments[1], arguments[2])
    except TaustackError as error:
        print(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
