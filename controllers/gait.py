"""Trajectory generators: a phase for each leg; on the floor a foot moves as the commanded motion of the base has it, in the air to where it lands next.

Actions are what a planner may change of a gait, residuals on the joints included, so that what it explores stays a way of walking
(Iscen et al. 2018, Policies modulating trajectory generators; Yang et al. 2019). A foot lands half a stance ahead of its hip (Raibert 1986),
and further off by what is asked. Feet on the floor never jump, whenever a command changes. With the command alone it walks open loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY
from taustack.controllers.legs import Legs
from taustack.legged import LeggedConfig

FloatArray = NDArray[np.float64]
JOINT_SHARE = 0.7
"""Of a joint's velocity limit that targets move with, whatever is asked."""
LOWEST, HIGHEST = -0.1, 0.04
"""Of what a command may add to the base's height [m]."""
STANDS = 0.02
"""Of the largest stride, under which feet stay on the floor."""
LANDING_STANDS = 0.03
"""Of a landing's offset, under which feet stay on the floor if nothing else is asked [m]."""
TOGETHER_M = 0.015
"""Of the feet from below their hips, within which a walk may end."""


@dataclass(frozen=True, kw_only=True)
class GaitCommand:
    """velocity (..., 3): forward, sideways [m/s] and turn [rad/s] that the strides are for; landing (..., 2): added to where feet land, forward,
    sideways [m]; height: added to that of the base [m]; residual (..., n): added to the joints [rad], empty for none."""

    velocity: FloatArray
    landing: FloatArray = field(default_factory=lambda: np.zeros(2))
    height: float = 0.0
    residual: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class GaitState:
    """phase in strides; velocity (..., 3) and landing (..., 2) that the feet follow at the moment: those of the command, as fast as they may
    change; walks: the clock runs; feet, lifted (..., L, 2): where the feet are in the base frame, and where they last left the floor [m]."""

    phase: float
    velocity: FloatArray
    landing: FloatArray
    walks: bool
    feet: FloatArray
    lifted: FloatArray


@dataclass(frozen=True, kw_only=True)
class LegTargets:
    """What the law of the motors follows: q, dq, torque (..., n) [rad, rad/s, N m]; stance (L,): which feet are meant to be on the floor."""

    q: FloatArray
    dq: FloatArray
    torque: FloatArray
    stance: NDArray[np.bool_]


