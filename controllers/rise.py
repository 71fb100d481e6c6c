"""Standing up: the joints go from where they are to where the gait stands, slowly, with the weight on all feet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.gait import Gait, LegTargets

FloatArray = NDArray[np.float64]
SPEED = 1.0
"""Of the joint that has the longest way, in the mean [rad/s]."""
SETTLE_S = 0.3
"""After it, until a walk may begin [s]."""


class Rise:
    """From joint positions q (n,) at time now [s] to others.

    Args:
        gait: says how the feet carry the robot.
    """

    def __init__(self, gait: Gait, q: FloatArray, to: FloatArray, now: float) -> None:
        self._gait, self._from, self._to, self._began = gait, q, to, now
        self._lasts_s = float(np.abs(to - q).max()) / SPEED

    def at(self, now: float) -> LegTargets:
        """Targets at a time [s]: a cosine's half wave, the weight taken on with it."""
        done = min(1.0, (now - self._began) / max(1e-6, self._lasts_s))
        share = 0.5 - 0.5 * float(np.cos(np.pi * done))
        return self._gait.standing(self._from + share * (self._to - self._from))

    def over(self, now: float) -> bool:
        """True once the robot stands."""
        return now - self._began > self._lasts_s + SETTLE_S
