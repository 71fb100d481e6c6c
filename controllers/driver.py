"""The driver's core: measurement to tracker, tracker's reference to the hardware, and what is known of it. Free of ROS."""

from __future__ import annotations

from collections import deque

from taustack.config import RobotConfig
from taustack.controllers.following import Signals
from taustack.controllers.hardware import Hardware
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.plan import Plan
from taustack.controllers.tracker import Tracker
from taustack.layout import Measured
from taustack.realtime import Durations


class DriverCore:
    """One `tick()` a tracker period.

    Args:
        robot: limits and rates.
        hardware: the robot, simulated or real.
        keep_out: the robot's parts and its cell, for the safety filter.
    """

    def __init__(self, robot: RobotConfig, hardware: Hardware, keep_out: KeepOut | None = None) -> None:
        self.robot, self.hardware = robot, hardware
        self.tracker = Tracker(robot, keep_out)
        self.state_age = Durations(bin_s=1e-4)
        self.newest: Measured | None = None
        self._incoming: deque[Plan] = deque(maxlen=8)
        self._seq = 0

    def offer(self, plan: Plan) -> None:
        """Queue a plan for the next tick."""
        self._incoming.append(plan)

    @property
    def at_rest(self) -> bool:
        return self.tracker.reference.rests

    def tick(self, now: float, signals: Signals = Signals()) -> None:
        """One tracker tick at driver time `now` [s]. The e-stop of the hardware is heard here."""
        sample = self.hardware.read()
        while self._incoming:
            self.tracker.offer(self._incoming.popleft(), now)
        reference = self.tracker.step(now, sample, signals.heard("the robot", self.hardware.estop_pressed, self.hardware.self_stopped))
        if self.tracker.damped:
            self.hardware.damp()
        elif self.tracker.commands:
            self.hardware.write(reference.q, reference.dq)
        active = self.tracker.active
        if active is not None:
            self.state_age.add(now - active.state_t)
        self._seq += 1
        self.newest = Measured(state=sample, seq=self._seq, epoch=self.tracker.epoch)
