"""MPPI of a walk over the shipped bundle: plans, their timing, what is refused."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_bundle import WalkBundle, load_walk_bundle
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.controllers.walk_state import WalkState
from taustack.errors import PlanFailed, UnknownName
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.walk_task import WalkTaskConfig, load_walk_task

AHEAD = np.array([0.5, 0.0, 0.0])


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


@pytest.fixture(scope="module")
def task(go2: LeggedConfig) -> WalkTaskConfig:
    return load_walk_task(go2, "velocity")


@pytest.fixture(scope="module")
def bundle(go2: LeggedConfig) -> WalkBundle:
    return load_walk_bundle(go2.folder / "bundle", go2)


@pytest.fixture(scope="module")
def walking(go2: LeggedConfig) -> WalkState:
    """In the middle of a walk at half a metre a second."""
    rig = LeggedRig(LeggedPlant(go2))
    for _ in range(700):
        state = rig.tick(GaitCommand(velocity=AHEAD))
    return state


def planner(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, seed: int = 0, executor: ThreadPoolExecutor | None = None) -> WalkMPPI:
    return WalkMPPI(bundle, go2, task, np.random.default_rng(seed), executor)


def test_the_same_seed_gives_the_same_plan_whatever_runs_the_shards(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    one, other = planner(go2, task, bundle).plan(walking, AHEAD), planner(go2, task, bundle, seed=1).plan(walking, AHEAD)
    with ThreadPoolExecutor(1) as pool:
        two = planner(go2, task, bundle, executor=pool).plan(walking, AHEAD)
    np.testing.assert_array_equal(one.actions, two.actions)
    assert not np.array_equal(one.actions, other.actions)
    assert one.actions.shape == (25, 5)
    assert one.nonfinite_samples == 0
    assert set(one.cost) == set(bundle.manifest.plan.cost_terms)


def test_a_plan_begins_where_the_robot_will_be(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    plan = planner(go2, task, bundle).plan(walking, AHEAD)
    assert plan.effective_t == pytest.approx(walking.t + task.mppi.latency_steps * 0.02)
    turn = 2 * np.pi * go2.gait.frequency * 0.02 * task.mppi.latency_steps
    sin, cos = walking.x()[-2:]
    np.testing.assert_allclose(plan.states[0, -2:], [sin * np.cos(turn) + cos * np.sin(turn), cos * np.cos(turn) - sin * np.sin(turn)], atol=1e-5)


def test_the_actions_keep_to_what_strides_can_be(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    plan = planner(go2, task, bundle).plan(walking, np.array([9.0, -9.0, 9.0]))
    most = np.array([*go2.gait.velocity, go2.gait.landing, go2.gait.landing])
    rate = 0.02 * np.array([*go2.gait.acceleration, go2.gait.landing_rate, go2.gait.landing_rate])
    actions = np.vstack([np.concatenate([walking.gait.velocity, walking.gait.landing]), plan.actions])
    assert (np.abs(actions) <= most + 1e-5).all()
    assert (np.abs(np.diff(actions, axis=0)) <= rate + 1e-5).all()


def test_what_was_missed_is_asked_for_beside_what_is_wanted(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    """The robot of this test always moves at half a metre a second, whatever is asked."""
    mppi, wanted = planner(go2, task, bundle), np.array([0.7, 0.0, 0.0])
    slow = walking.base.local_velocity
    asked = [mppi.plan(dataclasses.replace(walking, t=walking.t + 0.02 * i), wanted).basis for i in range(60)]
    goals = np.array([basis.goal for basis in asked if basis is not None])
    assert goals[0, 0] == pytest.approx(slow[0] + 3.0 * 0.02, abs=0.01)  # it begins with how it moves, and changes no faster than may be
    assert (np.diff(goals[:, 0]) < 3.0 * 0.02 + 0.01).all()
    assert goals[-1, 0] > 0.7 + 0.03
    assert goals[-1, 0] <= 0.7 + 0.3 + 1e-9  # what is counted on has a bound
    mppi.reset()
    again = mppi.plan(walking, wanted).basis
    assert again is not None
    assert again.goal[0] == pytest.approx(goals[0, 0], abs=0.01)


def test_less_is_asked_of_a_walk_that_shakes(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    """By 0.15 rad to either side, in turn."""
    calm, shaken = planner(go2, task, bundle), planner(go2, task, bundle)
    for step in range(40):
        half = 0.075 * (-1) ** (step // 4)
        tilted = dataclasses.replace(walking.base, quaternion=np.array([np.cos(half), np.sin(half), 0.0, 0.0]))
        plans = calm.plan(walking, AHEAD), shaken.plan(dataclasses.replace(walking, base=tilted), AHEAD)
    asked = [plan.basis.goal[0] for plan in plans if plan.basis is not None]
    assert asked[0] > 0.3
    assert asked[1] < 0.6 * asked[0]


def test_the_newest_plan_in_effect_is_followed(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    mppi = planner(go2, task, bundle)
    np.testing.assert_array_equal(mppi.action_at(walking.t, walking), [*walking.gait.velocity, *walking.gait.landing])
    first = mppi.plan(walking, AHEAD)
    later = dataclasses.replace(walking, t=walking.t + 0.02)
    second = mppi.plan(later, AHEAD)
    np.testing.assert_array_equal(mppi.action_at(first.effective_t, walking), first.actions[0])
    np.testing.assert_array_equal(mppi.action_at(second.effective_t, walking), second.actions[0])
    np.testing.assert_array_equal(mppi.action_at(second.effective_t + 9.0, walking), second.actions[-1])
    mppi.forget()
    np.testing.assert_array_equal(mppi.action_at(second.effective_t, walking), [*walking.gait.velocity, *walking.gait.landing])


def test_a_robot_that_shall_stand_and_does_is_let_stand(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle) -> None:
    rig, mppi = LeggedRig(LeggedPlant(go2)), planner(go2, task, bundle)
    for _ in range(200):
        state = rig.tick(GaitCommand(velocity=np.zeros(3)))
    command = mppi.command(np.zeros(3), state)
    assert not command.velocity.any()
    assert not command.landing.any()
    assert not state.gait.walks


def test_what_cannot_be_planned_is_said(go2: LeggedConfig, task: WalkTaskConfig, bundle: WalkBundle, walking: WalkState) -> None:
    mppi = planner(go2, task, bundle)
    with pytest.raises(PlanFailed, match="not finite"):
        mppi.plan(dataclasses.replace(walking, dq=np.full(12, np.nan)), AHEAD)
    with pytest.raises(PlanFailed, match="not finite"):
        mppi.plan(walking, np.array([np.inf, 0.0, 0.0]))
    with pytest.raises(UnknownName, match=r"go2/tasks/\w+\.yaml: cost: got .* expected one of .*velocity"):
        planner(go2, task.model_copy(update={"cost": {"speed": 1.0}}), bundle)
