"""Laws without a model that make a gait walk at a velocity: what any learned planner has to beat.

`open_loop` asks the strides for what is wanted. `feed_forward` asks for what was measured to give it (a calibrated affine map).
`feedback` adds what it lately missed, and lets the feet land further to where the robot is pushed (Raibert 1986).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_state import WalkState
from taustack.errors import UnknownName
from taustack.legged import LeggedConfig, StridesConfig, load_strides

FloatArray = NDArray[np.float64]
SLOW_DOWN_M = 0.6
"""Distance to a goal from which the speed shrinks with it."""
PUSHED_S = 0.05
"""Over which velocities are averaged for where feet land [s]."""
LAG_S = 0.15
"""With which a walk follows its strides [s]."""
NEAR_M = 0.1
"""At the goal: stand."""


class WalkLaw(Protocol):
    """From a wanted velocity and a state to the command of a gait."""

    def reset(self) -> None:
        """Another episode."""
        ...

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
        """wanted (3,): forward, sideways [m/s], turn [rad/s]."""
        ...


class OpenLoop:
    """The strides are as long as the wanted velocity."""

    def reset(self) -> None: ...

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
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

    def velocity_of(self, command: FloatArray) -> FloatArray:
        """The velocity (3,) that a command gives; standing stays standing."""
        return np.asarray(self.gain @ command + self.offset) if command.any() else np.zeros(3)

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

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
        return GaitCommand(velocity=self._strides.command_for(wanted))


class DisturbanceObserver:
    """What a walk lately missed of the velocity that it was given, which it follows late: so a change of that is no disturbance.

    Args:
        dt: time between two looks [s].
        lag_s: with which the walk follows [s].
        average_s: over which disturbances are averaged [s].
        most: largest disturbance that is counted on (3,) [m/s, m/s, rad/s].
    """

    def __init__(self, dt: float, lag_s: float = LAG_S, average_s: float = 1.0, most: tuple[float, float, float] = (0.3, 0.2, 0.4)) -> None:
        self._most = np.array(most)
        self._keep_lag, self._keep = (float(np.exp(-dt / time)) for time in (lag_s, average_s))
        self.reset()

    def reset(self) -> None:
        """Nothing was missed yet."""
        self._expected, self._missed = np.zeros(3), np.zeros(3)

    def look(self, velocity: FloatArray, given: FloatArray) -> FloatArray:
        """What was missed lately (3,), with the velocity (3,) that is and the one that was given (3,) since the look before."""
        self._expected = self._keep_lag * self._expected + (1 - self._keep_lag) * given
        self._missed = self._keep * self._missed + (1 - self._keep) * (velocity - self._expected)
        return np.asarray(np.clip(self._missed, -self._most, self._most))


class Feedback:
    """Feed-forward that counts on what the robot lately missed of it, and landings that follow how far the base is from where its strides have it.

    Args:
        strides: the feed-forward.
        dt: time between two commands [s].
        pull: of landings [s]; a pendulum of the base's height would ask for sqrt(height / gravity), 0.17.
    """

    def __init__(self, strides: StrideMap, dt: float, pull: float = 0.12) -> None:
        self._strides, self._pull, self._observer = strides, pull, DisturbanceObserver(dt)
        self._keep_now = float(np.exp(-dt / PUSHED_S))
        self.reset()

    def reset(self) -> None:
        self._now = np.zeros(3)
        self._observer.reset()

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
        velocity, given = state.base.local_velocity, self._strides.velocity_of(state.gait.velocity)
        self._now = self._keep_now * self._now + (1 - self._keep_now) * velocity
        missed = self._observer.look(velocity, given)
        strides = self._strides.command_for(wanted - missed) if wanted.any() else np.zeros(3)
        return GaitCommand(velocity=strides, landing=self._pull * (self._now - given)[:2])


def towards(goal: FloatArray, state: WalkState, most: FloatArray) -> FloatArray:
    """Velocity (3,) that leads to a place (2,) on the floor: straight to it, turning to it on the way, slower before it.

    Args:
        most: largest forward and sideways velocity [m/s] and turn [rad/s] (3,), each without the others: together they keep to the ellipsoid.
    """
    way = goal - state.base.position[:2]
    distance = float(np.hypot(*way))
    if distance < NEAR_M:
        return np.zeros(3)
    heading = (np.arctan2(way[1], way[0]) - state.base.yaw + np.pi) % (2 * np.pi) - np.pi
    ahead, aside = float(np.cos(heading)), float(np.sin(heading))
    speed = min(1.0, distance / SLOW_DOWN_M) / max(abs(ahead) / most[0], abs(aside) / most[1])
    turn = 0.0 if distance < SLOW_DOWN_M / 2 else float(np.clip(2.0 * heading, -most[2], most[2]))
    velocity = np.array([speed * ahead, speed * aside, turn])
    return np.asarray(velocity / max(1.0, float(np.linalg.norm(velocity / most))))


def make_walk_law(kind: str, robot: LeggedConfig) -> WalkLaw:
    """A law by name.

    Raises:
        UnknownName: no such law.
    """
    strides, dt = StrideMap.of(load_strides(robot)), 1.0 / robot.rates.plan_hz
    if kind == "open_loop":
        return OpenLoop()
    if kind == "feed_forward":
        return FeedForward(strides)
    if kind == "feedback":
        return Feedback(strides, dt)
    raise UnknownName("planner", kind, WALK_LAWS)


WALK_LAWS = ("open_loop", "feed_forward", "feedback")
