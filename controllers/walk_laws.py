"""Laws without a model that make a gait walk at a velocity: what any learned planner has to beat.

`open_loop` asks the strides for what is wanted. `feed_forward` asks for what was measured to give it (a calibrated affine map).
`feedback` adds what is missing at the moment, averaged over half a stride, and what it missed in sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.base_estimator import BaseEstimate
from taustack.controllers.gait import GaitCommand
from taustack.errors import UnknownName
from taustack.legged import StridesConfig

FloatArray = NDArray[np.float64]
TURN_WITHIN = 0.6
"""Heading error [rad] above which a robot turns rather than walks ahead."""
SLOW_DOWN_M = 0.6
"""Distance to a goal from which the speed shrinks with it."""
NEAR_M = 0.1
"""At the goal: stand."""


class WalkLaw(Protocol):
    """From a wanted velocity and an estimate to the command of a gait."""

    def reset(self) -> None:
        """Another episode."""
        ...

    def command(self, wanted: FloatArray, estimate: BaseEstimate) -> GaitCommand:
        """wanted (3,): forward, sideways [m/s], turn [rad/s]."""
        ...


class OpenLoop:
    """The strides are as long as the wanted velocity."""

    def reset(self) -> None: ...

    def command(self, wanted: FloatArray, estimate: BaseEstimate) -> GaitCommand:
        return GaitCommand(velocity=wanted)


@dataclass(frozen=True, kw_only=True)
class StrideMap:
    """What velocity a commanded one gives: gain (3, 3) @ command + offset (3,), measured on the robot."""

    gain: FloatArray
    offset: FloatArray

    @classmethod
    def fitted(cls, commands: FloatArray, velocities: FloatArray) -> StrideMap:
        """Least squares over rows (N, 3) of commands and of what came of them."""
        rows = np.hstack([commands, np.ones((len(commands), 1))])
        solution = np.linalg.lstsq(rows, velocities, rcond=None)[0]
        return cls(gain=np.asarray(solution[:3].T, float), offset=np.asarray(solution[3], float))

    @classmethod
    def of(cls, measured: StridesConfig) -> StrideMap:
        """What a robot's file says."""
        return cls(gain=np.array(measured.gain), offset=np.array(measured.offset))

    def command_for(self, wanted: FloatArray) -> FloatArray:
        """The command (3,) that gives a velocity; standing stays standing."""
        if not wanted.any():
            return np.zeros(3)
        return np.asarray(np.linalg.solve(self.gain, wanted - self.offset))


class FeedForward:
    """Inverts what was measured."""

    def __init__(self, strides: StrideMap) -> None:
        self._strides = strides

    def reset(self) -> None: ...

    def command(self, wanted: FloatArray, estimate: BaseEstimate) -> GaitCommand:
        return GaitCommand(velocity=self._strides.command_for(wanted))


class Feedback:
    """Feed-forward, plus a share of the error and of its sum.

    Args:
        strides: the feed-forward.
        dt: time between two commands [s].
        stride_s: half a stride, over which velocities are averaged [s].
        pull, sum_pull: gains [-], [1/s].
        most: largest sum (3,) [m/s, m/s, rad/s].
    """

    def __init__(
        self, strides: StrideMap, dt: float, stride_s: float, pull: float = 0.6, sum_pull: float = 0.8, most: tuple[float, float, float] = (0.3, 0.2, 0.4)
    ) -> None:
        self._strides, self._dt, self._pull, self._sum_pull, self._most = strides, dt, pull, sum_pull, np.array(most)
        self._keep = float(np.exp(-dt / stride_s))
        self.reset()

    def reset(self) -> None:
        self._mean, self._sum = np.zeros(3), np.zeros(3)

    def command(self, wanted: FloatArray, estimate: BaseEstimate) -> GaitCommand:
        self._mean = self._keep * self._mean + (1 - self._keep) * estimate.local_velocity
        if not wanted.any() and np.abs(self._mean[:2]).max() < 0.1:
            self._sum = np.zeros(3)
            return GaitCommand(velocity=np.zeros(3))
        error = wanted - self._mean
        self._sum = np.clip(self._sum + self._sum_pull * self._dt * error, -self._most, self._most)
        return GaitCommand(velocity=self._strides.command_for(wanted + self._pull * error + self._sum + 1e-9))


def towards(goal: FloatArray, estimate: BaseEstimate, most: FloatArray) -> FloatArray:
    """Velocity (3,) that leads to a place (2,) on the floor: turn to it, walk, slow down before it.

    Args:
        most: largest forward and sideways velocity [m/s] and turn [rad/s] (3,).
    """
    way = goal - estimate.position[:2]
    distance = float(np.hypot(*way))
    if distance < NEAR_M:
        return np.zeros(3)
    heading = (np.arctan2(way[1], way[0]) - estimate.yaw + np.pi) % (2 * np.pi) - np.pi
    speed = most[0] * min(1.0, distance / SLOW_DOWN_M)
    ahead = max(0.0, float(np.cos(heading))) * speed * (1.0 if abs(heading) < TURN_WITHIN else 0.5)
    aside = float(np.clip(np.sin(heading) * speed, -most[1], most[1]))
    turn = 0.0 if distance < SLOW_DOWN_M / 2 else float(np.clip(2.0 * heading, -most[2], most[2]))
    return np.array([ahead, aside, turn])


def make_walk_law(kind: str, strides: StrideMap, dt: float, frequency: float) -> WalkLaw:
    """A law by name.

    Raises:
        UnknownName: no such law.
    """
    if kind == "open_loop":
        return OpenLoop()
    if kind == "feed_forward":
        return FeedForward(strides)
    if kind == "feedback":
        return Feedback(strides, dt, 0.5 / frequency)
    raise UnknownName("planner", kind, WALK_LAWS)


WALK_LAWS = ("open_loop", "feed_forward", "feedback")
