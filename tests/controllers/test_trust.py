"""Trust in the model falls at once where its members disagree, and comes back step by step."""

from __future__ import annotations

import numpy as np
import pytest

from taustack.controllers.trust import FACTOR, Trust

AGREE = np.full(5, 0.1)


def trust() -> Trust:
    return Trust.whole(25, 0.2)


def test_while_the_members_agree_the_whole_horizon_is_trusted() -> None:
    assert trust().after(AGREE) == trust()
    assert trust().after(np.full(5, FACTOR * 0.2)) == trust()


@pytest.mark.parametrize(("first", "steps"), [(4, 20), (3, 15), (1, 5), (0, 1)])
def test_it_ends_before_the_first_step_at_which_they_disagree(first: int, steps: int) -> None:
    disagreement = AGREE.copy()
    disagreement[first] = 10.0
    assert trust().after(disagreement).steps == steps
    disagreement[first] = np.nan
    assert trust().after(disagreement).steps == steps


def test_with_too_little_of_it_the_planner_hands_over_and_takes_back() -> None:
    low = trust().after(np.array([0.1, 9.0, 9.0, 9.0, 9.0]))
    assert not low.enough
    plans = 0
    while not low.enough:
        low, plans = low.after(AGREE), plans + 1
    assert plans == 3
    while low.steps < 25:
        low = low.after(AGREE)
    assert low == trust()


def test_without_a_stated_hold_out_trust_stays_whole() -> None:
    assert Trust.whole(25, None).after(np.full(5, 1e6)).steps == 25
