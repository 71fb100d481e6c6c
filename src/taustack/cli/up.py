"""`taustack up`: run a launch file; `taustack teleop`: walk by keys; `taustack view`: look on in a browser."""

from __future__ import annotations

import argparse
import json
import os
import signal
from typing import Any, NoReturn

from taustack.errors import BadInput
from taustack.stop_flag import StopFlag


def add(commands: Any) -> None:
    command = commands.add_parser("up", help="start the processes of a launch file (where `ros2 launch` is missing)")
    command.add_argument("launch", help="name in launch/ or path of a .launch.yaml")
    command.add_argument("--robot", help="robot, by name or folder: NAME:=VALUE for `robot`, and `sim` becomes the launch file of its kind")
    command.add_argument("arguments", nargs="*", metavar="NAME:=VALUE", help="arguments of the launch file")
    command.set_defaults(function=up)
    command = commands.add_parser("teleop", help="walk a robot on legs that is up by the keys of this terminal (velocities on cmd_vel)")
    command.set_defaults(function=teleop)
    command = commands.add_parser("view", help="a page in the browser: the robot that is up, its plans, a goal to drag, an e-stop")
    command.add_argument("robot", nargs="?", help="robot, by name or folder (default: the first one shipped)")
    command.add_argument("--task", default="", help="task that it runs, for the samples (default: reach, of a robot on legs goal)")
    command.add_argument("--host", default="127.0.0.1", help="address to serve at; who reaches it can press its buttons (default: %(default)s)")
    command.add_argument("--port", type=int, default=8080, help="port to serve at (default: %(default)s)")
    command.set_defaults(function=view)


def up(options: argparse.Namespace) -> int:
    from taustack.launching.launch_file import read_launch
    from taustack.launching.runner import Runner

    arguments = launch_arguments(options.arguments)
    if options.robot:
        arguments = {"robot": options.robot, **arguments}
    runner = Runner(read_launch(launch_of_kind(options.launch, arguments.get("robot", "")), arguments))
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: stop.set(signal.Signals(number).name))
    runner.start()
    return runner.wait(stop)


def teleop(options: argparse.Namespace) -> NoReturn:
    from taustack.launching.launch_file import read_launch
    from taustack.launching.ros_environment import executable, ros_environment

    node = str(executable("taustack_ros", "teleop"))
    os.execve(node, [node], ros_environment() | read_launch("sim_legs", {}).environment)  # signals are for the node itself


def view(options: argparse.Namespace) -> NoReturn:
    from taustack.launching.launch_file import read_launch
    from taustack.launching.ros_environment import executable, ros_environment
    from taustack.robot_folders import default_robot
    from taustack.view.page import require_free

    robot = options.robot or default_robot()
    require_free(options.host, options.port)
    values = {"robot": robot, "task": options.task, "host": options.host, "port": float(options.port)}
    arguments = [word for name, value in values.items() for word in ("-p", f"{name}:={json.dumps(value)}")]
    node = str(executable("taustack_ros", "viewer"))
    os.execve(node, [node, "--ros-args", *arguments], ros_environment() | read_launch(launch_of_kind("sim", robot), {}).environment)


def launch_of_kind(launch: str, robot: str) -> str:
    """`sim` stands for the launch file of the robot's kind. Raises UnknownName: no such robot."""
    from taustack.robot_folders import has_legs

    return "sim_legs" if launch == "sim" and robot and has_legs(robot) else launch


def launch_arguments(texts: list[str]) -> dict[str, str]:
    """`name:=value` texts as a mapping."""
    pairs = {}
    for text in texts:
        name, separator, value = text.partition(":=")
        if not (separator and name):
            raise BadInput("argument", "", repr(text), "NAME:=VALUE")
        pairs[name] = value
    return pairs
