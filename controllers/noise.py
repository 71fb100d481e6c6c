"""Noise for sampling planners: a bank drawn once, read at random offsets, so that no tick pays for fresh draws."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import MPPIConfig, RobotConfig
from taustack.controllers.bundle import Bundle

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
        seed: of the bank and of the offsets.
    """

    def __init__(self, *, horizon: int, knots: int, std: NDArray[np.float64], floor: float, samples: int, members: int, seed: int, size: int = 4096) -> None:
        self.seed = seed
        self._samples, self._group = samples, samples // members
        draws = np.random.default_rng(seed).standard_normal((size + samples, knots, len(std)))
        self._bank = np.einsum("hk,bku->hbu", spline_basis(horizon, knots), draws).astype(np.float32)
        within = np.arange(samples) % self._group
        scale = floor ** (within / max(1, self._group - 1))
        scale[within == 0] = 0.0
        self._scale = (scale[:, None] * std).astype(np.float32)
        self._size = size

    def draw(self, seq: int, shard: int = 0) -> Float32:
        """Noise (H, K, nu) of a shard of plan `seq`: the same for the same seed, whatever was drawn before."""
        offset = _mixed(_mixed(self.seed ^ _mixed(seq)) + shard) % self._size
        return np.asarray(self._bank[:, offset : offset + self._samples] * self._scale)


def _mixed(value: int) -> int:
    """The bits of a 64-bit integer, well mixed (SplitMix64, Steele et al. 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return value ^ (value >> 31)


def noise_bank(bundle: Bundle, robot: RobotConfig, config: MPPIConfig, seed: int) -> NoiseBank:
    """The noise bank that fits a bundle's plan graph."""
    spec = bundle.manifest.plan
    return NoiseBank(
        horizon=spec.horizon, knots=config.noise_knots, std=config.noise_std * robot.limits("velocity"), floor=config.noise_floor,
        samples=spec.samples_per_shard, members=spec.members, seed=seed,
    )  # fmt: skip
