"""Logged plans are computed again to the same bits, and a picture says why one was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taustack.bags.reader import open_bag
from taustack.cli import main
from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.errors import BadInput
from taustack.sim.replay import LoggedPlan, Replay, bundles_of, logged_plans


@pytest.fixture(scope="module")
def bag(log_episodes: Callable[..., Path]) -> Path:
    return log_episodes("planned", count=2, seed=3, planner="direct")


@pytest.fixture(scope="module")
def plans(bag: Path) -> list[LoggedPlan]:
    return list(logged_plans(open_bag(bag)))


def test_every_plan_is_computed_again_to_the_same_bits(plans: list[LoggedPlan], robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    again = Replay(robot, task, {bundle.sha256: bundle})
    assert len(plans) > 40
    assert len({plan.basis.noise_seed for plan in plans}) == 2  # one an episode
    assert all(again.same(plan) for plan in reversed(plans))  # in any order


@pytest.mark.parametrize("what", ["noise_seed", "temperature", "tau", "goal", "mean", "weights", "seq", "obstacles"])
def test_anything_else_gives_other_bits(what: str, plans: list[LoggedPlan], robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    """Near the end tau counts for nothing: a plan on the way."""
    again, plan = Replay(robot, task, {bundle.sha256: bundle}), plans[10]
    if what == "seq":
        changed = dataclasses.replace(plan, seq=plan.seq + 1)
    else:
        value = getattr(plan.basis, what)
        if what == "obstacles":
            value = np.array([[0.3, 0.0, 0.3, 0.3, 0.3, 0.3, 0.0]], dtype=np.float32) - 5  # five is added below
        changed = dataclasses.replace(plan, basis=dataclasses.replace(plan.basis, **{what: value + 5 if what != "mean" else value + 0.1}))
    assert again.same(plan)
    assert not again.same(changed)


def test_the_command_says_so_and_draws_the_reasons(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "replay", str(bag), "--at", "0.3", "--out", str(tmp_path / "why.png")]) == 0
    said = capsys.readouterr().out
    assert "plans computed again to the same bits" in said
    assert "goal_position" in said
    assert (tmp_path / "why.png").stat().st_size > 10_000


def test_a_plan_that_differs_is_exit_code_one(bag: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from taustack.sim import replay

    real = replay.logged_plans
    monkeypatch.setattr(replay, "logged_plans", lambda bag: (dataclasses.replace(p, seq=p.seq + (i == 5)) for i, p in enumerate(real(bag))))
    assert main(["bag", "replay", str(bag)]) == 1
    assert "differs" in capsys.readouterr().out


def test_a_bundle_that_is_nowhere_is_asked_for(plans: list[LoggedPlan], robot: RobotConfig, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="which made plans of this bag"):
        bundles_of(plans, robot, [tmp_path])


def test_a_bag_without_such_plans_says_so(log_episodes: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "replay", str(log_episodes("without", count=1, seed=1))]) == 2
    assert "no plan that says what it was computed from" in capsys.readouterr().err
