"""How much a walk shakes, and what share of the wanted velocity is asked of one that does: a robot that limps, or stumbles over steps, goes slower.

Nothing learned: the vertical in the base frame tells. On a slope it is elsewhere, but stays there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
STEADY = 0.05
"""To which a walk may shake before it is slowed [rad]: a trot on a good floor stays below in 97 % of the time, with a stiff joint in half of it."""
MEAN_S, SHAKE_S = 1.0, 0.3
"""Over which the vertical's mean, and its distance from that, are averaged [s]."""


class Steadiness:
    """See the module.

    Args:
        dt: time between two looks [s].
    """

    def __init__(self, dt: float) -> None:
        self._mean_share, self._shake_share = dt / MEAN_S, dt / SHAKE_S
        self.reset()

    def reset(self) -> None:
        """Nothing was seen yet."""
        self._mean: FloatArray | None = None
        self._square = 0.0

    @property
    def shake(self) -> float:
        """Root mean square of the tilt's change [rad]."""
        return float(np.sqrt(self._square))

    def look(self, up: FloatArray) -> float:
        """Share of the wanted velocity, at most 1, after one more look at the vertical (3,) in the base frame."""
        if self._mean is None:
            self._mean = up[:2].copy()
        self._mean = self._mean + self._mean_share * (up[:2] - self._mean)
        self._square += self._shake_share * (float(((up[:2] - self._mean) ** 2).sum()) - self._square)
        return min(1.0, STEADY / max(self.shake, STEADY))
