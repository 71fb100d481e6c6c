"""Soft real time in one screen: absolute deadlines, lateness, stolen time, and what the system lets us ask for."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import time
from array import array
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BINS = 2_000  # of a histogram; what is beyond shares the last one
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
DONE_AT_START = "llvmlite"  # the compiler's library has done its work before the first tick; 170 MB of it stay out of memory


class Durations:
    """Histogram of durations [s], such as how late each tick began, in memory that does not grow. `skipped`: ticks that were left out."""

    def __init__(self, bin_s: float = 1e-5) -> None:
        self.bin_s = bin_s
        self._bins = array("q", bytes(8 * BINS))  # counted up in a tick: an entry of an array of numpy costs ten times as much
        self.counts: NDArray[np.int64] = np.frombuffer(self._bins, np.int64)
        self.max_s = 0.0
        self.skipped = 0

    def add(self, duration_s: float) -> None:
        """Count one."""
        i = int(duration_s / self.bin_s)
        self._bins[(i if i < BINS else BINS - 1) if i > 0 else 0] += 1
        if duration_s > self.max_s:
            self.max_s = duration_s

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    def percentiles_ms(self, since: NDArray[np.int64] | None = None) -> dict[str, float]:
        """p50, p99, p999 and max [ms], upper edges of their bins; of those after an earlier copy of `counts` if one is given."""
        counts = self.counts - since if since is not None else self.counts
        total = counts.sum()
        if not total:
            return {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}
        edge_ms = 1e3 * self.bin_s
        p50, p99, p999 = edge_ms * (1 + np.searchsorted(np.cumsum(counts), np.array([0.5, 0.99, 0.999]) * total))
        top = 1e3 * self.max_s if since is None else edge_ms * float(1 + np.flatnonzero(counts)[-1])
        return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": top}


def run_periodic(
    period_s: float, step: Callable[[float, int], bool], lateness: Durations, clock: Callable[[], float] = time.monotonic, phase: float = 0.0
) -> None:
    """Call step(deadline, ticks) at absolute deadlines until it returns False. A missed tick is skipped, never caught up.

    Args:
        period_s: period [s].
        step: gets the deadline it was due at (monotonic, [s]) and the number of periods since the call before.
        lateness: counts the start of each tick after its deadline.
        phase: of the deadlines, as a share of the period after its multiples on the clock. The kernel's own tick comes at multiples of its period.
    """
    deadline = period_s * (math.floor(clock() / period_s - phase) + 1 + phase)
    while True:
        now = clock()
        if deadline > now:
            time.sleep(deadline - now)  # CPython sleeps with clock_nanosleep to an absolute time
            now = clock()
        lateness.add(now - deadline)
        missed = max(0, int((now - deadline) / period_s))  # while the step before worked, or while nobody woke this process
        lateness.skipped += missed
        deadline += missed * period_s
        if not step(deadline, 1 + missed):
            return
        deadline += period_s


def real_time_wanted() -> bool:
    """False if TAUSTACK_REAL_TIME=0: for measuring what the priorities are worth."""
    return os.environ.get("TAUSTACK_REAL_TIME", "1") != "0"


def ask_for_real_time(priority: int) -> str | None:
    """SCHED_FIFO for the calling thread and those it starts later. Returns what could not be had and what that costs, or None."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (PermissionError, OSError) as error:
        return f"no SCHED_FIFO ({error.strerror}): expect late ticks when other processes are busy; grant CAP_SYS_NICE or an rtprio limit"
    return None


def take_priority(priority: int) -> None:
    """For a thread of a process that has said already what it cannot have: SCHED_FIFO if it is wanted and can be had."""
    if real_time_wanted():
        ask_for_real_time(priority)


def lock_memory() -> str | None:
    """All that is mapped and will be, so that no tick waits for a page, but for what only the start needs. Returns what could not be had and what
    that costs, or None."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT | MCL_ONFAULT) or libc.mlockall(MCL_FUTURE):
        return f"no mlockall ({os.strerror(ctypes.get_errno())}): a page that was swapped out may cost a tick milliseconds; raise the memlock limit"
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, _, _, _, _, *name = line.split(maxsplit=5)
        if not name or not (name[0].startswith("[v") or DONE_AT_START in name[0]):  # [vvar] and its like are the kernel's
            first, end = (int(part, 16) for part in place.split("-"))
            libc.mlock(ctypes.c_void_p(first), ctypes.c_size_t(end - first))  # reads in what was not touched yet
    return None


def freeze_garbage() -> None:
    """Keep the collector off the ticks: what lives now is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.disable()


def steal_share(since: tuple[float, float] | None = None) -> tuple[float, float, float]:
    """(stolen, total) CPU time [s] so far and the share stolen since an earlier reading; zeros where /proc/stat is missing."""
    try:
        fields = [float(v) for v in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    except OSError:
        return 0.0, 0.0, 0.0
    stolen, total = fields[7], sum(fields)
    if since is None or total <= since[1]:
        return stolen, total, 0.0
    return stolen, total, (stolen - since[0]) / (total - since[1])
