"""Tasks of a robot on legs: strides at a low rate, over its gait and its landings, in MuJoCo. What a task shows is the robot's own estimate."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import rotation
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_laws import Feedback, StrideMap
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig, load_strides
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.tdm_tasks.ticks import whole_ticks
from taustack.tdm_legs import SHARE, position_layout, velocity_layout

FloatArray = NDArray[np.float64]
STAND_S = 0.5
NEAREST_M, FURTHEST_M = 0.3, 2.0  # of goals from where an episode begins


class Legs:
    """A simulated robot whose gait is asked for strides; its feet land where the law with feedback lets them (Raibert 1986).

    A robot that has fallen stays where it is until it is set up again.
    """

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario | None) -> None:
        self.robot, self._scenario = robot, scenario or LeggedScenario()
        self.strides = StrideMap.of(load_strides(robot))
        self._each = round(robot.rates.tracker_hz / robot.rates.plan_hz)
        self._stride = round(robot.rates.tracker_hz / robot.gait.frequency)

    def reset(self, rng: np.random.Generator) -> tuple[WalkState, FloatArray]:
        """Standing, with any heading; the state, and the velocity that it shows (3,)."""
        self._rig = LeggedRig(LeggedPlant(self.robot, self._scenario, rng))
        self._rig.reset(float(rng.uniform(-np.pi, np.pi)))
        self._law = Feedback(self.strides, 1.0 / self.robot.rates.plan_hz)
        self._seen: deque[FloatArray] = deque(maxlen=self._stride)
        self._tick, stand = 0, GaitCommand(velocity=np.zeros(3))
        for _ in range(round(STAND_S / self._rig.dt)):
            self._take(stand)
        return self._state, self._velocity()

    def step(self, strides: FloatArray, ticks: int) -> tuple[WalkState, FloatArray]:
        """The same after `ticks` ticks of the tracker at strides (3,)."""
        for _ in range(ticks):
            if self._rig.plant.fallen:
                return self._state, np.zeros(3)
            if self._tick % self._each == 0:
                wanted = self.strides.velocity_of(strides)
                self._landing = self._law.command(wanted, self._state).landing
            self._take(GaitCommand(velocity=strides, landing=self._landing))
        return self._state, self._velocity()

    def _take(self, command: GaitCommand) -> None:
        self._state = self._rig.tick(command)
        self._seen.append(self._state.base.local_velocity)
        self._tick += 1

    def _velocity(self) -> FloatArray:
        return np.asarray(np.mean(self._seen, axis=0))


class BasePosition:
    """Goals are places on the floor around where the robot stands."""

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario | None = None, tau_max: int = 15, steps: int = 40) -> None:
        self.name, self.steps = f"{robot.name}_base_position", steps
        self.legs, self.layout = Legs(robot, scenario), position_layout(robot, tau_max)
        self._ticks = whole_ticks(robot.folder, "base_position", self.layout.dt, robot.rates.tracker_hz)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Where the odometry begins, and a place in any direction."""
        state, velocity = self.legs.reset(rng)
        bearing, distance = rng.uniform(-np.pi, np.pi), rng.uniform(NEAREST_M, FURTHEST_M)
        return _placed(state, velocity), state.base.position[:2] + distance * np.array([np.cos(bearing), np.sin(bearing)])

    def step(self, a: FloatArray) -> FloatArray:
        """dt of strides."""
        return _placed(*self.legs.step(a, self._ticks))


class BaseVelocity:
    """Goals are velocities over all that strides give."""

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario | None = None, tau_max: int = 15, steps: int = 24) -> None:
        self.name, self.steps = f"{robot.name}_base_velocity", steps
        self.legs, self.layout = Legs(robot, scenario), velocity_layout(robot, tau_max)
        self._most = SHARE * np.array(robot.gait.velocity)
        self._ticks = whole_ticks(robot.folder, "base_velocity", self.layout.dt, robot.rates.tracker_hz)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Standing, and what some strides would give by the robot's measured map."""
        state, velocity = self.legs.reset(rng)
        return _moving(state, velocity), self.legs.strides.velocity_of(rng.uniform(-self._most, self._most))

    def step(self, a: FloatArray) -> FloatArray:
        """dt of strides."""
        return _moving(*self.legs.step(a, self._ticks))


def _moving(state: WalkState, velocity: FloatArray) -> FloatArray:
    """(10,): see taustack.tdm_legs."""
    phase, up = 2 * np.pi * state.gait.phase, rotation(state.base.quaternion)[2]
    return np.concatenate([velocity, up[:2], state.gait.velocity, [np.sin(phase), np.cos(phase)]])


def _placed(state: WalkState, velocity: FloatArray) -> FloatArray:
    """(14,): see taustack.tdm_legs."""
    yaw = state.base.yaw
    return np.concatenate([state.base.position[:2], [np.sin(yaw), np.cos(yaw)], _moving(state, velocity)])
