"""Has a bundle tried in a process of its own before anything that runs touches it: starts `rehearse`, and says why it failed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

NICE = 3  # what plans in real time is above any of these; where nothing may, it still comes first
CPU_S = 60  # of work, of which one or two are needed; on a busy robot what gives way may wait long for them
TIMEOUT_S = 240.0


def start_rehearsal(folder: Path, robot_name: str, task_name: str) -> subprocess.Popen[str]:
    """The same in another process, which gives way to all others. Exit code 0, or its output says why not."""
    command = [sys.executable, "-m", "taustack.controllers.rehearse", str(folder), robot_name, task_name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=_give_way)


def _give_way() -> None:
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))


def fault_of(returncode: int, said: str) -> str | None:
    """Why a rehearsal that ended refuses its bundle, or None."""
    if returncode < 0:
        return f"its rehearsal was ended by signal {-returncode}: it took over {CPU_S} s of a core or {TIMEOUT_S:.0f} s in all, or somebody killed it"
    return (said[-500:] or f"its rehearsal ended with exit code {returncode}") if returncode else None
