"""The reference that the impedance law follows, and its jerk-limited steps and stops (Ruckig, Berscheid and Kroeger 2021)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

from taustack.config import RobotConfig
from taustack.controllers.compiled import BOOL, FLOAT, NEW_MATRIX, VECTOR, compiled

FloatArray = NDArray[np.float64]
STILL_VELOCITY = 1e-4  # [rad/s or m/s] under which a reference rests
STILL_ACCELERATION = 0.1  # [rad/s^2 or m/s^2]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Position, velocity and acceleration (n,) of the reference, SI units."""

    q: FloatArray
    dq: FloatArray
    ddq: FloatArray

    @classmethod
    def at_rest(cls, q: FloatArray) -> Reference:
        """At rest in q (n,)."""
        q = np.array(q, dtype=float)
        return cls(q=q, dq=np.zeros_like(q), ddq=np.zeros_like(q))

    @property
    def rests(self) -> bool:
        """True if it moves by less than 1e-4 a second."""
        return _rests(self.dq, self.ddq)

    def with_joints(self, other: Reference, chosen: NDArray[np.bool_]) -> Reference:
        """This reference, with the chosen joints (n,) taken from another one."""
        return Reference(q=np.where(chosen, other.q, self.q), dq=np.where(chosen, other.dq, self.dq), ddq=np.where(chosen, other.ddq, self.ddq))


