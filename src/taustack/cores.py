"""On which cores a process runs, and that none of them falls asleep while it does."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from taustack.errors import BadInput

SLEEP = Path("/dev/cpu_dma_latency")  # while somebody has it open with a number in it, no core sleeps so deep that it takes longer than that to wake [us]
CPUINFO = Path("/proc/cpuinfo")
AWAKE = ("auto", "always", "never")


def is_guest() -> bool:
    """True on a virtual machine: a core of it that stays awake takes time of the host, which takes it back by stopping the core when it likes."""
    try:
        return any("hypervisor" in line.split() for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    except OSError:
        return False


def stays_awake(when: str) -> bool:
    """Whether cores are to be kept awake: always, never, or auto, which is always but never on a virtual machine.

    Raises:
        BadInput: anything else.
    """
    if when not in AWAKE:
        raise BadInput("parameter", "awake", when, f"one of {', '.join(AWAKE)}")
    return when == "always" or (when == "auto" and not is_guest())


def pin_to_core(core: int | None) -> str | None:
    """Keep the calling process on one core. Returns what could not be had and what that costs, or None; None asks for nothing."""
    if core is None:
        return None
    try:
        os.sched_setaffinity(0, {core})
    except OSError as error:
        return f"not pinned to core {core} ({error.strerror}): ticks may wait for a migration between cores"
    return None


def keep_awake() -> str | None:
    """Keep the cores from sleeping until this process ends. Returns what could not be had and what that costs, or None.

    A core that slept begins a tick with empty caches, and later than it was due (as cyclictest does: Documentation/power/pm_qos_interface of the kernel).
    """
    try:
        handle = os.open(SLEEP, os.O_WRONLY | os.O_CLOEXEC)  # left open on purpose: closing it takes the wish back
        os.write(handle, struct.pack("i", 0))
    except OSError as error:
        return f"cores may sleep ({SLEEP}: {error.strerror}): ticks take a quarter longer where there is little else to do"
    return None
