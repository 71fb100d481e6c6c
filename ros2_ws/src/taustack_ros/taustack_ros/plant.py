"""plant: the simulated robot, with its own watchdog. No rclpy: it talks to the tracker through shared memory."""

from __future__ import annotations

import sys
from pathlib import Path

from taustack.config import load_robot, load_task
from taustack.shared_memory import session_folder
from taustack.sim.plant_process import PlantProcess
from taustack.sim.scenario import load_scenario
from taustack.stop_flag import StopFlag
from taustack_ros.plain_process import run_plain, session_name, write_or_warn

PRIORITY = 70


def body(parameters: dict[str, str], stop: StopFlag) -> None:
    """Simulate until stopped, then write the truth of the run."""
    robot = load_robot(parameters.get("robot", ""))
    obstacles = load_task(robot, parameters["task"]).obstacles if parameters.get("task") else ()
    process = PlantProcess(robot, load_scenario(parameters.get("scenario", "nominal"), robot.n), session_folder(session_name()), obstacles)
    try:
        process.run(stop)
    finally:
        if parameters.get("run_dir"):
            write_or_warn(lambda: process.write_trace(Path(parameters["run_dir"])))
        process.close()


def main() -> None:
    sys.exit(run_plain(body, PRIORITY))
