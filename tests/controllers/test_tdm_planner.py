"""Subgoals over the shipped bundle's temporal difference model: around what is in the way, in time, and said where a goal is out of reach."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taustack.config import RobotConfig, SubgoalConfig, load_robot
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.tdm_bundle import tdm_of
from taustack.controllers.tdm_planner import PASSED, TDMSubgoals
from taustack.errors import BundleRefused, PlanFailed
from taustack.kinematics import KinematicChain
from taustack.layout import RobotState
from taustack.obstacles import Obstacle, capsule_distances, obstacle_rows

CONFIG = SubgoalConfig()
WALL = Obstacle(shape="box", position=(0.55, 0.0, 0.25), size=(0.30, 0.02, 0.25))
BESIDE = np.array([-0.55, 0.35, 0.0, -2.0, 0.0, 2.3, -0.785])  # right of the wall
OVER_IT = 5  # a seed whose chain stops once on the way; others turn around the wall without
ACROSS = np.array([0.52, 0.30, 0.20])
State = Callable[..., RobotState]


@pytest.fixture
def planner(robot: RobotConfig, bundle: Bundle) -> TDMSubgoals:
    return TDMSubgoals(robot, CONFIG, tdm_of(bundle, robot), 0.02)


@pytest.fixture
def resting(at_home: State, chain: KinematicChain) -> Callable[[np.ndarray], RobotState]:
    """The robot at rest with its joints anywhere."""
    return lambda q: at_home()._replace(q=q, q_ref=q, ee=chain.position(q))


def test_in_free_space_the_goal_is_the_first_stop_with_a_way_to_stand_there(planner: TDMSubgoals, at_home: State, chain: KinematicChain) -> None:
    goal = chain.position(planner.robot.home + 0.3)
    chosen = planner.choose(at_home(), goal)
    np.testing.assert_array_equal(chosen.point, goal)
    assert chosen.posture is not None
    assert np.linalg.norm(chain.position(chosen.posture) - goal) < 0.02
    assert chosen.left_m is not None
    assert chosen.left_m < 0.02
    assert chosen.free
    assert 0.15 < chosen.time_s < 1.0
    np.testing.assert_array_equal(chosen.goal, [*goal, *chosen.posture])


def test_the_arm_is_led_around_a_wall_that_its_straight_way_goes_through(
    robot: RobotConfig, bundle: Bundle, resting: Callable[[np.ndarray], RobotState], chain: KinematicChain
) -> None:
    rows = obstacle_rows([WALL])
    radius, ends = np.array(chain.capsules), chain.of_capsules

    def room(way: np.ndarray) -> float:
        return float(capsule_distances(ends.components(way.T), radius, rows).min())

    planner = TDMSubgoals(robot, CONFIG, tdm_of(bundle, robot), 0.02, [WALL], OVER_IT)
    share = np.linspace(0, 1, 40)[:, None]
    chosen = planner.choose(resting(BESIDE), ACROSS)
    assert chosen.free
    assert len(chosen.chain) == 3
    assert planner._chain is not None
    first, last = planner._chain.q
    assert room(BESIDE + share * (last - BESIDE)) < 0
    for a, b in ((BESIDE, first), (first, last)):
        assert room(a + share * (b - a)) > 0


def test_the_same_seed_gives_the_same_chain(robot: RobotConfig, bundle: Bundle, resting: Callable[[np.ndarray], RobotState]) -> None:
    found = [TDMSubgoals(robot, CONFIG, tdm_of(bundle, robot), 0.02, [WALL], seed=3).choose(resting(BESIDE), ACROSS).goal for _ in range(2)]
    np.testing.assert_array_equal(found[0], found[1])


def test_a_stop_that_was_reached_is_left_behind(robot: RobotConfig, bundle: Bundle, resting: Callable[[np.ndarray], RobotState]) -> None:
    planner = TDMSubgoals(robot, CONFIG, tdm_of(bundle, robot), 0.02, [WALL], OVER_IT)
    before = planner.choose(resting(BESIDE), ACROSS)
    assert before.posture is not None
    after = planner.choose(resting(before.posture), ACROSS)
    assert after.posture is not None
    assert np.abs(after.posture - before.posture).max() > PASSED
    assert after.time_s < before.time_s


def test_of_a_goal_out_of_reach_it_says_how_much_is_missing(planner: TDMSubgoals, at_home: State) -> None:
    chosen = planner.choose(at_home(), np.array([1.5, 0.0, 0.5]))
    assert chosen.left_m is not None
    assert 0.5 < chosen.left_m < 1.2


def test_what_is_not_finite_is_refused(planner: TDMSubgoals, at_home: State) -> None:
    with pytest.raises(PlanFailed, match="not finite"):
        planner.choose(at_home(), np.array([np.nan, 0.0, 0.5]))
    with pytest.raises(PlanFailed, match="not finite"):
        planner.choose(at_home()._replace(q=np.full(7, np.nan)), ACROSS)


def test_a_model_of_other_limits_is_refused_by_key(bundle_copy: Path, robot_copy: Callable[[Callable[[dict[str, Any]], Any]], Path]) -> None:
    slower = load_robot(robot_copy(lambda data: data["joints"][0].update(velocity=1.0)))
    with pytest.raises(BundleRefused, match=r"tdm\.onnx.*layout\.action_limit"):
        tdm_of(load_bundle(bundle_copy), slower)


def test_a_bundle_without_a_model_says_how_to_get_one(bundle: Bundle, robot: RobotConfig) -> None:
    without = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"tdm": None}))
    with pytest.raises(BundleRefused, match="taustack models join"):
        tdm_of(without, robot)
