"""Choices are made beside whoever asks, in order; what was found for an answer is not searched for again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from taustack.controllers.chooser import Chooser
from taustack.controllers.guarded import MOST_FAULTS, ChoiceTimes
from taustack.controllers.subgoals import Direct, Subgoal
from taustack.errors import PlanFailed
from taustack.layout import RobotState

HERE, THERE = np.array([0.5, 0.2, 0.4]), np.array([0.4, -0.3, 0.5])
State = Callable[..., RobotState]


class Counting:
    """Counts what it is asked for since it was reset; may wait, or fail."""

    def __init__(self) -> None:
        self.choices, self.fails, self.obstacles, self.go = 0, False, -1, threading.Event()
        self.go.set()

    def choose(self, state: RobotState, goal: np.ndarray) -> Subgoal:
        assert self.go.wait(20.0)
        if self.fails:
            raise PlanFailed("no chain")
        self.choices += 1
        return Subgoal(point=goal, tau_s=0.0, chain=np.stack([state.ee, goal]), time_s=float(self.choices), free=True, left_m=0.1)

    def set_obstacles(self, obstacles: object) -> None:
        self.obstacles = len(obstacles)  # type: ignore[arg-type]

    def reset(self) -> None:
        self.choices = 0


@pytest.fixture
def pair() -> tuple[Counting, Counting]:
    return Counting(), Counting()


@pytest.fixture
def chooser(pair: tuple[Counting, Counting]) -> Iterator[Chooser]:
    made = Chooser(pair, Direct(0.6), ChoiceTimes())
    yield made
    for planner in pair:
        planner.go.set()
    made.close()


def test_asking_returns_at_once_and_says_for_how_long_the_choice_is_in_work(chooser: Chooser, pair: tuple[Counting, Counting], at_home: State) -> None:
    pair[1].go.clear()
    answer = chooser.ask(at_home(), HERE)
    assert not answer.done()
    while chooser.busy_s() == 0.0:
        pass
    first = chooser.busy_s()
    assert chooser.busy_s() > first
    pair[1].go.set()
    assert answer.result(20.0).left_m == 0.1
    chooser.ask(at_home(), HERE).result(20.0)
    while chooser.busy_s() > 0.0:
        pass


def test_a_goal_that_was_asked_for_is_led_to_by_the_answer(chooser: Chooser, pair: tuple[Counting, Counting], at_home: State) -> None:
    chooser.ask(at_home(), HERE)
    first = chooser.lead(at_home(), HERE, fresh=True).result(20.0)
    assert (first.subgoal.time_s, first.fault) == (1.0, "")
    assert (pair[0].choices, pair[1].choices) == (0, 1)
    assert chooser.lead(at_home(), HERE, fresh=False).result(20.0).subgoal.time_s == 2.0
    assert (pair[0].choices, pair[1].choices) == (0, 2)  # the one that found the way goes on


def test_a_question_leaves_the_goal_that_runs_its_way(chooser: Chooser, pair: tuple[Counting, Counting], at_home: State) -> None:
    chooser.lead(at_home(), HERE, fresh=True)
    chooser.ask(at_home(), THERE)
    assert chooser.lead(at_home(), HERE, fresh=False).result(20.0).subgoal.time_s == 2.0
    # what was asked for another goal is not taken for this one
    chooser.ask(at_home(), HERE)
    assert chooser.lead(at_home(), THERE, fresh=True).result(20.0).subgoal.time_s == 1.0
    np.testing.assert_array_equal(chooser.lead(at_home(), THERE, fresh=False).result(20.0).subgoal.point, THERE)
    assert pair[0].choices == 2


def test_a_planner_that_was_given_up_stays_so_until_another_is_used(chooser: Chooser, pair: tuple[Counting, Counting], at_home: State) -> None:
    pair[0].fails = True
    said = [chooser.lead(at_home(), HERE, fresh=i == 0).result(20.0) for i in range(MOST_FAULTS)]
    assert [choice.given_up for choice in said] == [False] * (MOST_FAULTS - 1) + [True]
    assert said[-1].fault == "no chain"
    chooser.ask(at_home(), THERE)  # the other one would know a way, but its kind was given up
    assert chooser.lead(at_home(), THERE, fresh=True).result(20.0).given_up
    other = Counting(), Counting()
    chooser.use(other, ())
    assert not chooser.lead(at_home(), THERE, fresh=True).result(20.0).given_up
    assert (other[0].choices, other[0].obstacles, other[1].obstacles) == (1, 0, 0)


def test_after_the_end_nothing_is_chosen(pair: tuple[Counting, Counting], at_home: State) -> None:
    chooser = Chooser(pair, Direct(0.6), ChoiceTimes())
    pair[0].go.clear()
    running, waiting = chooser.lead(at_home(), HERE, fresh=True), chooser.lead(at_home(), HERE, fresh=False)
    chooser.close()
    assert waiting.cancelled()
    pair[0].go.set()
    assert running.result(20.0).fault == ""
