"""Limits on the reference: the last thing between a plan and the robot. Depends on nothing learned.

The limiter keeps its own reference (q_ref, dq_ref, ddq_ref) and moves it towards the wanted velocity so that velocity,
acceleration and jerk stay within the maker's limits and a stop before the position limits remains possible. The
acceleration bound shrinks linearly near a velocity bound, as in libfranka's rate limiting
(`franka::limitRate`, rate_limiting.h), here with half its gain so that the bound may itself move with the braking curve.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig

FloatArray = NDArray[np.float64]
POSITION_MARGIN = 0.03  # [rad or m] kept to the position limits, for what the impedance law overshoots
BRAKING_FRACTION = 0.5  # of the acceleration limit that the braking curve to a position limit counts on


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
        """Velocity with the robot's margin (the joint overshoots its reference), acceleration and jerk as the maker states them."""
        return cls(
            q_min=robot.q_min,
            q_max=robot.q_max,
            velocity=robot.limit_fraction * robot.limits("velocity"),
            acceleration=robot.limits("acceleration"),
            jerk=robot.limits("jerk"),
        )


class ReferenceLimiter:
    """Integrates the reference at a fixed tick under its limits.

    Args:
        limits: limits of the reference.
        q: reference position to start from (n,), at rest.
        dt: tick [s].
    """

    def __init__(self, limits: ReferenceLimits, q: FloatArray, dt: float) -> None:
        self.limits = limits
        self.dt = dt
        self.q_ref = np.array(q, dtype=float)
        self.dq_ref = np.zeros_like(self.q_ref)
        self.ddq_ref = np.zeros_like(self.q_ref)
        self.limited_ticks = 0
        # A bound that moves at up to 2 a_max must not ask for more than the jerk limit: gain 2 a_max <= jerk.
        self._gain = np.minimum(limits.jerk / (2 * limits.acceleration), 0.5 / dt)
        self._braking = BRAKING_FRACTION * limits.acceleration

    def step(self, dq_wanted: FloatArray, ddq_wanted: FloatArray) -> None:
        """Advance one tick towards a wanted velocity (n,) with slope (n,). Values that are not finite mean: stop."""
        if not (np.all(np.isfinite(dq_wanted)) and np.all(np.isfinite(ddq_wanted))):
            dq_wanted, ddq_wanted = np.zeros_like(self.dq_ref), np.zeros_like(self.dq_ref)
        limits = self.limits
        low, high = self._velocity_bounds()
        wanted = ddq_wanted + self._gain * (dq_wanted - self.dq_ref)
        allowed_low = np.maximum(-limits.acceleration, self._gain * (low - self.dq_ref))
        allowed_high = np.minimum(limits.acceleration, self._gain * (high - self.dq_ref))
        allowed = np.minimum(np.maximum(wanted, np.minimum(allowed_low, limits.acceleration)), np.maximum(allowed_high, -limits.acceleration))
        step = limits.jerk * self.dt
        ddq = np.minimum(np.maximum(allowed, self.ddq_ref - step), self.ddq_ref + step)
        self.limited_ticks += bool(np.any(np.abs(ddq - wanted) > 1e-6))
        dq = self.dq_ref + ddq * self.dt
        self.q_ref = self.q_ref + 0.5 * self.dt * (self.dq_ref + dq)
        self.dq_ref, self.ddq_ref = dq, ddq

    def _velocity_bounds(self) -> tuple[FloatArray, FloatArray]:
        """Largest velocities from which the reference can still stop before its position limits: v / gain + v^2 / 2a = distance."""
        limits = self.limits
        reaction = self._braking / self._gain
        to_high = np.maximum(limits.q_max - POSITION_MARGIN - self.q_ref, 0.0)
        to_low = np.maximum(self.q_ref - limits.q_min - POSITION_MARGIN, 0.0)
        high = np.sqrt(reaction**2 + 2 * self._braking * to_high) - reaction
        low = reaction - np.sqrt(reaction**2 + 2 * self._braking * to_low)
        return np.maximum(low, -limits.velocity), np.minimum(high, limits.velocity)

    @property
    def at_rest(self) -> bool:
        return bool(np.all(np.abs(self.dq_ref) < 1e-4) and np.all(np.abs(self.ddq_ref) < 0.1))
