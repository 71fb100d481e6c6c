"""Standing up: the joints go from where they are to where the gait stands, slowly, with the weight on all feet."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import LegTargets

FloatArray = NDArray[np.float64]
SPEED = 1.0
"""Of the joint that has the longest way, in the mean [rad/s]."""
SETTLE_S = 0.3
"""After it, until a walk may begin [s]."""


class Rise:
    """From joint positions q (n,) to others.

    Args:
        gait: says how the feet carry the robot.
    """

    def __init__(self, gait: Gait, q: FloatArray, to: FloatArray) -> None:
        self._gait, self._from, self._to = gait, q, to
        self._went_s, self._lasts_s = 0.0, float(np.abs(to - q).max()) / SPEED

    def go_on(self, dt: float) -> None:
        """Go on for dt [s]; who does not call it lets the robot stay as it is."""
        self._went_s += dt

    def targets(self) -> LegTargets:
        """A cosine's half wave, the weight on all feet."""
        done = min(1.0, self._went_s / max(1e-6, self._lasts_s))
        share = 0.5 - 0.5 * float(np.cos(np.pi * done))
        return self._gait.standing(self._from + share * (self._to - self._from))

    @property
    def over(self) -> bool:
        """True once the robot stands."""
        return self._went_s > self._lasts_s + SETTLE_S
