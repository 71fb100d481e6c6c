"""Soft real time in one screen: absolute deadlines, lateness, stolen time, and what the system lets us ask for."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Ring:
    """The newest `size` numbers, in memory that does not grow."""

    def __init__(self, size: int) -> None:
        self._data = np.zeros(size)
        self.count = 0

    def append(self, value: float) -> None:
        self._data[self.count % len(self._data)] = value
        self.count += 1

    def newest(self, n: int | None = None) -> NDArray[np.float64]:
        """Up to n of the newest numbers (all that are kept if n is None), the oldest first."""
        kept = min(self.count, len(self._data), n if n is not None else len(self._data))
        return self._data[np.arange(self.count - kept, self.count) % len(self._data)]


class Lateness:
    """How late each tick began [s] (the newest hundred thousand or so), and how many ticks were skipped."""

    def __init__(self, size: int = 200_000) -> None:
        self.values = Ring(size)
        self.skipped = 0

    def percentiles_ms(self, newest: int | None = None) -> dict[str, float]:
        """p50, p99, p999 and max [ms] of what is kept, or of the newest ticks; zeros without any tick."""
        data = 1e3 * self.values.newest(newest)
        if not len(data):
            return {"p50": 0.0, "p99": 0.0, "p999": 0.0, "max": 0.0}
        p50, p99, p999 = np.percentile(data, [50, 99, 99.9])
        return {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": float(data.max())}


def run_periodic(period_s: float, step: Callable[[float, int], bool], lateness: Lateness, clock: Callable[[], float] = time.monotonic) -> None:
    """Call step(deadline, ticks) at absolute deadlines until it returns False. A missed tick is skipped, never caught up.

    Args:
        period_s: period [s].
        step: gets the deadline it was due at (monotonic, [s]) and the number of periods since the call before.
        lateness: filled with the start of each tick after its deadline.
    """
    deadline = clock() + period_s
    ticks = 1
    while True:
        now = clock()
        if deadline > now:
            time.sleep(deadline - now)  # CPython sleeps with clock_nanosleep to an absolute time
            now = clock()
        lateness.values.append(now - deadline)
        if not step(deadline, ticks):
            return
        ticks = max(1, int((clock() - deadline) / period_s))
        lateness.skipped += ticks - 1
        deadline += ticks * period_s


def ask_for_real_time(priority: int, thread_id: int = 0) -> str | None:
    """SCHED_FIFO for a thread (0: the calling one, and threads it starts later). Returns what could not be had, or None."""
    try:
        os.sched_setscheduler(thread_id, os.SCHED_FIFO, os.sched_param(priority))
    except (PermissionError, OSError) as error:
        return f"no SCHED_FIFO ({error.strerror}): expect late ticks when other processes are busy; grant CAP_SYS_NICE or an rtprio limit"
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


class StopFlag:
    """Set by SIGINT, SIGTERM, or a failure; remembers why."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.failed = False

    def set(self, reason: str, *, failed: bool = False) -> None:
        self.reason = self.reason or reason
        self.failed = self.failed or failed
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)
