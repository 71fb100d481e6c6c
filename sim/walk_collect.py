"""Walks to learn from, with kicks: at random commands, or at those of a planner for random velocities. `taustack collect` for a robot on legs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_laws import Feedback, StrideMap, WalkLaw
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig, load_strides
from taustack.models.walk_dataset import WalkRun
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.legged_scenario import LeggedScenario

FloatArray = NDArray[np.float64]
HOLD_S = (0.3, 1.6)
"""For which a velocity is kept."""
SHARE = (0.3, 1.0)
"""Of the largest strides that commands are drawn from."""
KICK_EVERY_S, KICK_M_S, KICK_LASTS = (1.0, 4.0), 1.0, 3
"""Time between two kicks, the hardest of them, and the steps that one is felt."""
FOLLOWS = (0.4, 1.4)
"""Share of the landings of the law with feedback that is taken; without any, a quarter of a minute ends in a fall."""
LANDING_STD, OWN_STD = 0.03, (0.05, 0.05, 0.1, 0.015, 0.015)
"""Of what is added to landings [m], and to a planner's actions: strides [m/s, m/s, rad/s], landings [m]."""
NOISE_HOLD_S = 0.12
LEAST_S = 0.5
"""A run that is shorter is left out."""


class Commands(Protocol):
    """What a robot does while it is watched."""

    def reset(self) -> None:
        """The robot was set up again."""
        ...

    def command(self, state: WalkState) -> GaitCommand:
        """For the next step."""
        ...


def collect_walks(
    robot: LeggedConfig, scenario: LeggedScenario, seconds: float, commands: Commands, rng: np.random.Generator,
    on_step: Callable[[int], object] = lambda _: None,
) -> list[WalkRun]:  # fmt: skip
    """Walk for `seconds` and record a transition every 1 / plan_hz; a fall ends a run, and the robot is set up again. What it stands is not recorded."""
    rig = LeggedRig(LeggedPlant(robot, scenario, rng))
    each, dt = round(robot.rates.tracker_hz / robot.rates.plan_hz), 1.0 / robot.rates.plan_hz
    runs, rows, state, kick_in = [], _Rows(), _stand(rig), float(rng.uniform(*KICK_EVERY_S))
    for _ in range(round(seconds / dt)):
        command = commands.command(state)
        kick_in -= dt
        if kick_in <= 0:
            angle, speed, kick_in = rng.uniform(-np.pi, np.pi), rng.uniform(0.1, KICK_M_S), float(rng.uniform(*KICK_EVERY_S))
            rig.plant.kick(speed * np.array([np.cos(angle), np.sin(angle), 0.0]))
            rows.kicks = KICK_LASTS
        before = state
        for _ in range(each):
            state = rig.tick(command)
        rows.take(before, command, state)
        on_step(1)
        if rig.plant.fallen:
            runs += rows.run(LEAST_S / dt, falls=1)
            rows, state = _Rows(), _stand(rig)
            commands.reset()
    return runs + rows.run(LEAST_S / dt, falls=0)


class _Rows:
    """A run in the making."""

    def __init__(self) -> None:
        self._x, self._u, self._kicked, self.kicks = list[FloatArray](), list[FloatArray](), list[float](), 0

    def take(self, before: WalkState, command: GaitCommand, after: WalkState) -> None:
        if not self._x and not before.gait.walks:
            return
        self._x = self._x or [before.x()]
        self._u.append(np.concatenate([command.velocity, command.landing]))
        self._x.append(after.x())
        self._kicked.append(float(self.kicks > 0))
        self.kicks = max(0, self.kicks - 1)

    def run(self, least: float, falls: int) -> list[WalkRun]:
        if len(self._u) < least:
            return []
        return [WalkRun(x=np.array(self._x), u=np.array(self._u), kicked=np.array(self._kicked), falls=falls)]


def _stand(rig: LeggedRig) -> WalkState:
    rig.reset()
    for _ in range(round(0.3 / rig.dt)):
        state = rig.tick(GaitCommand(velocity=np.zeros(3)))
    return state


class _Kept:
    """A draw that is kept for a while."""

    def __init__(self, draw: Callable[[], FloatArray], hold_s: Callable[[], float], dt: float) -> None:
        self._draw, self._hold_s, self._dt, self._left = draw, hold_s, dt, 0.0

    def __call__(self) -> FloatArray:
        if self._left <= 0:
            self._value, self._left = self._draw(), self._hold_s()
        self._left -= self._dt
        return self._value


def _velocities(robot: LeggedConfig, rng: np.random.Generator, dt: float) -> _Kept:
    """Velocities (3,) up to the largest of the strides, more of the smaller ones."""
    most = np.array(robot.gait.velocity)

    def draw() -> FloatArray:
        return np.asarray(most * rng.uniform(-1, 1, 3) * rng.uniform(*SHARE))

    return _Kept(draw, lambda: float(rng.uniform(*HOLD_S)), dt)


class RandomCommands:
    """Velocities over all that strides may be; landings are a share of those of the law with feedback, and noise."""

    def __init__(self, robot: LeggedConfig, rng: np.random.Generator) -> None:
        dt = 1.0 / robot.rates.plan_hz
        self._law = Feedback(StrideMap.of(load_strides(robot)), dt)
        self._velocity = _velocities(robot, rng, dt)
        self._share = _Kept(lambda: np.array([rng.uniform(*FOLLOWS)]), lambda: float(rng.uniform(*HOLD_S)), dt)
        self._noise = _Kept(lambda: rng.normal(0.0, LANDING_STD, 2), lambda: NOISE_HOLD_S, dt)

    def reset(self) -> None:
        self._law.reset()

    def command(self, state: WalkState) -> GaitCommand:
        velocity = self._velocity()
        pushed = self._law.command(velocity, state).landing
        return GaitCommand(velocity=velocity, landing=self._noise() + self._share() * pushed)


class OwnWalks:
    """What a law or planner does for random velocities, and a little noise on it."""

    def __init__(self, law: WalkLaw, robot: LeggedConfig, rng: np.random.Generator) -> None:
        dt = 1.0 / robot.rates.plan_hz
        self._law, self._velocity = law, _velocities(robot, rng, dt)
        self._noise = _Kept(lambda: rng.normal(0.0, OWN_STD), lambda: NOISE_HOLD_S, dt)

    def reset(self) -> None:
        self._law.reset()

    def command(self, state: WalkState) -> GaitCommand:
        asked, noise = self._law.command(self._velocity(), state), self._noise()
        return GaitCommand(velocity=asked.velocity + noise[:3], landing=asked.landing + noise[3:])
