"""plant: the simulated robot, with its own watchdog. No rclpy: it talks to the tracker through shared memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from taustack.config import load_robot, load_task
from taustack.legged import load_legged
from taustack.robot_folders import has_legs
from taustack.shared_memory import session_folder
from taustack.sim.arm_simulation import ArmSimulation
from taustack.sim.goals import scenario_of_task
from taustack.sim.leg_simulation import LegSimulation
from taustack.sim.legged_scenario import load_legged_scenario
from taustack.sim.plant_process import PlantProcess, Simulated
from taustack.sim.scenario import load_scenario
from taustack.stop_flag import StopFlag
from taustack_ros.plain_process import run_plain, session_name, write_or_warn

PRIORITY = 70


def body(parameters: dict[str, str], stop: StopFlag) -> None:
    """Simulate until stopped, then write the truth of the run."""
    name = parameters.get("robot", "")
    simulated = _legs(name, parameters) if has_legs(name) else _arm(name, parameters)
    process: PlantProcess[Any] = PlantProcess(simulated, session_folder(session_name()))
    try:
        process.run(stop)
    finally:
        if parameters.get("run_dir"):
            write_or_warn(lambda: process.write_trace(Path(parameters["run_dir"])))
        process.close()


def _arm(name: str, parameters: dict[str, str]) -> Simulated[Any]:
    robot = load_robot(name)
    scenario = load_scenario(parameters.get("scenario", "nominal"), robot.n)
    if parameters.get("task"):
        scenario = scenario_of_task(robot, load_task(robot, parameters["task"]), scenario, np.random.default_rng(0))
    return ArmSimulation(robot, scenario)


def _legs(name: str, parameters: dict[str, str]) -> Simulated[Any]:
    return LegSimulation(load_legged(name), load_legged_scenario(parameters.get("scenario", "nominal")))


def main() -> None:
    sys.exit(run_plain(body, PRIORITY))
