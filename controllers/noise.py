"""Noise for sampling planners: a bank drawn once, read at random offsets, so that no tick pays for fresh draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def spline_basis(horizon: int, knots: int) -> NDArray[np.float64]:
    """Uniform cubic B-spline weights (H, knots), each row scaled so that unit knots give unit variance."""
    position = np.linspace(0.0, knots - 1.0, horizon)
    d = np.abs(position[:, None] - np.arange(knots))
    basis = np.where(d < 1, (4 - 6 * d**2 + 3 * d**3) / 6, np.where(d < 2, (2 - d) ** 3 / 6, 0.0))
    return np.asarray(basis / np.linalg.norm(basis, axis=1, keepdims=True))


class NoiseBank:
    """Smooth noise sequences in velocity [rad/s or m/s].

    Within each draw of K sequences the scale falls geometrically from `std` to `floor * std`: the wide ones find a way,
    the narrow ones settle on the goal. The first sequence of each member's group is zero (the old plan itself).

    Args:
        horizon, knots: steps and knots of the spline.
        std: scale of the widest sequence (nu,).
        floor: scale of the narrowest, as a fraction.
        samples, members: K of one draw, and the groups it is laid out in.
        rng: source of the bank and of the offsets.
    """

    def __init__(
        self, *, horizon: int, knots: int, std: NDArray[np.float64], floor: float, samples: int, members: int, rng: np.random.Generator, size: int = 4096
    ) -> None:
        self._rng = rng
        self._samples, self._group = samples, samples // members
        draws = rng.standard_normal((size + samples, knots, len(std)))
        self._bank = np.einsum("hk,bku->hbu", spline_basis(horizon, knots), draws).astype(np.float32)
        within = np.arange(samples) % self._group
        scale = floor ** (within / max(1, self._group - 1))
        scale[within == 0] = 0.0
        self._scale = (scale[:, None] * std).astype(np.float32)
        self._size = size

    def draw(self) -> Float32:
        """Noise (H, K, nu)."""
        offset = int(self._rng.integers(self._size))
        return np.asarray(self._bank[:, offset : offset + self._samples] * self._scale)
