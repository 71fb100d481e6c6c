"""Starts the processes of a launch file, prints their output with their names, restarts those that may be, and stops them whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import IO

from taustack.launching.dds_memory import sweep_dead_memory
from taustack.launching.launch_file import LaunchSpec, NodeSpec
from taustack.launching.ros_environment import executable, ros_environment
from taustack.launching.terminal import Terminal
from taustack.parent import die_with_parent
from taustack.shared_memory import remove_session, sweep_dead_sessions
from taustack.stop_flag import StopFlag

GRACE_S = {signal.SIGTERM: 12.0, signal.SIGKILL: 2.0}  # not SIGINT: a process that still imports answers that with a traceback
BAD_INPUT = 2  # exit code of wrong input, which starting anew does not mend
LONGEST_DELAY_S = 30.0  # of the back-off
STEADY_S = 30.0  # a process that ran this long starts its back-off anew


@dataclass
class Child:
    """A running node."""

    node: NodeSpec
    process: subprocess.Popen[str]
    printer: threading.Thread
    started: float
    restarts: int = 0

    @property
    def name(self) -> str:
        return self.node.name


@dataclass
class Waiting:
    """A node that ended and is started again at `at`."""

    node: NodeSpec
    at: float
    restarts: int


@dataclass
class Runner:
    """`start()`, then `wait()` or `poll()`, then `stop()`. Children die with SIGTERM if this process is killed.

    With it comes an e-stop source: the keys of its terminal; when the runner dies, that source falls silent.
    """

    spec: LaunchSpec
    out: IO[str] = field(default_factory=lambda: sys.stdout)
    session: str = field(default_factory=lambda: f"run-{os.getpid()}")
    children: list[Child] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    terminal: Terminal | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start all processes in the order of the file; if one cannot start, the others are stopped."""
        sweep_dead_sessions()
        sweep_dead_memory()
        remove_session(self.session)
        self.environment = ros_environment() | self.spec.environment | {"TAUSTACK_SESSION": self.session}
        try:
            self.terminal = Terminal(self.session, self.out)
            for node in self.spec.nodes:
                self.children.append(self._start(node))
        except BaseException:
            self.stop()
            raise

    def poll(self) -> tuple[str, int] | None:
        """Restart what ended and may be restarted; name and exit code of a process that ended and may not, or None."""
        now = time.monotonic()
        for child in list(self.children):
            code = child.process.poll()
            if code is None:
                continue
            if not child.node.respawn or code == BAD_INPUT:
                return child.name, code
            self.children.remove(child)
            restarts = 0 if now - child.started > STEADY_S else child.restarts
            delay = min(LONGEST_DELAY_S, child.node.respawn_delay_s * 2**restarts)
            self._print_line(f"{child.name} ended with exit code {code}: starts again in {delay:g} s")
            self.waiting.append(Waiting(child.node, now + delay, restarts + 1))
        for due in [w for w in self.waiting if w.at <= now]:
            self.waiting.remove(due)
            sweep_dead_memory()
            self.children.append(self._start(due.node, due.restarts))
            self.restarted.append(due.node.name)
        return None

    def wait(self, stop: StopFlag) -> int:
        """Wait until `stop` is set or a process ends that may not be restarted, then stop all; returns the exit code."""
        ended: tuple[str, int] | None = None
        while not stop.is_set() and ended is None:
            ended = self.poll()
            stop.wait(0.1)
        if ended is not None and not stop.is_set():
            self._print_line(f"{ended[0]} ended with exit code {ended[1]}: stopping all")
        self.stop()
        return 0 if ended is None or stop.is_set() else (ended[1] if ended[1] > 0 else 1)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL to the process groups, the last started first; nothing of the session stays."""
        self.waiting.clear()
        for number, grace in GRACE_S.items():
            alive = [child for child in reversed(self.children) if child.process.poll() is None]
            for child in alive:
                _signal_group(child.process.pid, signal.SIGCONT)
                _signal_group(child.process.pid, number)
            deadline = time.monotonic() + grace
            while any(child.process.poll() is None for child in alive) and time.monotonic() < deadline:
                time.sleep(0.02)
        for child in self.children:
            _signal_group(child.process.pid, signal.SIGKILL)
            child.printer.join(timeout=1.0)
            if child.process.stdout is not None and not child.printer.is_alive():
                child.process.stdout.close()
        if self.terminal is not None:
            self.terminal.close()
            self.terminal = None
        remove_session(self.session)

    def _start(self, node: NodeSpec, restarts: int = 0) -> Child:
        remaps = ["-r", f"__node:={node.name}", *(["-r", f"__ns:={node.namespace}"] if node.namespace else [])]
        parameters = [part for key, value in node.parameters.items() for part in ("-p", f"{key}:={_quoted(value)}")]
        command = [str(executable(node.package, node.executable)), "--ros-args", *remaps, *parameters]
        process = subprocess.Popen(
            command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )  # fmt: skip
        printer = threading.Thread(target=self._print, args=(node.name, process), daemon=True)
        printer.start()
        return Child(node=node, process=process, printer=printer, started=time.monotonic(), restarts=restarts)

    def _print(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"[{name}] {line}", end="", file=self.out, flush=True)

    def _print_line(self, text: str) -> None:
        print(f"[up] {text}", file=self.out, flush=True)


def _quoted(value: str) -> str:
    """A parameter's value as a YAML string, so that `007` or an empty text stays text."""
    return "'" + value.replace("'", "''") + "'"


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
