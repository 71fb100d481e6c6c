"""What every controller does: one step at plan_hz, each at the arrival of a state, and how long plans took."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from taustack.controllers.duty import Duty
from taustack.ring import Ring
from taustack.stop_flag import StopFlag
from taustack_ros.plain_process import write_or_warn
from taustack_ros.process import write_statistics

STALE_STATE_S = 0.1
REST, REST_CREDIT_S = 0.3, 0.02  # rest for a second of planning; what may be owed of it, in periods about one


def plan_on_fresh_states(step: Callable[[float], None], fresh: threading.Event, plan_hz: float, stop: StopFlag, progress: Callable[[float], None]) -> None:
    """Call step(now) until stopped: waiting for a clock instead of a state would let the state grow old. progress: told the time of each look.

    A machine too slow for that rate plans less often: one without any rest would keep the cores from everything else,
    until Linux takes them from all real-time threads, the tracker's as well (50 ms of a second, sched_rt_runtime_us).
    """
    period = 1 / plan_hz
    due, duty = time.monotonic(), Duty(REST, REST_CREDIT_S)
    while not stop.is_set():
        came = fresh.wait(STALE_STATE_S)
        fresh.clear()
        now = time.monotonic()
        progress(now)
        if came and now >= due - 0.25 * period and duty.may_begin(now):
            due = due + period if now < due + period else now + period  # late by less than a period is made up for
            step(now)
            duty.worked(now, time.monotonic())


class PlanTimes:
    """How many plans there were, by whom, when, and how long they took."""

    def __init__(self) -> None:
        self.made: Counter[str] = Counter()
        self._plan_ms, self._planned_at, self._gaps = Ring(100_000), Ring(100_000), Ring(100_000)
        self._last_at: float | None = None

    def add(self, planner: str, plan_time_s: float) -> None:
        """Count one that was made now."""
        now = time.monotonic()
        self.made[planner] += 1
        self._plan_ms.append(1e3 * plan_time_s)
        self._planned_at.append(now)
        if self._last_at is not None:
            self._gaps.append(now - self._last_at)
        self._last_at = now

    def pause(self) -> None:
        """Nobody asks for plans: what passes until the next one says nothing of the rate."""
        self._last_at = None

    def write(self, run_dir: str, about: dict[str, object]) -> None:
        """controller.json and plans.npz; nothing without a folder or a plan. about: what else goes into the first."""
        if not run_dir or not self._plan_ms.count:
            return
        plan_ms, planned_at = self._plan_ms.newest(), self._planned_at.newest()
        p50, p99, p999 = np.percentile(plan_ms, [50, 99, 99.9])
        gaps = self._gaps.newest()
        statistics = {
            "plan_hz": float(1 / gaps.mean()) if len(gaps) else 0.0,
            "plan_ms": {"p50": float(p50), "p99": float(p99), "p999": float(p999), "max": float(plan_ms.max())},
            "plans": self._plan_ms.count, "plans_by": dict(self.made), **about,
        }  # fmt: skip
        write_statistics(run_dir, "controller.json", statistics)
        write_or_warn(lambda: np.savez_compressed(Path(run_dir) / "plans.npz", t=planned_at, plan_ms=plan_ms))