@dataclass(frozen=True, kw_only=True)
class ReferenceLimits:
    """Limits of the reference (n,), SI units."""

    q_min: FloatArray
    q_max: FloatArray
    velocity: FloatArray
    acceleration: FloatArray
    jerk: FloatArray

    @classmethod
    def of(cls, robot: RobotConfig) -> ReferenceLimits:
        """Position and velocity with the robot's margins (the joint overshoots its reference), acceleration and jerk as the maker states them."""
        margin = robot.safety.position_margin
        return cls(
            q_min=robot.q_min + margin, q_max=robot.q_max - margin, velocity=robot.limit_fraction * robot.limits("velocity"),
            acceleration=robot.limits("acceleration"), jerk=robot.limits("jerk"),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StopPath:
    """The fastest stop within the limits from a reference: where it goes, each joint for itself."""

    trajectory: Trajectory
    lowest: FloatArray
    highest: FloatArray

    def at(self, t: float) -> Reference:
        """The reference t [s] after the start of the stop."""
        q, dq, ddq = self.trajectory.at_time(t)
        return Reference(q=np.array(q), dq=np.array(dq), ddq=np.array(ddq))

    def along(self) -> FloatArray:
        """Positions (3, n) at a third, two thirds and the end of the stop."""
        duration = self.trajectory.duration
        return np.array([self.trajectory.at_time(share * duration)[0] for share in (0.33, 0.67, 1.0)])

    @property
    def duration(self) -> float:
        """Time to rest [s]."""
        return float(self.trajectory.duration)


class JerkLimited:
    """Steps and stops of n joints under limits of velocity, acceleration and jerk. Position is the safety filter's.

    A step holds one acceleration for a tick, which may differ from the last one by half the jerk limit, so that a step after
    a tick of a stop, whose acceleration changes within the tick, still keeps the limit. Near a velocity bound the
    acceleration shrinks linearly, as in libfranka's `limitRate` (rate_limiting.h), here with half its gain so that the
    bound may itself move.
    """

    def __init__(self, limits: ReferenceLimits, dt: float) -> None:
        n = len(limits.velocity)
        self.dt, self.acceleration, self.jerk = dt, limits.acceleration, limits.jerk
        self.step_of_acceleration = 0.5 * limits.jerk * dt
        self.gain = np.minimum(0.5 * limits.jerk / (2 * limits.acceleration), 0.5 / dt)
        self._zero = [0.0] * n
        self._generator = Ruckig(n, dt)
        self._input = InputParameter(n)
        self._input.control_interface = ControlInterface.Velocity
        self._input.synchronization = Synchronization.No
        self._input.max_acceleration = limits.acceleration.tolist()
        self._input.max_jerk = limits.jerk.tolist()

    def towards(self, start: Reference, dq: FloatArray, ddq: FloatArray, low: FloatArray, high: FloatArray) -> Reference:
        """One tick towards velocity dq (n,) with slope ddq (n,) at its end, between velocity bounds low and high (n,)."""
        q, v, a = _towards(
            start.q, start.dq, start.ddq, dq, ddq, low, high, self.gain, self.acceleration, self.step_of_acceleration, self.dt,
        )  # fmt: skip
        return Reference(q=q, dq=v, ddq=a)

    def stop(self, start: Reference) -> StopPath:
        """The fastest stop."""
        given, trajectory = self._input, Trajectory(len(self._zero))
        given.current_position, given.current_velocity, given.current_acceleration = start.q.tolist(), start.dq.tolist(), start.ddq.tolist()
        given.target_velocity, given.target_acceleration = self._zero, self._zero
        self._generator.calculate(given, trajectory)
        end = np.array(trajectory.at_time(trajectory.duration)[0])
        lowest, highest = _extremes(start.q, start.dq, start.ddq, end, self.jerk)
        return StopPath(trajectory=trajectory, lowest=lowest, highest=highest)


@compiled(BOOL, VECTOR, VECTOR)
def _rests(dq: FloatArray, ddq: FloatArray) -> bool:
    return bool((np.abs(dq) < STILL_VELOCITY).all() and (np.abs(ddq) < STILL_ACCELERATION).all())


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@compiled(NEW_MATRIX, *[VECTOR] * 10, FLOAT)
def _towards(
    q: FloatArray, v: FloatArray, a: FloatArray, dq: FloatArray, ddq: FloatArray, low: FloatArray, high: FloatArray,
    gain: FloatArray, a_max: FloatArray, step_of_acceleration: FloatArray, dt: float,
) -> FloatArray:  # fmt: skip
    """Position, velocity, acceleration (3, n) after one tick, each joint for itself. Jerk comes last: no bound on the velocity may break it."""
    after = np.empty((3, len(q)))
    q_new, v_new, a_new = after[0], after[1], after[2]
    for i in range(len(q)):
        wanted = ddq[i] + gain[i] * (dq[i] - v[i] - ddq[i] * dt)
        lowest = _clamp(gain[i] * (low[i] - v[i]), -a_max[i], a_max[i])
        highest = _clamp(gain[i] * (high[i] - v[i]), -a_max[i], a_max[i])
        a_new[i] = _clamp(_clamp(wanted, lowest, highest), a[i] - step_of_acceleration[i], a[i] + step_of_acceleration[i])
        v_new[i] = v[i] + a_new[i] * dt
        q_new[i] = q[i] + 0.5 * dt * (v[i] + v_new[i])
    return after


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _before_turning(dq: float, ddq: float, jerk: float) -> float:
    """The way before a velocity that the acceleration reverses is zero; zero for a stop without a turn."""
    v, a = abs(dq), abs(ddq)
    root = a * a - 2 * jerk * v
    if dq * ddq >= 0 or root <= 0:
        return 0.0
    t = (a - math.sqrt(root)) / jerk
    return math.copysign(t * (v - t * (a / 2 - jerk * t / 6)), dq)


@compiled(NEW_MATRIX, *[VECTOR] * 5)
def _extremes(q: FloatArray, dq: FloatArray, ddq: FloatArray, end: FloatArray, jerk: FloatArray) -> FloatArray:
    """Lowest and highest position (2, n) on the way to the end of a stop.

    Ruckig's own `position_extrema` counts the target position in, which velocity control does not have (0.19.4).
    """
    reach = np.empty((2, len(q)))
    for i in range(len(q)):
        turn = q[i] + _before_turning(dq[i], ddq[i], jerk[i])
        reach[0, i], reach[1, i] = min(q[i], end[i], turn), max(q[i], end[i], turn)
    return reach
