"""The tracker as a process of its own: plans, requests and measurements come through shared memory; nothing here waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
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
        self._said = 0
        self._log = LogThread()

    @property
    def unreadable(self) -> int:
        """Messages that were none."""
        return self._unreadable + self._requests.unreadable

    def run(self, stop: StopFlag) -> None:
        """Tick until stopped and at rest."""
        if not self.hardware.wait(FIRST_MEASUREMENT_S, stop):
            return
        stopped_at: float | None = None

        def step(deadline: float, ticks: int) -> bool:
            nonlocal stopped_at
            if stop.is_set() and stopped_at is None:
                stopped_at = deadline
            self.tick(f"stopping: {stop.reason}" if stopped_at is not None else None)
            at_rest = self.core.at_rest or self.core.tracker.damped
            return stopped_at is None or (not at_rest and deadline - stopped_at < STOP_LIMIT_S)

        freeze_garbage()
        run_periodic(self.core.tracker.dt, step, self.lateness, self.clock)
        self._say()

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
            self._say()

    def status(self) -> dict[str, Any]:
        """What is known of the tracker, for diagnostics and the run's summary."""
        tracker, gate = self.core.tracker, self.core.tracker.gate
        return {
            "t": self.clock(), "state": tracker.state, "reason": tracker.reason, "estop": tracker.estop.latched or "", "epoch": tracker.epoch,
            "ticks": self.lateness.total, "skipped": self.lateness.skipped, "lateness_ms": self.lateness.percentiles_ms(),
            "work_ms": self.work.percentiles_ms(), "state_age_ms": self.core.state_age.percentiles_ms(), "accepted": gate.accepted,
            "deadline_misses": gate.deadline_misses, "dropped": dict(tracker.dropped), "acted": dict(tracker.acted), "acted_most": tracker.acted_most,
            "sensor_faults": dict(tracker.sensors.faults), "at_rest": self.core.at_rest, "unreadable": self.unreadable,
            "steal_share": steal_share(self._steal[:2])[2],
        }  # fmt: skip

    def _say(self) -> None:
        """Transitions since the last time, to the log."""
        tracker = self.core.tracker
        for change in list(tracker.journal)[len(tracker.journal) - min(len(tracker.journal), tracker.transitions - self._said) :]:
            self._log.say(f"{change.before} -> {change.after}: {change.reason}")
        self._said = tracker.transitions

    def close(self) -> None:
        """Let all channels go."""
        self._log.close()
        self.hardware.close()
        self._requests.close()
        for channel in (self._plans, self._states, self._status):
            channel.close()
