"""Kinematics of legs that turn about x at the hip and about y at thigh and calf. Positions of the feet are in the base frame [m]."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.compiled import MATRIX, NEW_TENSOR, TENSOR, VECTOR, compiled
from taustack.legged import PARTS, LeggedConfig

FloatArray = NDArray[np.float64]


class Legs:
    """All legs of a robot at once, L of them; any batch axes come before.

    Args:
        robot: hips and lengths.
    """

    def __init__(self, robot: LeggedConfig) -> None:
        self.count = len(robot.legs)
        self.hip = np.array([leg.hip for leg in robot.legs])
        self.lateral, self.thigh, self.calf, self.foot_radius = (
            np.array([getattr(leg, name) for leg in robot.legs]) for name in ("lateral", "thigh", "calf", "foot_radius")
        )
        self._low, self._high = robot.q_min.reshape(-1, PARTS), robot.q_max.reshape(-1, PARTS)
        self._shortest, self._longest = (
            np.sqrt(self.thigh**2 + self.calf**2 + 2 * self.thigh * self.calf * np.cos(calf[:, -1])) for calf in (self._low, self._high)
        )

    @property
    def below(self) -> FloatArray:
        """Where the feet are (L, 3) with straight legs of no length: the thighs' axes."""
        return np.asarray(self.hip + np.stack([0 * self.lateral, self.lateral, 0 * self.lateral], -1))

    def feet(self, q: FloatArray) -> FloatArray:
        """Positions of the feet (..., L, 3) at joint positions q (..., n)."""
        parts = np.asarray(q, dtype=float).reshape(-1, self.count, PARTS)
        return _feet(parts, self.hip, self.lateral, self.thigh, self.calf).reshape(*q.shape[:-1], self.count, 3)

    def jacobians(self, q: FloatArray) -> FloatArray:
        """Derivatives (..., L, 3, 3) of the positions of the feet by the joints of their leg."""
        parts = np.asarray(q, dtype=float).reshape(-1, self.count, PARTS)
        return _jacobians(parts, self.lateral, self.thigh, self.calf).reshape(*q.shape[:-1], self.count, 3, 3)

    def joints(self, feet: FloatArray) -> FloatArray:
        """Joint positions (..., n) with the feet (..., L, 3) there, or as near as legs and limits allow; knees point backwards (calf < 0)."""
        places = np.asarray(feet, dtype=float).reshape(-1, self.count, 3)
        q = _joints(places - self.hip, self.lateral, self.thigh, self.calf, self._shortest, self._longest, self._low, self._high)
        return q.reshape(*feet.shape[:-2], self.count * PARTS)


@compiled(NEW_TENSOR, TENSOR, MATRIX, VECTOR, VECTOR, VECTOR)
def _feet(q: FloatArray, hip: FloatArray, lateral: FloatArray, thigh: FloatArray, calf: FloatArray) -> FloatArray:
    """See `Legs.feet`; q (B, L, 3) -> (B, L, 3)."""
    out = np.empty((len(q), len(hip), 3))
    for b in range(len(q)):
        for leg in range(len(hip)):
            c, s = math.cos(q[b, leg, 0]), math.sin(q[b, leg, 0])
            upper, lower = q[b, leg, 1], q[b, leg, 1] + q[b, leg, 2]
            z = -thigh[leg] * math.cos(upper) - calf[leg] * math.cos(lower)
            out[b, leg, 0] = hip[leg, 0] - thigh[leg] * math.sin(upper) - calf[leg] * math.sin(lower)
            out[b, leg, 1] = hip[leg, 1] + lateral[leg] * c - z * s
            out[b, leg, 2] = hip[leg, 2] + lateral[leg] * s + z * c
    return out


@compiled(NEW_TENSOR, TENSOR, VECTOR, VECTOR, VECTOR)
def _jacobians(q: FloatArray, lateral: FloatArray, thigh: FloatArray, calf: FloatArray) -> FloatArray:
    """See `Legs.jacobians`; q (B, L, 3) -> (B, L * 3, 3)."""
    legs = len(lateral)
    out = np.empty((len(q), legs * 3, 3))
    for b in range(len(q)):
        for leg in range(legs):
            c, s = math.cos(q[b, leg, 0]), math.sin(q[b, leg, 0])
            upper, lower = q[b, leg, 1], q[b, leg, 1] + q[b, leg, 2]
            z = -thigh[leg] * math.cos(upper) - calf[leg] * math.cos(lower)
            dz_calf = calf[leg] * math.sin(lower)
            dz = thigh[leg] * math.sin(upper) + dz_calf
            out[b, 3 * leg, 0], out[b, 3 * leg, 1], out[b, 3 * leg, 2] = 0.0, z, -calf[leg] * math.cos(lower)
            out[b, 3 * leg + 1, 0], out[b, 3 * leg + 1, 1], out[b, 3 * leg + 1, 2] = -lateral[leg] * s - z * c, -dz * s, -dz_calf * s
            out[b, 3 * leg + 2, 0], out[b, 3 * leg + 2, 1], out[b, 3 * leg + 2, 2] = lateral[leg] * c - z * s, dz * c, dz_calf * c
    return out


@compiled(NEW_TENSOR, TENSOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, MATRIX, MATRIX)
def _joints(
    feet: FloatArray, lateral: FloatArray, thigh: FloatArray, calf: FloatArray, shortest: FloatArray, longest: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """See `Legs.joints`; feet from their hips (B, L, 3) -> (B, L, 3)."""
    out = np.empty(feet.shape)
    for b in range(len(feet)):
        for leg in range(len(lateral)):
            x, y, z = feet[b, leg, 0], feet[b, leg, 1], feet[b, leg, 2]
            across = max(math.hypot(y, z), abs(lateral[leg]) + 1e-6)
            down = math.sqrt(across * across - lateral[leg] * lateral[leg])
            # What the calf's limits allow, in the direction that is asked for.
            length = min(max(math.hypot(x, down), shortest[leg]), longest[leg])
            bend = (length * length - thigh[leg] * thigh[leg] - calf[leg] * calf[leg]) / (2 * thigh[leg] * calf[leg])
            knee = -math.acos(min(max(bend, -1.0), 1.0))
            out[b, leg, 2] = knee
            out[b, leg, 1] = math.atan2(-x, down) - math.atan2(calf[leg] * math.sin(knee), thigh[leg] + calf[leg] * math.cos(knee))
            abduction = math.atan2(z, y) - math.atan2(-down, lateral[leg])
            out[b, leg, 0] = (abduction + math.pi) % (2 * math.pi) - math.pi
            for part in range(3):
                out[b, leg, part] = min(max(out[b, leg, part], low[leg, part]), high[leg, part])
    return out
