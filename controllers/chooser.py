"""Chooses subgoals in a thread of its own: the first choice of a goal may be several searches, and whoever asks looks after its goal meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.guarded import ChoiceTimes, Guarded
from taustack.controllers.subgoals import Direct, Subgoal, SubgoalPlanner
from taustack.layout import RobotState
from taustack.obstacles import Obstacle

FloatArray = NDArray[np.float64]
T = TypeVar("T")
Pair = tuple[SubgoalPlanner, SubgoalPlanner]
"""Two planners of a kind: one leads to the goal that runs, the other answers for goals that are asked for meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A subgoal; what was wrong with the choice, empty if nothing; whether only the goal itself is chosen from now on."""

    subgoal: Subgoal
    fault: str
    given_up: bool


class Chooser:
    """See the module. What is asked for is done in the order of asking; all methods return at once.

    Args:
        pair: planners of the first kind, used in the thread only.
        direct: what takes their place if they fail.
        times: where it is counted how long choices take.
        begin: called first in the thread, to ask for its priority.
    """

    def __init__(self, pair: Pair, direct: Direct, times: ChoiceTimes, begin: Callable[[], None] = lambda: None) -> None:
        self._direct, self._times = direct, times
        self._leader, self._spare = Guarded(pair[0], direct, times=times), pair[1]
        self._asked: FloatArray | None = None
        self._answer: Subgoal | None = None
        self._began: float | None = None
        self._thread = ThreadPoolExecutor(1, "choices", initializer=begin)

    def use(self, pair: Pair, obstacles: Sequence[Obstacle]) -> None:
        """Another pair takes over with the next choice, with its faults forgotten."""
        self._submit(self._use, pair, tuple(obstacles))

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from the next choice on."""
        self._submit(self._set_obstacles, tuple(obstacles))

    def ask(self, state: RobotState, goal: FloatArray) -> Future[Subgoal]:
        """What would be chosen from a state towards a goal (3,) [m]; the goal that runs keeps its way."""
        return self._submit(self._ask, state, goal)

    def lead(self, state: RobotState, goal: FloatArray, *, fresh: bool) -> Future[Choice]:
        """The next subgoal from a state towards a goal (3,) [m]. fresh: of another goal than before; if it was asked for last, its answer is taken."""
        return self._submit(self._lead, state, goal, fresh)

    def busy_s(self) -> float:
        """How long the choice in work has taken so far [s]."""
        began = self._began
        return 0.0 if began is None else time.monotonic() - began

    def close(self) -> None:
        """No choice from now on; the one in work is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[..., T], *arguments: object) -> Future[T]:
        def timed() -> T:
            self._began = time.monotonic()
            try:
                return work(*arguments)
            finally:
                self._began = None

        return self._thread.submit(timed)

    def _use(self, pair: Pair, obstacles: Sequence[Obstacle]) -> None:
        self._leader, self._spare = Guarded(pair[0], self._direct, times=self._times), pair[1]
        self._set_obstacles(obstacles)
        self._leader.reset()

    def _set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        self._leader.set_obstacles(obstacles)
        self._spare.set_obstacles(obstacles)
        self._asked = None  # that answer knew nothing of these

    def _ask(self, state: RobotState, goal: FloatArray) -> Subgoal:
        asked = Guarded(self._spare, self._direct, times=self._times)
        asked.reset()
        self._answer, self._asked = asked.choose(state, goal), goal
        return self._answer

    def _lead(self, state: RobotState, goal: FloatArray, fresh: bool) -> Choice:
        if fresh and self._answer is not None and self._asked is not None and np.array_equal(self._asked, goal) and not self._leader.given_up:
            self._spare, self._asked = self._leader.go_on_with(self._spare, self._answer), None
            return Choice(subgoal=self._answer, fault="", given_up=False)
        if fresh:
            self._leader.reset()
        chosen = self._leader.choose(state, goal)
        return Choice(subgoal=chosen, fault=self._leader.fault, given_up=self._leader.given_up)
