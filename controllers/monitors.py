"""Whether a measurement can be trusted, and whether the robot is overloaded. Each look is one tick."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.layout import RobotState

FloatArray = NDArray[np.float64]
FUTURE_S = 0.005  # a measurement may be stamped this much after now
JUMP_FACTOR = 3.0  # of the velocity limit that a position may seem to move with
JUMP_FLOOR = 0.01  # [rad or m] that noise may move it
FROZEN_S = 0.05  # the same position, bit for bit, for this long while the joint moves means a frozen sensor
MOVING = 0.05  # [rad/s or m/s] of the measured velocity, or of the reference, which a robot may follow `response_s` late


class SensorMonitor:
    """Looks at every measurement; `trusted` is the newest one without a fault."""

    def __init__(self, robot: RobotConfig) -> None:
        self.n, self.timeout_s, self.clear_s = robot.n, robot.safety.sensor_timeout_s, robot.safety.sensor_clear_s
        self.faults: Counter[str] = Counter()
        self.trusted: RobotState | None = None
        self._velocity = robot.limits("velocity")
        self._fault_at = -np.inf
        self._reason = ""
        self._response_s = robot.safety.response_s
        self._stuck_since: NDArray[np.float64] = np.zeros(robot.n)
        self._unmoved_since: NDArray[np.float64] = np.zeros(robot.n)

    def look(self, sample: RobotState, now: float, dq_ref: FloatArray) -> str | None:
        """What is wrong, or was less than `clear_s` ago; None if the measurements can be trusted.

        Args:
            sample: newest measurement, seen before or not.
            now: driver time [s].
            dq_ref: velocity of the reference (n,).
        """
        reason = self._fault(sample, now, dq_ref)
        if reason is not None:
            self.faults[reason.split(":")[0]] += 1
            self._fault_at, self._reason = now, reason
            return reason
        return self._reason if now - self._fault_at < self.clear_s else None

    def _fault(self, sample: RobotState, now: float, dq_ref: FloatArray) -> str | None:
        if sample.q.shape != (self.n,) or sample.dq.shape != (self.n,):
            return f"wrong size: {sample.q.shape} and {sample.dq.shape}"
        if not math.isfinite(float(sample.q.sum() + sample.dq.sum()) + sample.t):
            return "not finite"
        if sample.t > now + FUTURE_S:
            return f"from the future: by {sample.t - now:.3f} s"
        last = self.trusted
        if last is None:
            self._stuck_since, self._unmoved_since = np.full(self.n, now), np.full(self.n, now)
            self.trusted = sample
        elif sample.t < last.t - 1e-9 and now - last.t > self.timeout_s:
            # The clock of the measurements was set back: what follows is judged by it, after a hold.
            self.trusted = sample
            return f"clock went back: by {last.t - sample.t:.3f} s"
        elif sample.t > last.t + 1e-9:
            reason = self._movement_fault(sample, last, now, dq_ref)
            if reason is not None:
                return reason
        assert self.trusted is not None
        if now - self.trusted.t > self.timeout_s:
            return f"too old: {now - self.trusted.t:.3f} s"
        return None

    def _movement_fault(self, sample: RobotState, last: RobotState, now: float, dq_ref: FloatArray) -> str | None:
        """Judge a measurement by the one before; takes it as trusted even after a jump, so that a jump is one fault."""
        moved = np.abs(sample.q - last.q)
        allowed = JUMP_FACTOR * self._velocity * (sample.t - last.t) + JUMP_FLOOR
        self.trusted = sample
        rests = np.abs(sample.dq) < MOVING
        self._stuck_since[(moved > 0.0) | rests] = now
        self._unmoved_since[(moved > 0.0) | (rests & (np.abs(dq_ref) < MOVING))] = now
        beyond = moved - allowed
        if beyond.max() > 0:
            joint = int(beyond.argmax())
            return f"position jump: joint {joint + 1} by {moved[joint]:.3f}"
        for since, allowed_s in ((self._stuck_since, FROZEN_S), (self._unmoved_since, FROZEN_S + self._response_s)):
            if now - since.min() > allowed_s:
                return f"frozen: joint {int(since.argmin()) + 1}"
        return None


class OverloadMonitor:
    """Looks at what the impedance law must be doing: far from its reference, or at its torque limit for too long."""

    def __init__(self, robot: RobotConfig, dt: float) -> None:
        self.largest_error = robot.safety.largest_error
        self.ticks = max(1, round(robot.safety.overload_s / dt))
        self._torque = robot.limits("torque")
        self._loaded = np.zeros(robot.n, dtype=int)

    def look(self, torque: FloatArray, error: FloatArray) -> str | None:
        """Why the robot should be damped, or None. Torque (n,) and error (n,) as `LoadEstimate` has them."""
        far = np.abs(error)
        if far.max() > self.largest_error:
            joint = int(far.argmax())
            return f"joint {joint + 1} is {far[joint]:.2f} from its reference"
        loaded = np.abs(torque) >= self._torque
        self._loaded = (self._loaded + 1) * loaded
        if self._loaded.max() >= self.ticks:
            return f"joint {int(np.argmax(self._loaded)) + 1} is at its torque limit"
        return None

    def reset(self) -> None:
        """Begin anew: the robot was damped and reset."""
        self._loaded = np.zeros_like(self._loaded)
