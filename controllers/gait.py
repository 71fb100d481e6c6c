"""Trajectory generators: a phase for each leg; on the floor a foot moves as the commanded motion of the base has it, in the air to where it lands next.

Actions are what a planner may change of a gait, residuals on the joints included, so that what it explores stays a way of walking
(Iscen et al. 2018, Policies modulating trajectory generators; Yang et al. 2019). A foot lands half a stance ahead of its hip (Raibert 1986),
and further off by what is asked. Feet on the floor never jump, whenever a command changes. With the command alone it walks open loop.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY
from taustack.controllers.gait_state import GaitCommand, GaitState, LegTargets
from taustack.controllers.legs import Legs
from taustack.controllers.strides import feet_after
from taustack.legged import LeggedConfig

FloatArray = NDArray[np.float64]
JOINT_SHARE = 0.7
"""Of a joint's velocity limit that targets move with, whatever is asked."""
STOPS_AWAY = 0.1
"""From a joint's stops that targets stay [rad]: a swinging leg overshoots by about half of it."""
LOWEST, HIGHEST = -0.1, 0.04
"""Of what a command may add to the base's height [m]."""
STANDS = 0.02
"""Of the largest stride, under which feet stay on the floor."""
LANDING_STANDS = 0.03
"""Of a landing's offset, under which feet stay on the floor if nothing else is asked [m]."""
TOGETHER_M = 0.015
"""Of the feet from below their hips, within which a walk may end."""


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
        self._q_min, self._q_max = robot.q_min + STOPS_AWAY, robot.q_max - STOPS_AWAY
        self._fastest = JOINT_SHARE * robot.of_joints("velocity") * dt
        self._change = np.array(robot.gait.acceleration) * dt
        self._landing_change = robot.gait.landing_rate * dt
        self._offsets = np.array(robot.gait.phases)
        self._below = (self.legs.below + np.array([robot.gait.foot_offset, 0.0, 0.0]))[:, :2]
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
            velocity=within(command.velocity, -self._most, self._most), landing=within(command.landing, -self._landing_most, self._landing_most),
            height=min(max(command.height, LOWEST), HIGHEST), residual=command.residual,
        )  # fmt: skip

    def step(self, command: GaitCommand) -> LegTargets:
        """One tick of the clock towards a command; strides change as fast as the gait's acceleration, joints move as fast as they can."""
        command = self.clipped(command)
        self._follow(command)
        q = self.legs.joints(self._move_feet(command.height))
        if len(command.residual):
            q = q + command.residual
        q = within(q, self._q_min, self._q_max)
        if self._last is not None:
            q = within(q, self._last - self._fastest, self._last + self._fastest)
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
        velocity = state.velocity + within(command.velocity - state.velocity, -self._change, self._change)
        landing = state.landing + within(command.landing - state.landing, -self._landing_change, self._landing_change)
        asked = bool((np.maximum(np.abs(velocity), np.abs(command.velocity)) > STANDS * self._most).any() or (np.abs(landing) > LANDING_STANDS).any())
        together = bool(np.abs(state.feet - self._below).max() < TOGETHER_M)
        walks = asked or (state.walks and not (together and min(state.phase, abs(state.phase - 0.5)) < beat))
        self.state = replace(state, phase=(state.phase + beat) % 1.0 if walks else 0.0, velocity=velocity, landing=landing, walks=walks)

    def _stands(self, phase: float, walks: bool) -> NDArray[np.bool_]:
        """Which feet (L,) are meant to be on the floor."""
        return np.asarray(((phase + self._offsets) % 1.0 < self.config.duty) | (not walks))

    def _move_feet(self, height: float) -> FloatArray:
        """Move the feet, see `strides`; where they are (..., L, 3) with the base higher by `height` [m]."""
        gait, state = self.config, self.state
        batch = np.broadcast_shapes(state.velocity.shape[:-1], state.landing.shape[:-1], state.feet.shape[:-2], state.lifted.shape[:-2])
        velocity, landing = (_rows(part, batch, part.shape[-1:]) for part in (state.velocity, state.landing))
        feet, lifted = (_rows(part, batch, self._below.shape) for part in (state.feet, state.lifted))
        phase = (state.phase + self._offsets) % 1.0
        out = feet_after(
            velocity, landing, feet, lifted, self._below, phase, self._stance, state.walks, gait.duty, 1 / gait.frequency, self.dt, gait.reach,
        ).reshape(*batch, len(phase), 5)  # fmt: skip
        self._stance = self._stands(state.phase, state.walks)
        self.state = replace(state, feet=out[..., :2], lifted=out[..., 2:4])
        places = out[..., :3].copy()
        places[..., 2] = gait.swing_height * out[..., 4] - gait.height - height
        return places

    def _carrying(self, q: FloatArray, stance: NDArray[np.bool_]) -> FloatArray:
        """Torques (..., n) with which the feet on the floor carry the robot, in equal shares."""
        share = self._weight / max(1, int(stance.sum()))
        down = -share * self.legs.jacobians(q)[..., 2, :]
        return np.asarray(np.where(stance[:, None], down, 0.0).reshape(q.shape))


def within(a: FloatArray, low: FloatArray | float, high: FloatArray | float) -> FloatArray:
    """`np.clip` in a third of its time, which counts where a tick does it seven times."""
    return np.asarray(np.minimum(np.maximum(a, low), high))


def _rows(a: FloatArray, batch: tuple[int, ...], shape: tuple[int, ...]) -> FloatArray:
    """The same (B, *shape) for any batch axes, of which `a` may have none."""
    return np.broadcast_to(a, batch + shape).reshape(-1, *shape) if batch else a[None]
