"""Trajectory generators: a phase for each leg, its foot on an ellipse-like path whose stride follows the commanded velocity.

Actions are what a planner may change of a gait, residuals on the joints included, so that what it explores stays a way of walking
(Iscen et al. 2018, Policies modulating trajectory generators; Yang et al. 2019). With the command alone it walks open loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.legs import Legs
from taustack.legged import LeggedConfig

FloatArray = NDArray[np.float64]
JOINT_SHARE = 0.9
"""Of a joint's velocity limit that targets move with, whatever is asked."""
LOWEST, HIGHEST = -0.1, 0.04
"""Of what a command may add to the base's height [m]."""
STANDS = 0.02
"""Of the largest stride, under which feet stay on the floor."""


@dataclass(frozen=True, kw_only=True)
class GaitCommand:
    """velocity (3,): forward, sideways [m/s] and turn [rad/s] that the strides are for; height: added to that of the base [m];
    residual (n,): added to the joints [rad], empty for none."""

    velocity: FloatArray
    height: float = 0.0
    residual: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class LegTargets:
    """What the law of the motors follows: q, dq (n,) [rad, rad/s]; stance (L,): which feet are meant to be on the floor."""

    q: FloatArray
    dq: FloatArray
    stance: NDArray[np.bool_]


class Gait:
    """A clock and the paths of the feet.

    Args:
        robot: legs and gait.
        dt: tick [s].
    """

    def __init__(self, robot: LeggedConfig, dt: float) -> None:
        self.config, self.dt, self.legs = robot.gait, dt, Legs(robot)
        self._most = np.array(robot.gait.velocity)
        self._q_min, self._q_max = robot.q_min, robot.q_max
        self._fastest = JOINT_SHARE * robot.of_joints("velocity") * dt
        self._change = np.array(robot.gait.acceleration) * dt
        self._offsets = np.array(robot.gait.phases)
        self._below = self.legs.below + np.array([robot.gait.foot_offset, 0.0, 0.0])
        self._stance_s = robot.gait.duty / robot.gait.frequency
        self.reset()

    def reset(self) -> None:
        """Begin a stride; feet together at home."""
        self.phase = 0.0
        self._velocity = np.zeros(3)
        self._last: FloatArray | None = None

    def clipped(self, command: GaitCommand) -> GaitCommand:
        """The command within what strides can be."""
        velocity = np.clip(command.velocity, -self._most, self._most)
        return GaitCommand(velocity=velocity, height=float(np.clip(command.height, LOWEST, HIGHEST)), residual=command.residual)

    def step(self, command: GaitCommand) -> LegTargets:
        """One tick of the clock towards a command; strides change as fast as the gait's acceleration, joints move as fast as they can."""
        command = self.clipped(command)
        self._velocity = self._velocity + np.clip(command.velocity - self._velocity, -self._change, self._change)
        walks = bool((np.abs(self._velocity) > STANDS * self._most).any() or (np.abs(command.velocity) > STANDS * self._most).any())
        if walks or self.phase > 0.5 * self.dt * self.config.frequency:
            self.phase = (self.phase + self.dt * self.config.frequency) % 1.0
            if not walks and min(self.phase, abs(self.phase - 0.5)) < self.dt * self.config.frequency:
                self.phase = 0.0  # feet come together before they stand
        feet, stance = self._feet(command, walks or self.phase > 0)
        q = self.legs.joints(feet)
        if len(command.residual):
            q = np.clip(q + command.residual, self._q_min, self._q_max)
        if self._last is not None:
            q = np.clip(q, self._last - self._fastest, self._last + self._fastest)
        dq = np.zeros_like(q) if self._last is None else (q - self._last) / self.dt
        self._last = q
        return LegTargets(q=q, dq=dq, stance=stance)

    def _feet(self, command: GaitCommand, walks: bool) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Feet (L, 3) in the base frame at this phase, and which of them are on the floor."""
        gait = self.config
        s = (self.phase + self._offsets) % 1.0
        stance = (s < gait.duty) | (not walks)
        vx, vy, turn = self._velocity
        stride = self._stance_s * np.stack([vx - turn * self._below[:, 1], vy + turn * self._below[:, 0]], -1)
        on_floor = 0.5 - s / gait.duty
        swing = np.clip((s - gait.duty) / (1 - gait.duty), 0.0, 1.0)
        in_air = -0.5 + swing - np.sin(2 * np.pi * swing) / (2 * np.pi)
        along = np.where(stance, on_floor, in_air) if walks else np.zeros_like(s)
        feet = self._below.copy()
        feet[:, :2] += along[:, None] * stride
        feet[:, 2] += np.where(stance, 0.0, gait.swing_height * np.sin(np.pi * swing) ** 2) - gait.height - command.height
        return feet, stance
