"""What the gate measures of a temporal difference model: small for the robot's own runs, large for those of another one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.bundle import Bundle
from taustack.models.dataset import Run
from taustack.models.gate import load_rules
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario
from taustack.sim.tdm_errors import tdm_errors


@pytest.fixture(scope="module")
def runs(robot: RobotConfig) -> list[Run]:
    return [collect_run(robot, Scenario(), 6.0, 900 + i) for i in range(2)]


def test_the_shipped_model_keeps_the_rules_on_runs_it_never_saw(robot: RobotConfig, bundle: Bundle, runs: list[Run]) -> None:
    found, rule = tdm_errors(bundle, robot, runs), load_rules().tdm
    assert 0 < found["one step"] < rule.one_step_most
    assert 0 < found["reached"] < rule.reached_most


def test_a_joint_that_turns_the_other_way_breaks_them(robot: RobotConfig, bundle: Bundle, runs: list[Run]) -> None:
    """As a model with a joint's sign flipped would on the runs as they are: the command says one way, the joint goes the other."""
    flipped = []
    for run in runs:
        x = run.x.copy()
        x[:, 3 * robot.n] *= -1  # the reference's velocity of the first joint
        flipped.append(dataclasses.replace(run, x=x))
    assert tdm_errors(bundle, robot, flipped)["one step"] > load_rules().tdm.one_step_most


def test_runs_that_are_too_short_and_bundles_without_a_model_measure_nothing(robot: RobotConfig, bundle: Bundle, runs: list[Run]) -> None:
    short = [dataclasses.replace(run, x=run.x[:60]) for run in runs]
    assert tdm_errors(bundle, robot, short) == {}
    without = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"tdm": None}))
    assert tdm_errors(without, robot, runs) == {}
    assert np.isfinite(list(tdm_errors(bundle, robot, runs).values())).all()
