"""Rest that work owes."""

from __future__ import annotations

import pytest

from taustack.controllers.duty import Duty


def rate(work_s: float, period_s: float, seconds: float = 60.0) -> tuple[float, float]:
    """Steps a second, and the share of time worked, when work may begin at multiples of a period."""
    duty, free_at, steps, worked = Duty(0.3, 0.02), 0.0, 0, 0.0
    for tick in range(round(seconds / period_s)):
        t = tick * period_s
        if t >= free_at and duty.may_begin(t):
            free_at = t + work_s
            duty.worked(t, free_at)
            steps, worked = steps + 1, worked + work_s
    return steps / seconds, worked / seconds


@pytest.mark.parametrize("work_s", [0.004, 0.010, 0.0122])
def test_work_that_leaves_enough_by_itself_never_waits(work_s: float) -> None:
    assert rate(work_s, 0.016)[0] == pytest.approx(62.5, rel=0.01)


@pytest.mark.parametrize("work_s", [0.013, 0.0155, 0.02, 0.05, 0.3])
def test_work_of_any_length_leaves_its_share(work_s: float) -> None:
    steps, share = rate(work_s, 0.016)
    assert share <= 1 / 1.3 + 0.01
    assert share >= 0.55  # and it is not made to wait for more than that
    assert steps > 0.9 * min(62.5, 0.75 / (work_s + 0.016))


def test_one_long_step_does_not_cost_the_next_one_its_turn() -> None:
    duty = Duty(0.3, 0.02)
    assert duty.may_begin(0.0)
    duty.worked(0.0, 0.05)
    assert duty.may_begin(0.05)
    duty.worked(0.05, 0.10)
    assert not duty.may_begin(0.10)
    assert not duty.may_begin(0.109)
    assert duty.may_begin(0.111)


def test_idle_time_is_no_credit_for_later() -> None:
    duty = Duty(0.3, 0.02)
    duty.worked(0.0, 0.01)
    duty.worked(100.0, 100.1)
    assert not duty.may_begin(100.1)