class Gait:
    """A clock and the paths of the feet.

    Args:
        robot: legs and gait.
        dt: tick [s].
    """

    def __init__(self, robot: LeggedConfig, dt: float) -> None:
        self.config, self.dt, self.legs = robot.gait, dt, Legs(robot)
        self._most, self._landing_most = np.array(robot.gait.velocity), robot.gait.landing
        self._weight = robot.mass * GRAVITY
        self._q_min, self._q_max = robot.q_min, robot.q_max
        self._fastest = JOINT_SHARE * robot.of_joints("velocity") * dt
        self._change = np.array(robot.gait.acceleration) * dt
        self._landing_change = robot.gait.landing_rate * dt
        self._offsets = np.array(robot.gait.phases)
        self._below = (self.legs.below + np.array([robot.gait.foot_offset, 0.0, 0.0]))[:, :2]
        self._stance_s = robot.gait.duty / robot.gait.frequency
        self._swing_s = (1 - robot.gait.duty) / robot.gait.frequency
        self.reset()

    def reset(self) -> None:
        """Stand with the feet below the hips."""
        self.go_on(GaitState(phase=0.0, velocity=np.zeros(3), landing=np.zeros(2), walks=False, feet=self._below, lifted=self._below))

    def go_on(self, state: GaitState) -> None:
        """Go on from a state; of many at once (batch axes first) if it has them, which then share phase and clock."""
        self.state = state
        self._stance = self._stands(state.phase, state.walks)
        self._last: FloatArray | None = None

    def clipped(self, command: GaitCommand) -> GaitCommand:
        """The command within what strides can be."""
        return GaitCommand(
            velocity=np.clip(command.velocity, -self._most, self._most), landing=np.clip(command.landing, -self._landing_most, self._landing_most),
            height=float(np.clip(command.height, LOWEST, HIGHEST)), residual=command.residual,
        )  # fmt: skip

    def step(self, command: GaitCommand) -> LegTargets:
        """One tick of the clock towards a command; strides change as fast as the gait's acceleration, joints move as fast as they can."""
        command = self.clipped(command)
        self._follow(command)
        lift = self._move_feet()
        height = np.broadcast_to(lift - self.config.height - command.height, self.state.feet.shape[:-1])
        feet = np.concatenate([self.state.feet, height[..., None]], -1)
        q = self.legs.joints(feet)
        if len(command.residual):
            q = np.clip(q + command.residual, self._q_min, self._q_max)
        if self._last is not None:
            q = np.clip(q, self._last - self._fastest, self._last + self._fastest)
        dq = np.zeros_like(q) if self._last is None else (q - self._last) / self.dt
        self._last = q
        return LegTargets(q=q, dq=dq, torque=self._carrying(q, self._stance), stance=self._stance)

    def standing(self, q: FloatArray) -> LegTargets:
        """Targets at rest at joint positions q (n,), with the weight on all feet; the gait itself stays where it is."""
        stance = np.ones(len(self._offsets), dtype=bool)
        return LegTargets(q=q, dq=np.zeros_like(q), torque=self._carrying(q, stance), stance=stance)

    def _follow(self, command: GaitCommand) -> None:
        """Strides towards the command, and the clock; a walk ends at a beat, once the feet are together."""
        state, beat = self.state, self.dt * self.config.frequency
        velocity = state.velocity + np.clip(command.velocity - state.velocity, -self._change, self._change)
        landing = state.landing + np.clip(command.landing - state.landing, -self._landing_change, self._landing_change)
        asked = bool((np.maximum(np.abs(velocity), np.abs(command.velocity)) > STANDS * self._most).any() or (np.abs(landing) > LANDING_STANDS).any())
        together = bool(np.abs(state.feet - self._below).max() < TOGETHER_M)
        walks = asked or (state.walks and not (together and min(state.phase, abs(state.phase - 0.5)) < beat))
        self.state = replace(state, phase=(state.phase + beat) % 1.0 if walks else 0.0, velocity=velocity, landing=landing, walks=walks)

    def _stands(self, phase: float, walks: bool) -> NDArray[np.bool_]:
        """Which feet (L,) are meant to be on the floor."""
        return np.asarray(((phase + self._offsets) % 1.0 < self.config.duty) | (not walks))

    def _move_feet(self) -> FloatArray:
        """Move the feet on the floor and in the air, see the module; how high each is (L,) [m]."""
        gait, state = self.config, self.state
        stance = self._stands(state.phase, state.walks)
        lifted = np.where((self._stance & ~stance)[:, None], state.feet, state.lifted)
        self._stance = stance
        on_floor = state.feet - self.dt * self._speed(state.feet)
        under_hip = self._speed(self._below)
        lands = self._below + 0.5 * self._stance_s * under_hip + state.landing[..., None, :]
        swing = np.clip(((state.phase + self._offsets) % 1.0 - gait.duty) / (1 - gait.duty), 0.0, 1.0)
        in_air = _hermite(swing[:, None], lifted, lands, -self._swing_s * under_hip)  # leaves and meets the floor with its speed
        feet = np.where(stance[:, None], on_floor, in_air) if state.walks else state.feet
        self.state = replace(state, feet=np.clip(feet, self._below - gait.reach, self._below + gait.reach), lifted=lifted)
        return np.where(stance, 0.0, gait.swing_height * np.sin(np.pi * swing) ** 2)

    def _speed(self, feet: FloatArray) -> FloatArray:
        """Velocity (..., L, 2) that the base has over places (..., L, 2) below it."""
        vx, vy, turn = (part[..., None] for part in np.moveaxis(self.state.velocity, -1, 0))
        return np.stack([vx - turn * feet[..., 1], vy + turn * feet[..., 0]], -1)

    def _carrying(self, q: FloatArray, stance: NDArray[np.bool_]) -> FloatArray:
        """Torques (..., n) with which the feet on the floor carry the robot, in equal shares."""
        share = self._weight / max(1, int(stance.sum()))
        down = -share * self.legs.jacobians(q)[..., 2, :]
        return np.asarray(np.where(stance[:, None], down, 0.0).reshape(q.shape))


def _hermite(s: FloatArray, start: FloatArray, end: FloatArray, slope: FloatArray) -> FloatArray:
    """Cubic from start to end (..., L, 2) with the same slope at both, at s (L, 1) from 0 to 1."""
    to_end = s * s * (3 - 2 * s)
    return np.asarray(start + to_end * (end - start) + (2 * s**3 - 3 * s**2 + s) * slope)
