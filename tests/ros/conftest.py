"""The real graph, on a domain of its own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from taustack.controllers.wire import reader, unpack_status
from taustack.launching.launch_file import LaunchSpec, read_launch
from taustack.launching.ros_environment import ros_environment
from taustack.launching.runner import Runner
from taustack.shared_memory import session_folder

PROBE = Path(__file__).with_name("probe.py")


@dataclass
class Graph:
    """A running launch file and a way to ask it."""

    runner: Runner
    environment: dict[str, str]
    log: io.StringIO
    probe: Path = PROBE

    def ask(self, command: str, *arguments: str, timeout_s: float = 180.0) -> Any:
        """Run a command of probe.py against the graph; the runner is at work meanwhile."""
        call = [sys.executable, str(self.probe), command, *arguments]
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(call, env=self.environment, stdout=said, stderr=subprocess.STDOUT)
            end = time.monotonic() + timeout_s
            while process.poll() is None and time.monotonic() < end:
                self.runner.poll()
                time.sleep(0.02)
            process.kill()
            process.wait()
            said.seek(0)
            text = said.read()
        answers = [line for line in text.splitlines() if line.startswith("ANSWER ")]
        assert answers, f"{text}\n--- graph ---\n{self.log.getvalue()}"
        return json.loads(answers[0].removeprefix("ANSWER "))

    def rearm(self, timeout_s: float = 60.0) -> None:
        """Let go of an e-stop that a stall of the machine pressed in the test before, and set up again what it damped."""
        status = reader(session_folder(self.runner.session), "status")
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and (data := status.newest_message()) is not None and _stopped(unpack_status(data)):
            assert self.runner.terminal is not None
            self.runner.terminal.reset()
            time.sleep(0.5)
            self.runner.poll()
        status.close()


def _stopped(status: dict[str, Any]) -> bool:
    return bool(status["estop"]) or status["state"] == "damped"


def domain(offset: int) -> str:
    """A domain that this process has for itself."""
    return str(10 + (os.getpid() * 4 + offset) % 45)


@pytest.fixture(scope="module")
def start_graph() -> Iterator[Callable[..., Graph]]:
    """Starts launch specs; stops all of them at the end."""
    started: list[Graph] = []

    def start(spec: LaunchSpec, offset: int) -> Graph:
        local = {"ROS_DOMAIN_ID": domain(offset), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        log = io.StringIO()
        spec = LaunchSpec(nodes=spec.nodes, environment=spec.environment | local)
        graph = Graph(runner=Runner(spec, out=log, session=f"test-{os.getpid()}-{offset}"), environment=ros_environment() | local, log=log)
        started.append(graph)
        graph.runner.start()
        return graph

    yield start
    for graph in started:
        graph.runner.stop()


@pytest.fixture(scope="module")
def graph(start_graph: Callable[..., Graph]) -> Graph:
    """The whole stack on the shipped robot."""
    return start_graph(read_launch("sim", {"log": ""}), 0)


@pytest.fixture(scope="module")
def driver_alone(start_graph: Callable[..., Graph]) -> Graph:
    """Only what is below the planner, so that a test may publish plans."""
    spec = read_launch("sim", {"log": ""})
    return start_graph(
        LaunchSpec(nodes=tuple(n for n in spec.nodes if n.name in ("plant", "tracker", "driver", "supervisor")), environment=spec.environment), 1
    )


@pytest.fixture(autouse=True)
def rearmed(request: pytest.FixtureRequest) -> None:
    """The graph of the module as the test expects it."""
    for name in ("graph", "legs"):
        if name in request.fixturenames:
            request.getfixturevalue(name).rearm()
