"""The real graph under faults: starts it, makes the arm wander, and judges by the plant's own record."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from taustack.config import RobotConfig
from taustack.controllers.wire import Measurement, reader, unpack_measurement, unpack_status
from taustack.launching.launch_file import LaunchSpec, read_launch
from taustack.launching.ros_environment import ros_environment
from taustack.launching.runner import Runner
from taustack.shared_memory import session_folder

PROBE = Path(__file__).resolve().parent.parent / "ros" / "probe.py"
SLOW = 1.3  # factor on allowed times in real time, for a machine that other guests share
WAIT_S = 60.0  # for what must come; how fast it came is judged by the plant's record


class Stack:
    """The whole graph with a run folder, on a domain of its own."""

    def __init__(self, robot: RobotConfig, folder: Path, launch: str = "sim", log: str = "", registry: str = "", **arguments: str) -> None:
        self.robot, self.folder, self.log = robot, folder, io.StringIO()
        local = {"ROS_DOMAIN_ID": str(56 + os.getpid() % 40), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
        given = {"run_dir": str(folder), "log": log or str(folder / "log"), "registry": registry or str(folder / "registry")}
        spec = read_launch(launch, given | arguments)
        self.environment = ros_environment() | local
        self.runner = Runner(LaunchSpec(nodes=spec.nodes, environment=spec.environment | local), out=self.log, session=f"fault-{os.getpid()}")
        self.runner.start()
        self._clients: list[subprocess.Popen[str]] = []
        self._measurements = reader(session_folder(self.runner.session), "measurement")
        self._status = reader(session_folder(self.runner.session), "status")

    def measurement(self) -> Measurement:
        """What the plant says now."""
        self.until(lambda: self._measurements.newest_message() is not None)
        return unpack_measurement(self._measurements.newest_message() or b"", self.robot.n)

    def status(self) -> dict[str, Any]:
        """What the tracker says now; empty before it says anything."""
        data = self._status.newest_message()
        return unpack_status(data) if data else {}

    def until(self, done: Callable[[], object], timeout_s: float = WAIT_S) -> bool:
        """Wait for something, with the runner at work."""
        end = time.monotonic() + timeout_s
        while not done():
            self.runner.poll()
            if time.monotonic() > end:
                return False
            time.sleep(0.002)
        return True

    def client(self, *arguments: str) -> subprocess.Popen[str]:
        """A ROS client in the background; returns once it says READY."""
        call = [sys.executable, str(PROBE), *arguments]
        process = subprocess.Popen(call, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._clients.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("READY"):
                return process
        raise AssertionError(f"{arguments} did not come up:\n{self.log.getvalue()}")

    def ask(self, *arguments: str, timeout_s: float = 2 * WAIT_S) -> Any:
        """A ROS client whose answer is waited for; the runner is at work meanwhile."""
        call = [sys.executable, str(PROBE), *arguments]
        process = subprocess.Popen(call, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._clients.append(process)
        assert self.until(lambda: process.poll() is not None, timeout_s), self.log.getvalue()
        text = process.stdout.read() if process.stdout else ""
        answers = [line for line in text.splitlines() if line.startswith("ANSWER ")]
        assert answers, f"{text}\n--- graph ---\n{self.log.getvalue()}"
        return json.loads(answers[0].removeprefix("ANSWER "))

    def speed(self) -> float:
        """Largest joint speed of the plant [rad/s]."""
        return float(np.abs(self.measurement().state.dq).max())

    def wander(self, seconds: float = 60.0) -> None:
        """Make the arm move, and return in the middle of a motion; a client that asked for goals before does not any more."""
        self._end_clients()
        assert self.until(lambda: "up: subgoal_planner" in self.log.getvalue()), self.log.getvalue()
        self.client("wander", str(seconds))
        end = time.monotonic() + WAIT_S
        while self.status().get("state") != "running" and time.monotonic() < end:
            self._let_go()  # an e-stop that an overloaded start pressed
            self.until(lambda: self.status().get("state") == "running", 0.5)
        assert self.status().get("state") == "running", self.log.getvalue()
        assert self.until(lambda: self.speed() > 0.3), self.log.getvalue()

    def again(self) -> None:
        """For the next test in the same graph: nobody asks for anything, the goal that ran is over, and no e-stop is pressed."""
        self._end_clients()
        assert self.until(lambda: "up: subgoal_planner" in self.log.getvalue()), self.log.getvalue()
        assert self.runner.terminal is not None
        self.runner.terminal.press()
        assert self.until(lambda: bool(self.status().get("estop"))), self.log.getvalue()
        assert self.rests()
        end = time.monotonic() + WAIT_S
        while self.status().get("estop") and time.monotonic() < end:  # refused until the tracker saw that it is not pressed any more
            self._let_go()
            self.until(lambda: self.status().get("estop") == "", 0.5)
        assert self.status().get("estop") == "", self.log.getvalue()

    def pid(self, name: str) -> int:
        """Of a node of the graph."""
        return next(child.process.pid for child in self.runner.children if child.name == name)

    def signal(self, name: str, number: int) -> float:
        """Send a signal; returns when (monotonic, [s])."""
        os.kill(self.pid(name), number)
        return time.monotonic()

    def rests(self, timeout_s: float = WAIT_S) -> bool:
        """True once the plant stands still."""
        return self.until(lambda: self.speed() < 0.02, timeout_s)

    def state_is(self, state: str, reason: str = "") -> bool:
        """True once the tracker says so."""
        return self.until(lambda: self.status().get("state") == state and reason in self.status().get("reason", ""))

    def stop(self) -> dict[str, np.ndarray]:
        """Stop everything; the plant's own record of the run, with its limits checked."""
        self._end_clients()
        self.runner.stop()
        self._measurements.close()
        self._status.close()
        assert not session_folder(self.runner.session).exists()
        if not (self.folder / "plant.npz").is_file():
            return {}
        with np.load(self.folder / "plant.npz", allow_pickle=False) as stored:
            trace = {name: stored[name] for name in stored.files}
        self.judge(trace)
        return trace

    def _let_go(self) -> None:
        """Ask for a reset if an e-stop is pressed."""
        if self.status().get("estop") and self.runner.terminal is not None:
            self.runner.terminal.reset()

    def _end_clients(self) -> None:
        """As by Ctrl-C: a participant that is killed stays in the graph for its lease, and what is sent to it goes nowhere."""
        for process in self._clients:
            process.terminate()
        for process in self._clients:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=5.0)
            process.kill()
            process.wait()
        self._clients.clear()

    def judge(self, trace: dict[str, np.ndarray]) -> None:
        """Position, velocity and torque of the plant, and the step of the reference at its input, in every row of the run."""
        robot, near = self.robot, 1 + 1e-6
        assert ((trace["q"] >= robot.q_min) & (trace["q"] <= robot.q_max)).all()
        assert (np.abs(trace["dq"]) <= robot.limits("velocity") * near).all()
        assert (np.abs(trace["torque"]) <= robot.limits("torque") * near).all()
        step = np.abs(np.diff(trace["dq_ref"], axis=0))
        seconds = 3 / robot.rates.tracker_hz  # of two ticks close together, the later ends in the period of the earlier
        over = np.where(trace["damped"][1:, None] == 0, step, 0.0) - robot.limits("acceleration") * seconds * near
        row, joint = np.unravel_index(int(over.argmax()), over.shape)
        around = slice(max(0, int(row) - 6), int(row) + 6)
        course = {name: trace[name][around].tolist() for name in ("t", "self_stopped")} | {"dq_ref": trace["dq_ref"][around, joint].tolist()}
        assert over.max() <= 0, f"joint {joint} steps by {step[row, joint]:.4f} rad/s after row {row} of {len(step)}: {course}"


def alive(pid: int) -> bool:
    """True unless the process is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


KILL, STOP, CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
