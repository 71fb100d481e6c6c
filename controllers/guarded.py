"""A planner of subgoals that may fail or be late: the last subgoal stays, and after a while the goal itself is the next one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.subgoals import Direct, Subgoal, SubgoalPlanner
from taustack.errors import PlanFailed
from taustack.layout import RobotState
from taustack.obstacles import Obstacle
from taustack.realtime import Durations

FloatArray = NDArray[np.float64]
LATE_S = 0.3
"""A choice that takes longer is late."""
MOST_FAULTS = 5
"""In a row; then the planner is given up."""


@dataclass(frozen=True, kw_only=True)
class ChoiceTimes:
    """How long choices took: the first one of a goal, which may be several searches, and those after it, the planner's cycle."""

    first: Durations = field(default_factory=lambda: Durations(bin_s=5e-4))
    cycle: Durations = field(default_factory=lambda: Durations(bin_s=5e-4))

    def figures(self) -> dict[str, object]:
        """For the summary of a run, [ms]."""
        return {"choices": self.cycle.total, "cycle_ms": self.cycle.percentiles_ms(), "goals": self.first.total, "first_ms": self.first.percentiles_ms()}


class Guarded:
    """See the module; itself a planner of subgoals that never raises.

    Args:
        planner: that may fail.
        direct: what takes its place then.
        times: where it is counted how long choices take.

    Attributes:
        fault: what was wrong with the last choice, empty if nothing.
        given_up: True once only the goal itself is chosen.
    """

    def __init__(self, planner: SubgoalPlanner, direct: Direct, clock: Callable[[], float] = time.monotonic, times: ChoiceTimes | None = None) -> None:
        self._planner, self._direct, self._clock = planner, direct, clock
        self.times = times or ChoiceTimes()
        self._first = True
        self._last: Subgoal | None = None
        self._faults = 0
        self.fault = ""
        self.given_up = False

    def choose(self, state: RobotState, goal: FloatArray) -> Subgoal:
        """The next subgoal from a state towards a goal (3,) [m]."""
        if self.given_up:
            self.fault = ""
            return self._direct.choose(state, goal)
        began, self.fault = self._clock(), ""
        try:
            chosen = self._last = self._planner.choose(state, goal)
            took = self._clock() - began
            (self.times.first if self._first else self.times.cycle).add(took)
            self._first = False
            if took > LATE_S:
                self.fault = f"a choice took {took:.2f} s, expected at most {LATE_S:g}"
        except PlanFailed as error:
            self.fault = str(error)
            chosen = self._last or self._direct.choose(state, goal)
        self._faults = self._faults + 1 if self.fault else 0
        self.given_up = self._faults >= MOST_FAULTS
        return chosen

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from now on."""
        self._planner.set_obstacles(obstacles)

    def go_on_with(self, planner: SubgoalPlanner, last: Subgoal) -> SubgoalPlanner:
        """Another planner, which has just chosen `last` for the goal that begins, goes on from there; returns the one of before."""
        planner, self._planner = self._planner, planner
        self._last, self._first, self.fault = last, False, ""
        return planner

    def reset(self) -> None:
        """Forget earlier choices: another goal, or the robot was moved."""
        self._planner.reset()
        self._last, self._first = None, True
