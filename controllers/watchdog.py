"""The robot's own watchdog: what it does with commands that come, and when they stop coming. Lives on the robot's side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.reference import JerkLimited, Reference, ReferenceLimits

FloatArray = NDArray[np.float64]
NEAR = 1e-3  # [rad or m] from its own reference at which a stopped robot takes a command again
SLOW = 1e-2  # [rad/s or m/s] of that command
LEAP = 3.0  # times the velocity limit that a command may seem to move the reference with


class SelfStop:
    """Takes commands; without one for `timeout_s` it stops within the limits from the last one, and holds.

    After that it takes commands again only from rest and from where it stands: who commands must look first.

    Args:
        robot: limits, and the time without a command.
        q: reference to start from (n,).
        dt: period of `step` [s].
    """

    def __init__(self, robot: RobotConfig, q: FloatArray, dt: float) -> None:
        self.timeout_s, self.dt = robot.safety.command_timeout_s, dt
        self.reference = Reference.at_rest(q)
        self.damped = False
        self.stopped = False
        self.refused = 0
        self._motion = JerkLimited(ReferenceLimits.of(robot), dt)
        self._silent_s = 0.0
        self._velocity = robot.limits("velocity")
        self._zero = np.zeros(robot.n)

    def command(self, q_ref: FloatArray, dq_ref: FloatArray) -> bool:
        """Take a reference (n,); False if it is refused: of the wrong size, not finite, a leap, or not where a stopped robot stands."""
        if q_ref.shape != self._zero.shape or dq_ref.shape != self._zero.shape or not (np.isfinite(q_ref).all() and np.isfinite(dq_ref).all()):
            self.refused += 1
            return False
        own = self.reference
        if not self.damped and (np.abs(q_ref - own.q) > NEAR + LEAP * self._velocity * max(self.dt, self._silent_s)).any():
            self.refused += 1
            return False
        if self.stopped and not (own.rests and (np.abs(q_ref - own.q) < NEAR).all() and (np.abs(dq_ref) < SLOW).all()):
            self.refused += 1
            return False
        limit = self._motion.acceleration
        ddq = (dq_ref - own.dq) / max(self.dt, self._silent_s)
        self.reference = Reference(q=np.array(q_ref), dq=np.array(dq_ref), ddq=np.minimum(np.maximum(ddq, -limit), limit))
        self.damped = self.stopped = False
        self._silent_s = 0.0
        return True

    def damp(self) -> None:
        """Take the command to give up the reference."""
        self.damped, self.stopped, self._silent_s = True, False, 0.0

    def step(self, q: FloatArray) -> Reference:
        """One period; q (n,): where the joints are. The reference to follow, unless `damped`."""
        self._silent_s += self.dt
        if self.damped:
            self.reference = Reference.at_rest(q)
        elif self._silent_s > self.timeout_s + 1e-9:
            self.stopped = True
            self.reference = self._motion.stop(self.reference).at(self.dt)
        return self.reference
