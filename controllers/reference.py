"""The reference that the impedance law follows, its limits and its jerk-limited stops. Steps: see `filter_step`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.compiled import BOOL, VECTOR, compiled
from taustack.controllers.filter_step import HIGHEST, LOWEST, fastest_stop, stop_along, stop_at, stop_duration

FloatArray = NDArray[np.float64]
STILL_VELOCITY = 1e-4  # [rad/s or m/s] under which a reference rests
STILL_ACCELERATION = 0.1  # [rad/s^2 or m/s^2]


class Reference(NamedTuple):
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
    """The fastest stop within the limits from a reference, each joint for itself. stop (7, n): see `filter_step.fastest_stop`."""

    start: Reference
    stop: FloatArray

    @property
    def lowest(self) -> FloatArray:
        """The lowest positions on the way (n,)."""
        return np.asarray(self.stop[LOWEST])

    @property
    def highest(self) -> FloatArray:
        """The highest positions on the way (n,)."""
        return np.asarray(self.stop[HIGHEST])

    def at(self, t: float) -> Reference:
        """The reference t [s] after the start of the stop."""
        q, dq, ddq = stop_at(self.start.q, self.start.dq, self.start.ddq, self.stop, t)
        return Reference(q=q, dq=dq, ddq=ddq)

    def along(self) -> FloatArray:
        """Positions (3, n) at a third, two thirds and the end of the stop."""
        along: FloatArray = stop_along(self.start.q, self.start.dq, self.start.ddq, self.stop)
        return along

    @property
    def duration(self) -> float:
        """Time to rest [s]."""
        return float(stop_duration(self.stop))


class JerkLimited:
    """Stops of n joints under limits of acceleration and jerk, and what a step of the safety filter needs to leave room for them.

    A step holds one acceleration for a tick, which may differ from the last one by half the jerk limit, so that a step after
    a tick of a stop, whose acceleration changes within the tick, still keeps the limit. Near a velocity bound the
    acceleration shrinks linearly, as in libfranka's `limitRate` (rate_limiting.h), here with half its gain so that the
    bound may itself move.
    """

    def __init__(self, limits: ReferenceLimits, dt: float) -> None:
        self.dt, self.acceleration, self.jerk = dt, limits.acceleration, limits.jerk
        self.step_of_acceleration = 0.5 * limits.jerk * dt
        self.gain = np.minimum(0.5 * limits.jerk / (2 * limits.acceleration), 0.5 / dt)

    def stop(self, start: Reference) -> StopPath:
        """The fastest stop."""
        return StopPath(start=start, stop=fastest_stop(start.q, start.dq, start.ddq, self.acceleration, self.jerk))


@compiled(BOOL, VECTOR, VECTOR)
def _rests(dq: FloatArray, ddq: FloatArray) -> bool:
    return bool((np.abs(dq) < STILL_VELOCITY).all() and (np.abs(ddq) < STILL_ACCELERATION).all())
