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
from taustack.controllers.tracker_loop import FIRST_MEASUREMENT_S, STATUS_EVERY_S, Said, run_until_at_rest, status_of
from taustack.controllers.wire import TrackerState, pack_status, pack_tracker_state, reader, unpack_plan, writer
from taustack.realtime import Durations, steal_share
from taustack.stop_flag import StopFlag


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
        self.hardware.look()
        now = self.clock()
        signals = self._requests.signals(now, hold)
        self.core.tick(now, signals)
        tracker, newest = self.core.tracker, self.core.newest
        assert newest is not None
        self._states.write(pack_tracker_state(TrackerState(measured=newest, state=tracker.state, plan_seq=tracker.plan_seq)))
        # For the next tick: a plan takes effect much later than it comes, so it need not weigh on the command of this one, nor be read and judged in one.
        for data in self._plans.new():
            try:
                self.core.offer(unpack_plan(data))
            except ValueError:
                self._unreadable += 1
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
