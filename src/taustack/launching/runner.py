"""Starts the processes of a launch file, prints their output with their names, and stops them whatever happens."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

from taustack.launching.launch_file import LaunchSpec, NodeSpec
from taustack.launching.ros_environment import executable, ros_environment

PR_SET_PDEATHSIG = 1
GRACE_S = {signal.SIGINT: 8.0, signal.SIGTERM: 4.0, signal.SIGKILL: 2.0}
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass
class Child:
    """A running node."""

    name: str
    process: subprocess.Popen[str]
    printer: threading.Thread


class Runner:
    """`start()`, then `wait()` or `poll()`, then `stop()`. Children die with SIGTERM if this process is killed."""

    def __init__(self, spec: LaunchSpec, out: IO[str] = sys.stdout) -> None:
        self.spec, self.out = spec, out
        self.children: list[Child] = []

    def start(self) -> None:
        """Start all processes in the order of the file; if one cannot start, the others are stopped."""
        env = ros_environment() | self.spec.environment
        try:
            for node in self.spec.nodes:
                self.children.append(self._start(node, env))
        except BaseException:
            self.stop()
            raise

    def poll(self) -> tuple[str, int] | None:
        """Name and exit code of a process that has ended, or None while all run."""
        for child in self.children:
            code = child.process.poll()
            if code is not None:
                return child.name, code
        return None

    def wait(self, stop: threading.Event) -> int:
        """Wait until `stop` is set or a process ends, then stop all; returns the exit code."""
        ended: tuple[str, int] | None = None
        while not stop.is_set() and ended is None:
            ended = self.poll()
            stop.wait(0.1)
        if ended is not None and not stop.is_set():
            print(f"[up] {ended[0]} ended with exit code {ended[1]}: stopping all", file=self.out, flush=True)
        self.stop()
        return 0 if ended is None or stop.is_set() else (ended[1] if ended[1] > 0 else 1)

    def stop(self) -> None:
        """SIGINT, then SIGTERM, then SIGKILL to the process groups, the last started first."""
        for number, grace in GRACE_S.items():
            alive = [child for child in reversed(self.children) if child.process.poll() is None]
            for child in alive:
                _signal_group(child.process.pid, number)
            deadline = time.monotonic() + grace
            while any(child.process.poll() is None for child in alive) and time.monotonic() < deadline:
                time.sleep(0.02)
        for child in self.children:
            _signal_group(child.process.pid, signal.SIGKILL)
            child.printer.join(timeout=1.0)

    def _start(self, node: NodeSpec, env: dict[str, str]) -> Child:
        remaps = ["-r", f"__node:={node.name}", *(["-r", f"__ns:={node.namespace}"] if node.namespace else [])]
        parameters = [part for key, value in node.parameters.items() for part in ("-p", f"{key}:={_quoted(value)}")]
        command = [str(executable(node.package, node.executable)), "--ros-args", *remaps, *parameters]
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, preexec_fn=_die_with_parent,
        )  # fmt: skip
        printer = threading.Thread(target=self._print, args=(node.name, process), daemon=True)
        printer.start()
        return Child(name=node.name, process=process, printer=printer)

    def _print(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"[{name}] {line}", end="", file=self.out, flush=True)


def _quoted(value: str) -> str:
    """A parameter's value as a YAML string, so that `007` or an empty text stays text."""
    return "'" + value.replace("'", "''") + "'"


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _die_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
