"""A mass that is pushed: p'' = a, |a| <= 1. What can be reached is known exactly, so a TDM can be held against it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]
ACCELERATION = 1.0  # limit [m/s^2]
START_P, START_V = 1.0, 0.5  # episodes begin within these [m], [m/s]


class DoubleIntegrator:
    """State (p, v), goal p, action the acceleration, held for a step. `noise`: deviation of a push on v in each step [m/s]."""

    def __init__(self, tau_max: int = 15, dt: float = 0.1, steps: int = 50, noise: float = 0.0) -> None:
        self.name = "double_integrator"
        self.steps = steps
        self.noise = noise
        self.layout = TDMLayout(state=("p", "v"), goal=("p",), action=("a",), action_limit=(ACCELERATION,), dt=dt, tau_max=tau_max)
        self._s = np.zeros(2)
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Random position and velocity, and a goal within the same range of positions."""
        self._rng = rng
        self._s = rng.uniform([-START_P, -START_V], [START_P, START_V])
        return self._s.copy(), rng.uniform([-START_P], [START_P])

    def step(self, a: FloatArray) -> FloatArray:
        """Exact integration of a constant push."""
        push = np.clip(a[0], -ACCELERATION, ACCELERATION)
        dt, (p, v) = self.layout.dt, self._s
        kick = self.noise * self._rng.normal() if self.noise else 0.0
        self._s = np.array([p + dt * v + 0.5 * dt * dt * push, v + dt * push + kick])
        return self._s.copy()


def reached(s: FloatArray, a: FloatArray, g: FloatArray, tau: FloatArray, dt: float) -> FloatArray:
    """Closed form of f (B, 1) without noise: the position nearest to g (B, 1) that tau (B,) more steps after action a (B, 1) can reach.

    After the first step the mass is at p1 with v1; in T = tau dt more seconds pushes within the limit bring it anywhere in
    p1 + v1 T +- T^2 / 2.
    """
    p, v = s[:, :1], s[:, 1:2]
    p1, v1 = p + dt * v + 0.5 * dt * dt * a, v + dt * a
    seconds = tau[:, None] * dt
    middle, half = p1 + v1 * seconds, 0.5 * ACCELERATION * seconds**2
    return np.clip(g, middle - half, middle + half)
