"""The whole graph with the arm wandering between two goals, for the benches of this folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from taustack.cli.up import launch_of_kind
from taustack.controllers.wire import reader, unpack_status
from taustack.launching.launch_file import LaunchSpec, read_launch
from taustack.launching.runner import Runner
from taustack.parent import die_with_parent
from taustack.robot_folders import default_robot, has_legs
from taustack.shared_memory import Reader, session_folder

CLIENT = Path(__file__).resolve().parent / "wander.py"
DOMAIN = "77"


@dataclass(frozen=True)
class Graph:
    """The graph at work. log: what its nodes say."""

    runner: Runner
    log: Path
    _status: Reader

    def status(self) -> dict[str, Any]:
        """What the tracker says now; empty before it says anything."""
        data = self._status.newest_message()
        return unpack_status(data) if data else {}

    def resets(self) -> list[str]:
        """Why the e-stop was reset, each time."""
        return [line.partition("reset the e-stop: ")[2] for line in self.log.read_text().splitlines() if line.startswith("wander: reset")]

    def goals(self) -> dict[str, int]:
        """How many goals were reached, and how many were not."""
        lines = self.log.read_text().splitlines()
        return {what: sum(line.startswith(f"wander: {what}") for line in lines) for what in ("reached", "missed")}

    def damped(self) -> list[str]:
        """Why the tracker damped the robot, each time: falls, for one on legs."""
        return [line.partition("-> damped: ")[2] for line in self.log.read_text().splitlines() if line.startswith("[tracker]") and "-> damped: " in line]

    def poll(self) -> None:
        """Restart what ended and may be; ends the bench if something else did."""
        ended = self.runner.poll()
        if ended is not None:
            raise SystemExit(f"{ended[0]} ended with exit code {ended[1]}: see {self.log}")


@contextmanager
def wandering(folder: Path, seconds: float, arguments: Mapping[str, str]) -> Iterator[Graph]:
    """Starts the graph with its statistics in `folder`, and a client that moves the arm for so long; stops both at the end."""
    domain = {"ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", DOMAIN)}
    spec = read_launch(launch_of_kind("sim", arguments.get("robot", "")), {"run_dir": str(folder), "log": str(folder / "log"), **arguments})
    kind = "legs" if has_legs(arguments.get("robot", default_robot())) else "arm"
    path = folder / "log.txt"
    with path.open("w") as log:
        runner = Runner(LaunchSpec(nodes=spec.nodes, environment=spec.environment | domain), out=log)
        runner.start()
        status = reader(session_folder(runner.session), "status")
        client = subprocess.Popen(
            [sys.executable, str(CLIENT), str(seconds), kind], env=runner.environment, stdout=log, stderr=log,
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )  # fmt: skip
        before = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that what follows happens
        try:
            yield Graph(runner, path, status)
        finally:
            client.terminate()
            client.wait()
            runner.stop()
            status.close()
            signal.signal(signal.SIGTERM, before)
