"""The own watchdog of a robot on legs: without commands its joints are damped, and it sinks down. Lives on the robot's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.leg_wire import LegCommand
from taustack.legged import LeggedConfig

FloatArray = NDArray[np.float64]
NEAR = 0.2
"""From where its joints are [rad], within which a robot that is damped takes a command again: who commands must look first."""


class LegSelfStop:
    """Judges commands, and says when there were none for too long.

    Args:
        robot: joints, and the time without a command.
        dt: period of `step` [s].
    """

    def __init__(self, robot: LeggedConfig, dt: float) -> None:
        self.timeout_s, self._dt, self._n = robot.safety.command_timeout_s, dt, robot.n
        self.damped = self.stopped = False
        self.refused = 0
        self._silent_s: float | None = None

    def command(self, command: LegCommand, q: FloatArray) -> bool:
        """Judge a command with the joints at q (n,); False if it is refused: not finite, or not where a damped robot is."""
        if not all(vector.shape == (self._n,) and np.isfinite(vector).all() for vector in (command.q, command.dq, command.torque)):
            self.refused += 1
            return False
        if not command.damped and (self.damped or self.stopped) and (np.abs(command.q - q) > NEAR).any():
            self.refused += 1
            return False
        self.damped, self.stopped, self._silent_s = command.damped, False, 0.0
        return True

    def step(self) -> bool:
        """One period; True if the joints are to be damped. Before the first command the robot stands as it does by itself."""
        if self._silent_s is not None:
            self._silent_s += self._dt
            self.stopped = self.stopped or (not self.damped and self._silent_s > self.timeout_s + 1e-9)
        return self.damped or self.stopped
