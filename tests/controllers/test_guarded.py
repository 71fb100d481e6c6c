"""A planner of subgoals that fails or is late does not stop the robot's way: the last subgoal stays, then the goal itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from taustack.controllers.guarded import LATE_S, MOST_FAULTS, ChoiceTimes, Guarded
from taustack.controllers.subgoals import Direct, Subgoal
from taustack.errors import PlanFailed
from taustack.layout import RobotState

GOAL = np.array([0.5, 0.2, 0.4])
State = Callable[..., RobotState]


class Told:
    """Does what it is told to."""

    def __init__(self) -> None:
        self.fails, self.takes, self.now, self.chosen = False, 0.0, 0.0, 0

    def choose(self, state: RobotState, goal: np.ndarray) -> Subgoal:
        self.chosen += 1
        self.now += self.takes
        if self.fails:
            raise PlanFailed("no chain")
        return Subgoal(point=goal + 0.1, tau_s=0.0, chain=np.stack([state.ee, goal + 0.1, goal]), time_s=1.0, free=True)

    def set_obstacles(self, obstacles: object) -> None: ...

    def reset(self) -> None: ...


def test_one_failure_keeps_the_last_subgoal_and_many_in_a_row_lead_straight_to_the_goal(at_home: State) -> None:
    told = Told()
    guarded = Guarded(told, Direct(0.6), lambda: told.now)
    first = guarded.choose(at_home(), GOAL)
    assert guarded.fault == ""
    told.fails = True
    for i in range(MOST_FAULTS):
        assert not guarded.given_up
        np.testing.assert_array_equal(guarded.choose(at_home(), GOAL).point, first.point)
        assert guarded.fault == "no chain"
        assert told.chosen == 2 + i
    assert guarded.given_up
    np.testing.assert_array_equal(guarded.choose(at_home(), GOAL).point, GOAL)
    assert told.chosen == 1 + MOST_FAULTS


def test_failures_that_are_not_in_a_row_do_not_add_up_and_without_a_last_one_it_is_the_goal(at_home: State) -> None:
    told = Told()
    guarded = Guarded(told, Direct(0.6), lambda: told.now)
    for _ in range(3 * MOST_FAULTS):
        guarded.reset()
        told.fails = True
        np.testing.assert_array_equal(guarded.choose(at_home(), GOAL).point, GOAL)
        told.fails = False
        np.testing.assert_array_equal(guarded.choose(at_home(), GOAL).point, GOAL + 0.1)
    assert not guarded.given_up


def test_late_choices_are_taken_and_said_and_given_up_in_the_end(at_home: State) -> None:
    told = Told()
    told.takes = 2 * LATE_S
    guarded = Guarded(told, Direct(0.6), lambda: told.now)
    for _ in range(MOST_FAULTS):
        np.testing.assert_array_equal(guarded.choose(at_home(), GOAL).point, GOAL + 0.1)
        assert guarded.fault.startswith("a choice took 0.60 s")
    assert guarded.given_up


def test_the_first_choice_of_a_goal_is_counted_apart_from_the_cycle(at_home: State) -> None:
    told, times = Told(), ChoiceTimes()
    guarded = Guarded(told, Direct(0.6), lambda: told.now, times)
    for takes in (0.08, 0.01, 0.012, 0.011):
        told.takes = takes
        guarded.choose(at_home(), GOAL)
    guarded.reset()
    told.takes = 0.06
    guarded.choose(at_home(), GOAL)
    assert (times.first.total, times.cycle.total) == (2, 3)
    assert times.first.max_s > 0.07
    assert times.cycle.max_s < 0.02
    assert times.figures()["choices"] == 3
