"""The tracker as a process of its own: plans, requests and measurements come through shared memory; nothing here waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.shared_hardware import SharedHardware
from taustack.controllers.tracker import Signals
from taustack.controllers.wire import Request, TrackerState, pack_status, pack_tracker_state, reader, unpack_plan, unpack_request, writer
from taustack.errors import UnknownName
from taustack.log_thread import LogThread
from taustack.realtime import Durations, freeze_garbage, run_periodic, steal_share
from taustack.stop_flag import StopFlag

STATUS_EVERY_S = 0.1
STOP_LIMIT_S = 3.0
SOURCES = {"bridge": ("request", "the ROS graph"), "terminal": ("terminal", "the terminal"), "supervisor": ("supervisor", "the supervisor")}
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
        for name in required:
            if name not in SOURCES:
                raise UnknownName("e-stop source", name, SOURCES)
        self.robot, self.clock, self.required = robot, clock, required
        self.hardware = SharedHardware(folder, robot.n, clock)
        self._plans = reader(folder, "plan")
        self._sources = {name: reader(folder, channel) for name, (channel, _) in SOURCES.items()}
        self._states, self._status = writer(folder, "state"), writer(folder, "status")
        for channel in (self._plans, *self._sources.values()):
            channel.new()  # what a run before this one said is not for us
        self.core = DriverCore(robot, self.hardware, keep_out)
        self.lateness, self.work = Durations(), Durations()
        self.unreadable = 0
        self._newest: dict[str, Request] = {}
        self._resets = dict.fromkeys(SOURCES, -1)
        self._status_at = 0.0
        self._steal = steal_share()
        self._said = 0
        self._log = LogThread()

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
                self.unreadable += 1
        signals = self._signals(now, hold)
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

    def _signals(self, now: float, hold: str | None) -> Signals:
        """What bridge, terminal and supervisor ask; a message is a sign of life, silence of the bridge a hold."""
        estop: dict[str, bool] = {}
        reset = False
        for source, channel in self._sources.items():
            messages = channel.new()
            if messages:
                try:
                    request = unpack_request(messages[-1])
                except ValueError:  # no sign of life
                    self.unreadable += 1
                    continue
                self._newest[source] = request
                estop[SOURCES[source][1]] = request.estop
                reset |= 0 <= self._resets[source] < request.resets
                self._resets[source] = request.resets
        bridge = self._newest.get("bridge")
        missing = next((name for name in ("bridge", *self.required) if name not in self._newest), None)
        if hold is None and missing is not None:
            hold = f"waiting for {SOURCES[missing][1]}"
        elif hold is None and bridge is not None and now - bridge.t > self.robot.safety.bridge_timeout_s:
            hold = "no sign of life from the driver node"
        elif hold is None and bridge is not None:
            hold = bridge.hold or None
        return Signals(hold=hold, estop=estop, reset=reset)

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
        for channel in (self._plans, *self._sources.values(), self._states, self._status):
            channel.close()
