"""Whether a measurement can be trusted, and whether the robot is overloaded. Each look is one tick."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.compiled import BOOL, COUNTS, FLOAT, INT, STORE, VECTOR, compiled, tuple_of
from taustack.layout import RobotState

FloatArray = NDArray[np.float64]
FUTURE_S = 0.005  # a measurement may be stamped this much after now
NEW_S = 1e-9  # two stamps nearer to each other than this are the same
JUMP_FACTOR = 3.0  # of the velocity limit that a position may seem to move with
JUMP_FLOOR = 0.01  # [rad or m] that noise may move it
FROZEN_S = 0.05  # the same position, bit for bit, for this long while the joint moves means a frozen sensor
NOT_FINITE = "not finite"
NUMBERS = np.dtype(float)
MOVING = 0.05  # [rad/s or m/s] of the measured velocity, or of the reference, which a robot may follow `response_s` late


class SensorMonitor:
    """Looks at every measurement; `trusted` is the newest one without a fault."""

    def __init__(self, robot: RobotConfig) -> None:
        self.n, self.timeout_s, self.clear_s = robot.n, robot.safety.sensor_timeout_s, robot.safety.sensor_clear_s
        self.faults: Counter[str] = Counter()
        self.trusted: RobotState | None = None
        self._fault_at = -np.inf
        self._reason = ""
        self._movement = Movement(robot.limits("velocity"), robot.safety.response_s, [f"joint {i + 1}" for i in range(robot.n)])

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
        if sample.q.dtype != NUMBERS or sample.dq.dtype != NUMBERS:
            return f"wrong type: {sample.q.dtype} and {sample.dq.dtype}"
        if not math.isfinite(sample.t):
            return NOT_FINITE
        if sample.t > now + FUTURE_S:
            return f"from the future: by {sample.t - now:.3f} s"
        last = self.trusted
        if last is None:
            self._movement.begin(now)
        new_s = sample.t - last.t if last is not None else 0.0
        reason = self._movement.fault(sample.q, last.q if last is not None else sample.q, sample.dq, dq_ref, new_s, now)
        if reason == NOT_FINITE:
            return reason
        if last is None or new_s > NEW_S:
            self.trusted = sample  # even after a jump, so that a jump is one fault
        elif new_s < -NEW_S and now - last.t > self.timeout_s:
            # The clock of the measurements was set back: what follows is judged by it, after a hold.
            self.trusted = sample
            return f"clock went back: by {-new_s:.3f} s"
        assert self.trusted is not None
        if reason is None and now - self.trusted.t > self.timeout_s:
            return f"too old: {now - self.trusted.t:.3f} s"
        return reason


class Movement:
    """Whether joints move as they say and as they should: the sensor of one that jumps, or does not move, is at fault.

    Args:
        velocity: limits (n,) [rad/s or m/s].
        response_s: by which the robot follows its reference late [s].
        names: of the joints (n), for the reason.
    """

    def __init__(self, velocity: FloatArray, response_s: float, names: Sequence[str]) -> None:
        self._velocity, self._response_s, self._names = velocity, response_s, tuple(names)
        self._stuck_since: NDArray[np.float64] = np.zeros(len(velocity))
        self._unmoved_since: NDArray[np.float64] = np.zeros(len(velocity))

    def begin(self, now: float) -> None:
        """The first measurement, at time now [s]: all may have moved until then."""
        self._stuck_since[:] = self._unmoved_since[:] = now

    def fault(self, q: FloatArray, q_last: FloatArray, dq: FloatArray, dq_ref: FloatArray, dt: float, now: float) -> str | None:
        """What is wrong with positions and velocities q, dq (n,), dt [s] after the positions q_last, or None. dq_ref (n,): of the reference.

        Where no time went by only whether all numbers are finite.
        """
        possible, jumped, moved, frozen = _move(q, q_last, dq, dq_ref, self._velocity, dt, now, self._response_s, self._stuck_since, self._unmoved_since)
        if not possible:
            return NOT_FINITE
        if jumped >= 0:
            return f"position jump: {self._names[jumped]} by {moved:.3f}"
        return f"frozen: {self._names[frozen]}" if frozen >= 0 else None


class OverloadMonitor:
    """Looks at what the impedance law must be doing: far from its reference, or at its torque limit for too long."""

    def __init__(self, robot: RobotConfig, dt: float) -> None:
        self.largest_error = robot.safety.largest_error
        self.ticks = max(1, round(robot.safety.overload_s / dt))
        self._torque = robot.limits("torque")
        self._loaded = np.zeros(robot.n, dtype=int)

    def look(self, torque: FloatArray, error: FloatArray) -> str | None:
        """Why the robot should be damped, or None. Torque (n,) and error (n,) as `LoadEstimate` has them."""
        far, distance, loaded, ticks = _overloaded(torque, error, self._torque, self._loaded)
        if distance > self.largest_error:
            return f"joint {far + 1} is {distance:.2f} from its reference"
        if ticks >= self.ticks:
            return f"joint {loaded + 1} is at its torque limit"
        return None

    def reset(self) -> None:
        """Begin anew: the robot was damped and reset, or nothing is amiss."""
        self._loaded[:] = 0


@compiled(BOOL, VECTOR, VECTOR)
def finite(a: FloatArray, b: FloatArray) -> bool:
    """True if no entry of the two vectors is infinite or not a number."""
    return bool(np.isfinite(a).all() and np.isfinite(b).all())


@compiled(tuple_of(BOOL, INT, FLOAT, INT), *[VECTOR] * 5, FLOAT, FLOAT, FLOAT, STORE, STORE)
def _move(
    q: FloatArray, q_last: FloatArray, dq: FloatArray, dq_ref: FloatArray, velocity: FloatArray, dt: float, now: float, response_s: float,
    stuck_since: FloatArray, unmoved_since: FloatArray,
) -> tuple[bool, int, float, int]:  # fmt: skip
    """Whether all numbers are finite; if so, and if time went by, note which joints moved, or had no reason to; find the joint that jumped farthest
    beyond what it may, by how much it moved, and one that has not moved for too long although it says that it does, or should. -1: none."""
    if not finite(q, dq):
        return False, -1, 0.0, -1
    if dt <= NEW_S:
        return True, -1, 0.0, -1
    jumped, by, beyond = -1, 0.0, 0.0
    for i in range(len(q)):
        moved = abs(q[i] - q_last[i])
        rests = abs(dq[i]) < MOVING
        if moved > 0.0 or rests:
            stuck_since[i] = now
        if moved > 0.0 or (rests and abs(dq_ref[i]) < MOVING):
            unmoved_since[i] = now
        over = moved - (JUMP_FACTOR * velocity[i] * dt + JUMP_FLOOR)
        if over > beyond:
            jumped, by, beyond = i, moved, over
    stuck, unmoved = int(np.argmin(stuck_since)), int(np.argmin(unmoved_since))
    if now - stuck_since[stuck] > FROZEN_S:
        return True, jumped, by, stuck
    return True, jumped, by, unmoved if now - unmoved_since[unmoved] > FROZEN_S + response_s else -1


@compiled(tuple_of(INT, FLOAT, INT, INT), VECTOR, VECTOR, VECTOR, COUNTS)
def _overloaded(torque: FloatArray, error: FloatArray, limit: FloatArray, loaded: NDArray[np.int64]) -> tuple[int, float, int, int]:
    """Count the ticks (n,) that each joint has been at its torque limit; the joint with the largest error and that, the one with the largest count
    and that."""
    far, longest = 0, 0
    for i in range(len(torque)):
        loaded[i] = loaded[i] + 1 if abs(torque[i]) >= limit[i] else 0
        far = i if abs(error[i]) > abs(error[far]) else far
        longest = i if loaded[i] > loaded[longest] else longest
    return far, abs(error[far]), longest, loaded[longest]
