"""The driver's core: hands plans to the tracker, the tracker's reference to the hardware, and keeps what was measured."""

from __future__ import annotations

import dataclasses
from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.hardware import Hardware
from taustack.controllers.mppi import Measured
from taustack.controllers.plan import Plan
from taustack.controllers.tracker import Tracker
from taustack.realtime import Ring

FloatArray = NDArray[np.float64]
TRACE_EVERY = 10  # ticks
TRACE_LENGTH = 30_000  # entries; older ones make room


class DriverCore:
    """One `tick()` a tracker period, from one thread; `offer` may be called from another.

    Args:
        robot: limits and rates.
        hardware: the robot, simulated or real.
        start_t: driver time of the first tick [s].
    """

    def __init__(self, robot: RobotConfig, hardware: Hardware, start_t: float) -> None:
        self.robot, self.hardware = robot, hardware
        self.tracker = Tracker(robot, hardware.read().q)
        self.epoch = 0
        self.refuse_plans: str | None = None
        self.refused: Counter[str] = Counter()
        self.state_age_s = Ring(200_000)
        self.trace: deque[tuple[float, FloatArray, FloatArray, FloatArray, FloatArray, str]] = deque(maxlen=TRACE_LENGTH)
        self._incoming: deque[Plan] = deque(maxlen=8)
        self._tick = 0
        self.newest = Measured(state=dataclasses.replace(hardware.read(), t=start_t), seq=0, epoch=self.epoch)

    def offer(self, plan: Plan) -> None:
        """Queue a plan for the next tick."""
        self._incoming.append(plan)

    def stop(self, reason: str) -> None:
        """Latch a jerk-limited stop."""
        self.tracker.stop(reason)

    @property
    def at_rest(self) -> bool:
        return self.tracker.limiter.at_rest

    @property
    def dropped(self) -> dict[str, int]:
        """Plans that were not followed, by reason."""
        return dict(self.tracker.gate.dropped + self.refused)

    def tick(self, now: float, ticks: int = 1) -> None:
        """One tracker tick at driver time `now` [s]; `ticks` periods have passed since the last (more than 1 if some were missed)."""
        while self._incoming:
            plan = self._incoming.popleft()
            if self.refuse_plans is not None:
                self.refused[self.refuse_plans] += 1
            else:
                self.tracker.offer(plan, now)
        if self.refuse_plans is not None:
            self.tracker.release()
        q_ref, dq_ref = self.tracker.step(now)
        self.hardware.write(q_ref, dq_ref)
        self.hardware.advance(ticks * self.tracker.dt)
        active = self.tracker.active
        if active is not None:
            self.state_age_s.append(now - active.state_t)
        state = dataclasses.replace(self.hardware.read(), t=now + self.tracker.dt)
        self.newest = Measured(state=state, seq=self.newest.seq + 1, epoch=self.epoch)
        self._tick += 1
        if self._tick % TRACE_EVERY == 0:
            self.trace.append((state.t, state.q, state.dq, state.dq_ref, state.ee, self.tracker.mode))
