"""The tracker: at each tick it samples the newest plan and moves the limited reference. It never waits for a planner."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.plan import Plan, PlanGate, PlanRules
from taustack.controllers.safety import ReferenceLimiter, ReferenceLimits

FloatArray = NDArray[np.float64]
Mode = Literal["holding", "tracking", "stopping"]


class Tracker:
    """Follows plans while they are fresh; otherwise brings the reference to rest and holds it there.

    Args:
        robot: limits and tick.
        q: joint positions to start from (n,).
        plan_timeout_s: without a newer plan for this long after a plan took effect, hold [s].
    """

    def __init__(self, robot: RobotConfig, q: FloatArray, plan_timeout_s: float = 0.1) -> None:
        self.dt = 1.0 / robot.rates.tracker_hz
        self.plan_timeout_s = plan_timeout_s
        self.gate = PlanGate(PlanRules(nu=robot.n))
        self.limiter = ReferenceLimiter(ReferenceLimits.of(robot), q, self.dt)
        self.mode: Mode = "holding"
        self.reason = "no plan yet"
        self._zero = np.zeros(robot.n)
        self._active: Plan | None = None
        self._pending: deque[Plan] = deque(maxlen=16)
        self._start = self._zero
        self._stop_reason: str | None = None

    @property
    def plan_seq(self) -> int:
        """Sequence number of the plan that is followed, 0 if none."""
        return self._active.seq if self._active else 0

    @property
    def active(self) -> Plan | None:
        """The plan that is followed."""
        return self._active

    def offer(self, plan: Plan, now: float) -> bool:
        """Hand over a plan; False if it was dropped (see `gate.dropped`)."""
        if self._stop_reason is not None or not self.gate.admit(plan, now):
            return False
        # Plans wait in line: a new one often comes before the one ahead of it has taken effect.
        self._pending.append(plan)
        return True

    def release(self) -> None:
        """Forget all plans: come to rest and hold."""
        self._active = None
        self._pending.clear()

    def stop(self, reason: str) -> None:
        """Latch a stop: come to rest within the limits and follow no plan any more."""
        self._stop_reason = reason
        self.release()

    def step(self, now: float) -> tuple[FloatArray, FloatArray]:
        """One tick at driver time `now` [s]: reference position (n,) and velocity (n,) to apply until the next."""
        while self._pending and now >= self._pending[0].effective_t - 0.5 * self.dt:
            self._activate(self._pending.popleft())
        plan = self._active
        if self._stop_reason is not None:
            self._set("stopping", self._stop_reason)
        elif plan is None:
            self._set("holding", "no plan")
        elif now > min(plan.effective_t + self.plan_timeout_s, plan.end_t):
            self._set("holding", "plan is stale")
            self._active = plan = None
        else:
            self._set("tracking", "following the plan")
        if plan is None:
            self.limiter.step(self._zero, self._zero)
        else:
            velocity, slope = plan.velocity(now + 0.5 * self.dt, self._start)
            self.limiter.step(velocity, slope)
        return self.limiter.q_ref, self.limiter.dq_ref

    def _activate(self, plan: Plan) -> None:
        self._active = plan
        self._start = self.limiter.dq_ref.copy()

    def _set(self, mode: Mode, reason: str) -> None:
        self.mode, self.reason = mode, reason
