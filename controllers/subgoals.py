"""What a planner of subgoals offers, and how one stands above MPPI: where to be next, at a low rate; how to get there, at a high one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.plan import Plan
from taustack.controllers.planner import Planner
from taustack.layout import Measured, RobotState
from taustack.obstacles import Obstacle

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Subgoal:
    """Where to be next.

    point (3,) [m]; tau_s: expected until it is reached [s], 0: not known; chain (m, 3): the way from here over the subgoals to the goal [m];
    time_s: expected until the goal is reached [s]; free: nothing is in the way of that chain; posture (n,): joint positions to be at the point with, if it
    matters; left_m: how far from the goal that chain ends, by a planner that knows; probability: that it ends within the tolerance, by one that knows.
    """

    point: FloatArray
    tau_s: float
    chain: FloatArray
    time_s: float
    free: bool
    posture: FloatArray | None = None
    left_m: float | None = None
    probability: float | None = None

    @property
    def goal(self) -> FloatArray:
        """For the planner below: the point (3,), and the joint positions (n,) after it if they matter."""
        return self.point if self.posture is None else np.concatenate([self.point, self.posture])


class SubgoalPlanner(Protocol):
    """State and goal to the next subgoal."""

    def choose(self, state: RobotState, goal: FloatArray) -> Subgoal:
        """The subgoal from a state towards a goal (3,) [m]."""
        ...

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from now on."""
        ...

    def reset(self) -> None:
        """Forget earlier choices: another goal, or the robot was moved."""
        ...


class Direct:
    """The goal itself, whatever is in the way.

    Args:
        speed: of the end effector, for the expected time [m/s].
    """

    def __init__(self, speed: float) -> None:
        self._speed = speed

    def choose(self, state: RobotState, goal: FloatArray) -> Subgoal:
        """The goal, as soon as possible."""
        seconds = float(np.linalg.norm(goal - state.ee)) / self._speed
        return Subgoal(point=goal, tau_s=0.0, chain=np.stack([state.ee, goal]), time_s=seconds, free=True)

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """It looks at none."""

    def reset(self) -> None:
        """It remembers nothing."""


class Guided:
    """A planner: another one, MPPI say, towards the subgoals that another one chooses at its own rate, in process and in lockstep."""

    def __init__(self, planner: Planner, subgoals: SubgoalPlanner, rate_hz: float) -> None:
        self.planner, self.subgoals, self._period = planner, subgoals, 1.0 / rate_hz
        self._subgoal: Subgoal | None = None
        self._goal, self._due = np.zeros(3), 0.0

    def plan(self, measured: Measured, goal: FloatArray, tau: float = 0.0) -> Plan:
        """Raises PlanFailed as that one does."""
        if self._subgoal is None or not np.array_equal(goal, self._goal):
            self.subgoals.reset()
            self._goal, self._due = np.array(goal), measured.state.t
        if self._subgoal is None or measured.state.t >= self._due:
            self._subgoal = self.subgoals.choose(measured.state, goal)
            self._due += self._period
        last = np.array_equal(self._subgoal.point, goal)
        return self.planner.plan(measured, self._subgoal.goal, tau if last else 0.0)  # subgoals are reached as soon as possible

    def reset(self) -> None:
        """Forget earlier plans and subgoals."""
        self.planner.reset()
        self.subgoals.reset()
        self._subgoal = None
