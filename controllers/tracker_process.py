"""The tracker as a process of its own: plans, requests and measurements come through shared memory; nothing here waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.following import Following
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.requests import Requests
from taustack.controllers.shared_hardware import SharedHardware
from taustack.controllers.wire import TrackerState, pack_status, pack_tracker_state, reader, unpack_plan, writer
from taustack.log_thread import LogThread
from taustack.realtime import Durations, freeze_garbage, run_periodic, steal_share
from taustack.stop_flag import StopFlag

STATUS_EVERY_S = 0.1
STOP_LIMIT_S = 3.0
FIRST_MEASUREMENT_S = 20.0


class TrackerProcess:
    """Channels in, channels out, around one DriverCore.

    Args:
        robot: limits and rates.
        folder: the session's channels.
        keep_out: the robot's parts and its cell.
        required: e-stop sources (terminal, supervisor) that must give signs of life before anything moves.
    """

    def __init__(
        self, robot: RobotConfig, folder: Path, keep_out: KeepOut | None, clock: Callable[[], float] = time.monotonic, required: tuple[str, ...] = ()
    ) -> None:
        self.robot, self.clock = robot, clock
        self._requests = Requests(folder, robot.safety.bridge_timeout_s, required)
        self.hardware = SharedHardware(folder, robot.n, clock)
        self._plans = reader(folder, "plan")
        self._states, self._status = writer(folder, "state"), writer(folder, "status")
        self._plans.new()  # what a run before this one said is not for us
        self.core = DriverCore(robot, self.hardware, keep_out)
        self.lateness, self.work = Durations(), Durations()
        self._unreadable = 0
        self._status_at = 0.0
        self._steal = steal_share()
        self._said = Said(self.core.tracker.following)

    @property
    def at_rest(self) -> bool:
        """True if the reference rests."""
        return self.core.at_rest

    @property
    def unreadable(self) -> int:
        """Messages that were none."""
        return self._unreadable + self._requests.unreadable

    def run(self, stop: StopFlag) -> None:
        """Tick until stopped and at rest."""
        if self.hardware.wait(FIRST_MEASUREMENT_S, stop):
            tracker = self.core.tracker
            run_until_at_rest(tracker.dt, self.tick, lambda: self.core.at_rest or tracker.damped, self.lateness, self.clock, stop)
            self._said.say()

    def tick(self, hold: str | None = None) -> None:
        """One tick at the clock's time."""
        began = time.thread_time()
        plans = self._plans.new()
        self.hardware.look()
        now = self.clock()
        for data in plans:
            try:
                self.core.offer(unpack_plan(data))
            except ValueError:
                self._unreadable += 1
        signals = self._requests.signals(now, hold)
        self.core.tick(now, signals)
        tracker, newest = self.core.tracker, self.core.newest
        assert newest is not None
        self._states.write(pack_tracker_state(TrackerState(measured=newest, state=tracker.state, plan_seq=tracker.plan_seq)))
        self.work.add(time.thread_time() - began)
        tracker.filter.look_ahead(tracker.reference)
        if now - self._status_at >= STATUS_EVERY_S:
            self._status_at = now
            self._status.write(pack_status(self.status()))
            self._said.say()

    def status(self) -> dict[str, Any]:
        """What is known of the tracker, for diagnostics and the run's summary."""
        tracker, timing = self.core.tracker, {"lateness": self.lateness, "work": self.work, "state_age": self.core.state_age}
        return status_of(tracker.following, self.clock(), timing, steal_share(self._steal[:2])[2]) | {
            "acted": dict(tracker.acted), "acted_most": tracker.acted_most, "sensor_faults": dict(tracker.sensors.faults), "at_rest": self.core.at_rest,
            "unreadable": self.unreadable,
        }  # fmt: skip

    def close(self) -> None:
        """Let all channels go."""
        self._said.close()
        self.hardware.close()
        self._requests.close()
        for channel in (self._plans, self._states, self._status):
            channel.close()


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
    run_periodic(dt, step, lateness, clock)


def status_of(following: Following, now: float, timing: Mapping[str, Durations], steal: float) -> dict[str, Any]:
    """The part of a tracker's status that is the same for all robots."""
    gate, lateness = following.gate, timing["lateness"]
    return {
        "t": now, "state": following.state, "reason": following.reason, "estop": following.estop.latched or "", "epoch": following.epoch,
        "ticks": lateness.total, "skipped": lateness.skipped, "accepted": gate.accepted, "deadline_misses": gate.deadline_misses,
        "dropped": dict(following.dropped), "steal_share": steal,
    } | {f"{name}_ms": durations.percentiles_ms() for name, durations in timing.items()}  # fmt: skip
