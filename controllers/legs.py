"""Kinematics of legs that turn about x at the hip and about y at thigh and calf. Positions of the feet are in the base frame [m]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
        abduction, thigh, calf = self._parts(q)
        x = -self.thigh * np.sin(thigh) - self.calf * np.sin(thigh + calf)
        z = -self.thigh * np.cos(thigh) - self.calf * np.cos(thigh + calf)
        c, s = np.cos(abduction), np.sin(abduction)
        return np.asarray(self.hip + np.stack([x, self.lateral * c - z * s, self.lateral * s + z * c], -1))

    def jacobians(self, q: FloatArray) -> FloatArray:
        """Derivatives (..., L, 3, 3) of the positions of the feet by the joints of their leg."""
        abduction, thigh, calf = self._parts(q)
        lower = thigh + calf
        z = -self.thigh * np.cos(thigh) - self.calf * np.cos(lower)
        dx = np.stack([0 * z, z, -self.calf * np.cos(lower)], -1)
        dz = np.stack([0 * z, self.thigh * np.sin(thigh) + self.calf * np.sin(lower), self.calf * np.sin(lower)], -1)
        c, s = np.cos(abduction)[..., None], np.sin(abduction)[..., None]
        turned = np.array([1.0, 0.0, 0.0])
        y_row = -dz * s + turned * (-self.lateral[:, None] * s - z[..., None] * c)
        z_row = dz * c + turned * (self.lateral[:, None] * c - z[..., None] * s)
        return np.stack([dx, y_row, z_row], -2)

    def joints(self, feet: FloatArray) -> FloatArray:
        """Joint positions (..., n) with the feet (..., L, 3) there, or as near as legs and limits allow; knees point backwards (calf < 0)."""
        x, y, z = np.moveaxis(feet - self.hip, -1, 0)
        across = np.maximum(np.hypot(y, z), np.abs(self.lateral) + 1e-6)
        down = np.sqrt(across**2 - self.lateral**2)
        length = np.clip(np.hypot(x, down), self._shortest, self._longest)  # what the calf's limits allow, in the direction that is asked for
        bend = (length**2 - self.thigh**2 - self.calf**2) / (2 * self.thigh * self.calf)
        calf = -np.arccos(np.clip(bend, -1.0, 1.0))
        thigh = np.arctan2(-x, down) - np.arctan2(self.calf * np.sin(calf), self.thigh + self.calf * np.cos(calf))
        abduction = np.arctan2(z, y) - np.arctan2(-down, self.lateral)
        abduction = (abduction + np.pi) % (2 * np.pi) - np.pi
        q: FloatArray = np.clip(np.stack([abduction, thigh, calf], -1), self._low, self._high)
        return q.reshape(*q.shape[:-2], self.count * PARTS)

    def _parts(self, q: FloatArray) -> FloatArray:
        """Abduction, thigh, calf (3, ..., L) of joint positions (..., n)."""
        return np.moveaxis(q.reshape(*q.shape[:-1], self.count, PARTS), -1, 0)
