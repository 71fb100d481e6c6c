"""What the process of any tracker does around its ticks: when it ends, what it tells the log, and the status that is the same for all robots."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taustack.controllers.following import Following
from taustack.log_thread import LogThread
from taustack.realtime import Durations, freeze_garbage, run_periodic
from taustack.stop_flag import StopFlag

STATUS_EVERY_S = 0.1
PHASE = 0.25
"""Of the ticks, see `run_periodic`: clear of the kernel's own, which would be paid for by the ticks that it falls into."""
STOP_LIMIT_S = 3.0
FIRST_MEASUREMENT_S = 20.0


class Said:
    """Tells the changes of a tracker's state to the log, each once."""

    def __init__(self, following: Following) -> None:
        self._following, self._told, self._log = following, 0, LogThread()

    def say(self) -> None:
        """Those since the last time."""
        journal, count = self._following.journal, self._following.transitions
        for change in list(journal)[len(journal) - min(len(journal), count - self._told) :]:
            self._log.say(f"{change.before} -> {change.after}: {change.reason}")
        self._told = count

    def close(self) -> None:
        self._log.close()


def run_until_at_rest(
    dt: float, tick: Callable[[str | None], None], at_rest: Callable[[], bool], lateness: Durations, clock: Callable[[], float], stop: StopFlag
) -> None:
    """Call tick(why to hold) every dt [s] until `stop` is set and the robot rests, or has had STOP_LIMIT_S for it."""
    stopped_at: float | None = None

    def step(deadline: float, ticks: int) -> bool:
        nonlocal stopped_at
        if stop.is_set() and stopped_at is None:
            stopped_at = deadline
        tick(f"stopping: {stop.reason}" if stopped_at is not None else None)
        return stopped_at is None or (not at_rest() and deadline - stopped_at < STOP_LIMIT_S)

    freeze_garbage()
    run_periodic(dt, step, lateness, clock, PHASE)


def status_of(following: Following, now: float, timing: Mapping[str, Durations], steal: float) -> dict[str, Any]:
    """The part of a tracker's status that is the same for all robots."""
    gate, lateness = following.gate, timing["lateness"]
    return {
        "t": now, "state": following.state, "reason": following.reason, "estop": following.estop.latched or "", "epoch": following.epoch,
        "ticks": lateness.total, "skipped": lateness.skipped, "accepted": gate.accepted, "deadline_misses": gate.deadline_misses,
        "dropped": dict(following.dropped), "steal_share": steal,
    } | {f"{name}_ms": durations.percentiles_ms() for name, durations in timing.items()}  # fmt: skip
