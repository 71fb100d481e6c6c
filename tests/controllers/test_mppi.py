"""The planner: deterministic, within its bounds, honest about what it could not do."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.noise import NoiseBank, spline_basis
from taustack.errors import PlanFailed, UnknownName
from taustack.kinematics import KinematicChain
from taustack.layout import Measured, RobotState
from taustack.sim.goals import draw_goal
from taustack.sim.plant import MujocoPlant

GOAL = np.array([0.5, 0.25, 0.4])
AtHome = Callable[[float], RobotState]


def planner_of(bundle: Bundle, robot: RobotConfig, task: TaskConfig, seed: int = 0, executor: ThreadPoolExecutor | None = None) -> MPPI:
    return MPPI(bundle, robot, task, np.random.default_rng(seed), executor)


def test_the_same_seed_gives_the_same_plans_with_and_without_threads(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    with ThreadPoolExecutor(2) as pool:
        planners = [planner_of(bundle, robot, task), planner_of(bundle, robot, task, executor=pool), planner_of(bundle, robot, task, seed=1)]
        for step in range(5):
            one, two, other = (p.plan(Measured(state=at_home(0.02 * step)), GOAL) for p in planners)
            np.testing.assert_array_equal(one.actions, two.actions)
            assert not np.array_equal(one.actions, other.actions)


def test_actions_keep_to_velocity_and_rate_bounds(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    planner = planner_of(bundle, robot, task)
    for step in range(10):
        plan = planner.plan(Measured(state=at_home(0.02 * step)), GOAL)
        before = np.concatenate([plan.states[:1, 3 * robot.n :], plan.actions[:-1]])
        assert np.all(np.abs(plan.actions) <= robot.limit_fraction * robot.limits("velocity") * (1 + 1e-5))
        assert np.all(np.abs(plan.actions - before) <= robot.limit_fraction * robot.limits("acceleration") * robot.rates.control_dt * (1 + 1e-4) + 1e-6)


def test_the_predicted_path_ends_nearer_to_the_goal(bundle: Bundle, robot: RobotConfig, task: TaskConfig, chain: KinematicChain, at_home: AtHome) -> None:
    planner = planner_of(bundle, robot, task)
    for step in range(5):
        plan = planner.plan(Measured(state=at_home(0.02 * step)), GOAL)
    reached = chain.position(plan.states[:, : robot.n])
    assert np.linalg.norm(reached[-1] - GOAL) < 0.3 * np.linalg.norm(reached[0] - GOAL)
    assert set(plan.cost) == set(planner.terms)
    assert 1.0 <= plan.effective_samples <= 160
    assert plan.nonfinite_samples == 0
    assert plan.disagreement.shape == (5,)
    assert plan.bundle_sha256 == bundle.sha256


def test_latency_compensation_predicts_where_the_arm_will_be(bundle: Bundle, robot: RobotConfig, task: TaskConfig) -> None:
    """Follow the planner in the plant: the state it plans from must be the state the plant has when the plan takes effect."""
    from taustack.controllers.driver import DriverCore

    plant, planner = MujocoPlant(robot), planner_of(bundle, robot, task)
    core = DriverCore(robot, plant)
    core.tick(0.0)
    lead = task.mppi.latency_steps
    predicted, measured = [], []
    for step in range(30):
        state = plant.read()
        measured.append(state.q)
        plan = planner.plan(Measured(state=state, seq=step), GOAL)
        predicted.append(plan.states[0, : robot.n])
        core.offer(plan)
        for tick in range(10):
            core.tick(state.t + tick * 0.002)
            plant.advance(0.002)
    settled = slice(lead, -lead)  # the first plans have not taken effect yet, the last never do
    error = np.abs(np.array(predicted)[settled] - np.array(measured)[2 * lead :]).mean()
    without = np.abs(np.array(measured)[settled] - np.array(measured)[2 * lead :]).mean()
    assert error < 0.1 * without


@pytest.mark.parametrize("where", ["goal", "state"])
def test_what_is_not_finite_gives_no_plan(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome, where: str) -> None:
    planner, state, goal = planner_of(bundle, robot, task), at_home(0.0), GOAL.copy()
    if where == "goal":
        goal[1] = np.nan
    else:
        state = state._replace(dq=np.full(robot.n, np.inf))
    with pytest.raises(PlanFailed, match="not finite"):
        planner.plan(Measured(state=state), goal)


def test_samples_that_are_not_finite_weigh_nothing_and_are_counted(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    planner = planner_of(bundle, robot, task)
    draw = planner._bank.draw

    def poisoned(seq: int, shard: int) -> np.ndarray:
        noise = draw(seq, shard).copy()
        noise[:, 10:20] = np.nan
        return noise

    planner._bank.draw = poisoned  # type: ignore[method-assign]
    plan = planner.plan(Measured(state=at_home(0.0)), GOAL)
    assert plan.nonfinite_samples == 20
    assert np.all(np.isfinite(plan.actions))
    assert np.all(np.isfinite(plan.states))


def test_no_finite_sample_at_all_is_a_failed_plan(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    planner = planner_of(bundle, robot, task)
    planner.weights = np.full_like(planner.weights, np.nan)
    with pytest.raises(PlanFailed, match="none of 160 samples"):
        planner.plan(Measured(state=at_home(0.0)), GOAL)


def test_the_warm_start_shifts_by_the_time_that_passed(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    planner = planner_of(bundle, robot, task)
    plan = planner.plan(Measured(state=at_home(0.0)), GOAL)
    x = at_home(0.0).x()
    np.testing.assert_allclose(planner._shifted(plan.effective_t + 0.02, x)[:-1], plan.actions[1:], atol=1e-6)
    half = planner._shifted(plan.effective_t + 0.01, x)
    np.testing.assert_allclose(half[:-1], 0.5 * (plan.actions[:-1] + plan.actions[1:]), atol=1e-6)


def test_weights_change_live_and_unknown_terms_are_refused(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    still, planner = planner_of(bundle, robot, task), planner_of(bundle, robot, task)
    still.set_weights({"velocity": 100.0})
    slow, fast = (p.plan(Measured(state=at_home(0.0)), GOAL) for p in (still, planner))
    assert np.abs(slow.actions).mean() < 0.5 * np.abs(fast.actions).mean()
    with pytest.raises(UnknownName, match="goal_position"):
        planner.set_weights({"goal_positoin": 1.0})
    with pytest.raises(UnknownName, match=r"panda/tasks/reach\.yaml: cost: got 'obstacels', expected one of clearance"):
        planner_of(bundle, robot, task.model_copy(update={"cost": {"obstacels": 1.0}}))


def test_a_planner_that_takes_over_counts_on_from_its_first_number(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    planner = MPPI(bundle, robot, task, np.random.default_rng(0), first_seq=500)
    assert [planner.plan(Measured(state=at_home(0.02 * i)), GOAL).seq for i in range(2)] == [500, 501]


def test_noise_is_smooth_of_unit_variance_and_keeps_the_old_plan_in() -> None:
    bank = NoiseBank(horizon=25, knots=4, std=np.ones(2), floor=1.0, samples=100, members=5, seed=0)
    draws = np.concatenate([bank.draw(seq) for seq in range(200)], 1)
    zero = np.all(draws == 0, axis=(0, 2))
    assert zero.mean() == pytest.approx(0.05)
    assert draws[:, ~zero].std() == pytest.approx(1.0, abs=0.05)
    steps = np.abs(np.diff(draws, axis=0)).max()
    assert steps < 1.5
    np.testing.assert_allclose(np.linalg.norm(spline_basis(25, 4), axis=1), 1.0)


def test_goals_are_drawn_where_the_scenario_says(robot: RobotConfig, chain: KinematicChain) -> None:
    plant = MujocoPlant(robot)
    goals = np.array([draw_goal(plant, chain, np.random.default_rng(i)) for i in range(20)])
    assert np.all(goals[:, 0] >= 0.2)
    assert np.all(goals[:, 2] >= 0.1)


def test_a_posture_is_taken_where_it_is_asked_for_and_weighs_nothing_elsewhere(
    bundle: Bundle, robot: RobotConfig, task: TaskConfig, chain: KinematicChain, at_home: AtHome
) -> None:
    """The elbow turned out to one side and to the other; the point itself weighs nothing here."""
    goal = chain.position(robot.home)
    turned = []
    for side in (0.3, -0.3):
        posture = robot.home.copy()
        posture[[0, 2]] += [side, -side]
        planner = planner_of(bundle, robot, task)
        planner.set_weights(task.cost | {"goal_position": 0.0, "terminal": 0.0})
        for _ in range(10):  # from the same state: the plan gets better
            plan = planner.plan(Measured(state=at_home(0.0)), np.concatenate([goal, posture]))
        assert plan.basis is not None
        assert plan.basis.goal.size == 3 + robot.n
        turned.append(plan.states[-1, 0] - robot.home[0])
    assert turned[0] > 0.05
    assert turned[1] < -0.05
    unasked = [planner_of(bundle, robot, task) for _ in range(2)]
    unasked[1].set_weights(task.cost | {"posture": 50.0})
    plans = [planner.plan(Measured(state=at_home(0.0)), GOAL) for planner in unasked]
    np.testing.assert_array_equal(plans[0].actions, plans[1].actions)


def test_a_goal_of_another_size_is_refused(bundle: Bundle, robot: RobotConfig, task: TaskConfig, at_home: AtHome) -> None:
    with pytest.raises(PlanFailed, match="3 coordinates, or these and 7 joint positions"):
        planner_of(bundle, robot, task).plan(Measured(state=at_home(0.0)), np.zeros(4))
