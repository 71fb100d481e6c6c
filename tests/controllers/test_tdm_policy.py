"""The policy of the shipped bundle's temporal difference model as a planner: within the limits, and the arm gets there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.tdm_bundle import tdm_of
from taustack.controllers.tdm_policy import TDMPolicy
from taustack.errors import PlanFailed
from taustack.kinematics import KinematicChain
from taustack.layout import Measured, RobotState
from taustack.sim.evaluate import EpisodeSpec, episode

AtHome = Callable[[float], RobotState]


@pytest.fixture
def policy(bundle: Bundle, robot: RobotConfig, task: TaskConfig) -> TDMPolicy:
    return TDMPolicy(MPPI(bundle, robot, task, np.random.default_rng(0)), tdm_of(bundle, robot), robot)


def test_plans_keep_to_the_limits_go_on_from_each_other_and_end_near_the_goal(
    policy: TDMPolicy, robot: RobotConfig, chain: KinematicChain, at_home: AtHome
) -> None:
    q = robot.home + np.array([0.4, -0.2, 0.3, 0.2, -0.3, 0.2, 0.4])
    goal = np.array([*chain.position(q), *q])
    limit, rate = (robot.limit_fraction * robot.limits(what) for what in ("velocity", "acceleration"))
    plans = [policy.plan(Measured(state=at_home(0.02 * step)), goal) for step in range(3)]
    for before, plan in zip([None, *plans], plans, strict=False):
        knots = plan.states[:, 3 * robot.n :]
        np.testing.assert_array_equal(knots[1:], plan.actions)
        assert (np.abs(plan.actions) <= limit * (1 + 1e-6)).all()
        assert (np.abs(np.diff(knots, axis=0)) <= rate * robot.rates.control_dt * (1 + 1e-6)).all()
        if before is not None:  # it begins where the one before will have brought the reference
            assert np.abs(knots[0] - before.velocity(plan.effective_t, before.states[0, 3 * robot.n :])[0]).max() < 1e-6 + (rate * robot.rates.control_dt).max()
            assert plan.seq > before.seq
    assert np.abs(plans[0].states[-1, : robot.n] - q).max() < 0.5 * np.abs(robot.home - q).max()


@pytest.mark.parametrize(
    ("goal", "part"),
    [(np.array([0.5, 0.0, 0.4]), "subgoals by `tdm`"), (np.full(10, np.nan), "all finite")],
)
def test_a_goal_without_a_configuration_is_no_goal_for_it(policy: TDMPolicy, at_home: AtHome, goal: np.ndarray, part: str) -> None:
    with pytest.raises(PlanFailed, match=part):
        policy.plan(Measured(state=at_home(0.0)), goal)


def test_the_arm_reaches_and_stays_within_its_limits(robot: RobotConfig) -> None:
    """It is the plain policy that moves the arm, with no sampling between: it is exact enough for the task's 20 mm."""
    for index in range(2):
        spec = EpisodeSpec(
            robot=robot.folder, task="reach", scenario="nominal", planner="tdm_policy", bundle=robot.folder / "bundle", seed=11, index=index
        )  # fmt: skip
        done = episode(spec)
        assert done.success
        assert not any(done.violations.values())
        assert not done.failed_plans
