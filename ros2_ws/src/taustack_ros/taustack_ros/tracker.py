"""tracker: follows plans, filters, commands the robot. No rclpy: plans come and states go through shared memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from taustack.config import load_robot
from taustack.controllers.tracker_process import TrackerProcess
from taustack.controllers.walk_tracker_process import WalkTrackerProcess
from taustack.legged import load_legged
from taustack.robot_folders import has_legs
from taustack.shared_memory import session_folder
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.mjcf import compile_model
from taustack.stop_flag import StopFlag
from taustack_ros.plain_process import run_plain, session_name, write_or_warn

PRIORITY = 60


def write_statistics(process: TrackerProcess | WalkTrackerProcess, folder: Path) -> None:
    """tracker.json and the histogram of the lateness."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tracker.json").write_text(json.dumps({"hz": process.robot.rates.tracker_hz} | process.status(), indent=1))
    np.savez_compressed(folder / "lateness.npz", counts=process.lateness.counts, bin_s=process.lateness.bin_s)


def make_process(name: str, required: tuple[str, ...]) -> TrackerProcess | WalkTrackerProcess:
    """The tracker of a robot by name or folder, with the e-stop sources that it waits for."""
    folder = session_folder(session_name())
    if has_legs(name):
        return WalkTrackerProcess(load_legged(name), folder, required=required)
    robot = load_robot(name)
    return TrackerProcess(robot, folder, keep_out_from_model(compile_model(robot), robot), required=required)


def body(parameters: dict[str, str], stop: StopFlag) -> None:
    """Track until stopped and at rest, then write what was measured."""
    process = make_process(parameters.get("robot", ""), tuple(name for name in parameters.get("estop_sources", "").split(",") if name))
    print(f"{process.robot.name}: tracker at {process.robot.rates.tracker_hz:g} Hz", file=sys.stderr, flush=True)
    try:
        process.run(stop)
    finally:
        print(f"at rest: {process.at_rest} ({stop.reason})", file=sys.stderr, flush=True)
        if parameters.get("run_dir"):
            write_or_warn(lambda: write_statistics(process, Path(parameters["run_dir"])))
        process.close()


def main() -> None:
    sys.exit(run_plain(body, PRIORITY))
