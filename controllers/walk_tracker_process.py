"""The tracker of a robot on legs as a process of its own: plans, requests and measurements come through shared memory; nothing here waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taustack.controllers.leg_wire import LegMeasurement, WalkTrackerState, pack_command, pack_tracker_state, unpack_measurement
from taustack.controllers.requests import Requests
from taustack.controllers.shared_hardware import wait_for_measurement
from taustack.controllers.tracker_loop import FIRST_MEASUREMENT_S, STATUS_EVERY_S, Said, run_until_at_rest, status_of
from taustack.controllers.walk_tracker import WalkTracker
from taustack.controllers.wire import pack_status, reader, unpack_plan, writer
from taustack.legged import LeggedConfig
from taustack.realtime import Durations, steal_share
from taustack.stop_flag import StopFlag


class WalkTrackerProcess:
    """Channels in, channels out, around one WalkTracker.

    Args:
        robot: limits and rates.
        folder: the session's channels.
        required: e-stop sources (terminal, supervisor) that must give signs of life before anything moves.
    """

    def __init__(self, robot: LeggedConfig, folder: Path, clock: Callable[[], float] = time.monotonic, required: tuple[str, ...] = ()) -> None:
        self.robot, self.clock = robot, clock
        self._requests = Requests(folder, robot.safety.bridge_timeout_s, required)
        self._measurements, self._plans = reader(folder, "measurement"), reader(folder, "plan")
        self._commands, self._states, self._status = (writer(folder, name) for name in ("command", "state", "status"))
        self._plans.new()  # what a run before this one said is not for us
        self.tracker = WalkTracker(robot)
        self.lateness, self.work, self.state_age = Durations(), Durations(), Durations(bin_s=1e-4)
        self._newest: LegMeasurement | None = None
        self._unreadable, self._seq, self._status_at = 0, 0, 0.0
        self._steal = steal_share()
        self._said = Said(self.tracker.following)

    @property
    def at_rest(self) -> bool:
        """True if the robot stands, or its joints are damped."""
        return self.tracker.rests or self.tracker.following.state == "damped"

    def run(self, stop: StopFlag) -> None:
        """Tick until stopped and at rest."""
        if wait_for_measurement(self.look, FIRST_MEASUREMENT_S, stop, self.clock):
            run_until_at_rest(self.tracker.dt, self.tick, lambda: self.at_rest, self.lateness, self.clock, stop)
            self._said.say()

    def look(self) -> bool:
        """Take in the newest measurement; False before the first one came."""
        data = self._measurements.newest_message()
        if data is not None:
            try:
                self._newest = unpack_measurement(data, self.robot.n)
            except ValueError:
                self._unreadable += 1
        return self._newest is not None

    def tick(self, hold: str | None = None) -> None:
        """One tick at the clock's time."""
        began = time.thread_time()
        plans = self._plans.new()
        self.look()
        now, newest, tracker = self.clock(), self._newest, self.tracker
        assert newest is not None
        for data in plans:
            try:
                tracker.offer(unpack_plan(data), now)
            except ValueError:
                self._unreadable += 1
        asked = self._requests.signals(now, hold)
        targets = tracker.step(now, newest.sample, asked.heard("the robot", newest.estop, newest.self_stopped))
        if targets is not None or tracker.following.state == "damped":  # in idle the robot's own safe action stands
            self._commands.write(pack_command(self.clock(), targets, self.robot.n))
        self._seq += 1
        active = tracker.following.active
        if active is not None:
            self.state_age.add(now - active.state_t)
        if tracker.state is not None:
            out = WalkTrackerState(
                walk=tracker.state, seq=self._seq, epoch=tracker.following.epoch, state=tracker.following.state, plan_seq=active.seq if active else 0
            )
            self._states.write(pack_tracker_state(out))
        self.work.add(time.thread_time() - began)
        if now - self._status_at >= STATUS_EVERY_S:
            self._status_at = now
            self._status.write(pack_status(self.status()))
            self._said.say()

    def status(self) -> dict[str, Any]:
        """What is known of the tracker, for diagnostics and the run's summary."""
        timing = {"lateness": self.lateness, "work": self.work, "state_age": self.state_age}
        tracker = self.tracker
        return status_of(tracker.following, self.clock(), timing, steal_share(self._steal[:2])[2]) | {
            "acted": dict(tracker.acted), "acted_most": tracker.acted_most, "sensor_faults": dict(tracker.sensors.faults), "at_rest": self.at_rest,
            "unreadable": self._unreadable + self._requests.unreadable,
        }  # fmt: skip

    def close(self) -> None:
        """Let all channels go."""
        self._said.close()
        self._requests.close()
        for channel in (self._measurements, self._plans, self._commands, self._states, self._status):
            channel.close()
