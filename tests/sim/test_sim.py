"""Robot, plant, episodes: checked against MuJoCo and against themselves."""

from __future__ import annotations

import itertools
from pathlib import Path

import mujoco
import numpy as np
import pytest

from taustack.config import RobotConfig, SuccessConfig, TaskConfig
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.costs.clearance import MARGIN_M
from taustack.controllers.mppi import MPPI
from taustack.controllers.reference import Reference
from taustack.errors import BadInput, TaustackError
from taustack.kinematics import KinematicChain
from taustack.layout import STATES
from taustack.obstacles import Obstacle
from taustack.pool import Workers
from taustack.sim.baselines import LeastSquaresVelocity
from taustack.sim.episode import Episode, run_episode
from taustack.sim.evaluate import EpisodeSpec, evaluate, failure
from taustack.sim.goals import draw_goal
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.log import EpisodeLog
from taustack.sim.mjcf import compile_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario, load_scenario, scenario_names


def test_the_model_has_the_published_figures(robot: RobotConfig) -> None:
    """Total mass and reach at home of the arm with hand, as mujoco_menagerie's panda.xml gives them; torque limits of the maker."""
    model = compile_model(robot)
    assert model.body_mass.sum() == pytest.approx(17.4519, abs=1e-3)
    data = mujoco.MjData(model)
    data.qpos[:] = robot.home
    mujoco.mj_forward(model, data)
    np.testing.assert_allclose(data.site("ee").xpos, [0.5545, 0.0, 0.5211], atol=1e-3)
    np.testing.assert_allclose(model.actuator_ctrlrange[:, 1], robot.limits("torque"))
    np.testing.assert_allclose(model.jnt_range, np.stack([robot.q_min, robot.q_max], 1), atol=1e-6)
    np.testing.assert_allclose(model.dof_armature, 0.1)
    assert data.ncon == 0


def test_kinematics_agree_with_mujoco_everywhere(robot: RobotConfig, chain: KinematicChain) -> None:
    model = compile_model(robot)
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    names = ["ee", *(sphere.site for sphere in robot.clearance.spheres)]
    for _ in range(100):
        data.qpos[:] = rng.uniform(robot.q_min, robot.q_max)
        mujoco.mj_kinematics(model, data)
        expected = np.array([data.site(name).xpos for name in names])
        np.testing.assert_allclose(chain.of_points.components(data.qpos), expected.T, atol=1e-9)
        np.testing.assert_allclose(chain.position(data.qpos), expected[0], atol=1e-9)


def test_the_planner_sees_the_floor_before_the_safety_filter_does(robot: RobotConfig, chain: KinematicChain) -> None:
    """Where the filter stops the arm at the floor and the planner's cost knows of nothing, they would block each other for ever."""
    filters = keep_out_from_model(compile_model(robot), robot)
    q = np.random.default_rng(0).uniform(robot.q_min, robot.q_max, (20_000, robot.n))
    gap = filters.centres(q)[:, :, 2] - filters.radius - filters.low[2] - robot.safety.margin
    left = np.where(filters.link >= 0, gap, np.inf).min(1)
    at = chain.of_points.components(q.T)  # (3, sites, B): the end effector, then the spheres of the clearance term
    seen = (at[2, 1:] - robot.clearance.floor - np.array([[sphere.radius] for sphere in robot.clearance.spheres])).min(0)
    edge = (left < 0) & (left > -0.03) & (at[2, 0] > 0.05)  # a tip lower than this is the goal's own matter
    assert edge.sum() > 100
    assert seen[edge].max() < MARGIN_M


def test_the_plan_graph_sees_the_same_kinematics_in_single_precision(robot: RobotConfig, chain: KinematicChain) -> None:
    import torch

    q = np.random.default_rng(1).uniform(robot.q_min, robot.q_max, (500, robot.n))
    single = chain.components(torch.tensor(q.T, dtype=torch.float32), torch).numpy()
    assert np.abs(single - chain.components(q.T)).max() <= 1e-5


def test_gravity_compensation_holds_the_arm_still(robot: RobotConfig) -> None:
    plant = MujocoPlant(robot)
    start = plant.read().q
    plant.advance(1.0)
    assert np.abs(plant.read().q - start).max() < 1e-3


def test_a_payload_the_compensation_does_not_know_makes_the_arm_sag(robot: RobotConfig) -> None:
    plant = MujocoPlant(robot, Scenario(payload_kg=0.5))
    start = plant.read().ee
    plant.advance(1.0)
    assert plant.read().ee[2] < start[2] - 5e-4


def test_torque_saturates_at_the_limits(robot: RobotConfig) -> None:
    plant = MujocoPlant(robot)
    plant.self_stop.reference = Reference.at_rest(robot.home + 0.5)  # a command that leaps as far would be refused
    plant.step()
    assert np.all(np.abs(plant.read().torque) <= robot.limits("torque"))
    assert plant.saturated_steps == 1


@pytest.mark.parametrize(("options", "least"), [({"reference_lag_s": 0.06}, 0.04), ({"actuator_delay_s": 0.05}, 0.03)])
def test_lag_and_delay_put_the_joints_behind_their_reference(robot: RobotConfig, options: dict[str, float], least: float) -> None:
    errors = []
    for scenario in (Scenario(), Scenario(**options)):
        plant, q, speed = MujocoPlant(robot, scenario), robot.home.copy(), np.full(robot.n, 0.3)
        for _ in range(250):
            q = q + 0.002 * speed
            plant.write(q, speed)
            plant.advance(0.002)
        errors.append(np.abs(q - plant.read().q).mean())
    assert errors[1] - errors[0] > least * 0.3


def test_noise_and_dropped_samples_come_from_the_seed(robot: RobotConfig) -> None:
    scenario = Scenario(position_noise=1e-3, velocity_noise=1e-2, dropped_samples=0.5)

    def samples(seed: int) -> list[np.ndarray]:
        plant = MujocoPlant(robot, scenario, np.random.default_rng(seed))
        out = []
        for _ in range(40):
            plant.step()
            out.append(plant.read().q)
        return out

    one, two, other = samples(0), samples(0), samples(1)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    repeated = sum(np.array_equal(a, b) for a, b in itertools.pairwise(one))
    assert 8 <= repeated <= 32


def test_friction_and_obstacles_reach_the_model(robot: RobotConfig) -> None:
    scenario = Scenario(joint_friction=0.02, damping_scale=2.0, obstacles=(Obstacle(shape="box", position=(0.55, 0.0, 0.5), size=(0.1, 0.1, 0.1)),))
    plant = MujocoPlant(robot, scenario)
    np.testing.assert_allclose(plant.model.dof_frictionloss, 0.02 * robot.limits("torque"))
    np.testing.assert_allclose(plant.model.dof_damping, 2.0)
    assert plant.in_collision(robot.home)
    assert not MujocoPlant(robot).in_collision(robot.home)


def test_every_shipped_scenario_loads(robot: RobotConfig) -> None:
    assert {"nominal", "anywhere", "lag", "payload"} <= set(scenario_names())
    for name in scenario_names():
        MujocoPlant(robot, load_scenario(name, robot.n))


def reach(robot: RobotConfig, task: TaskConfig, bundle: Bundle, seed: int, goal: tuple[float, float, float] = (0.45, 0.3, 0.45)) -> Episode:
    plant = MujocoPlant(robot)
    return run_episode(plant, MPPI(bundle, robot, task, np.random.default_rng(seed)), np.array(goal), task.success)


def test_an_episode_reaches_its_goal_within_all_limits(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    done = reach(robot, task, bundle, 0)
    assert done.success
    assert done.final_error_m < 0.01
    assert done.time_to_goal_s < 1.5
    assert sum(done.violations.values()) == 0
    assert done.failed_plans == 0


def test_an_episode_is_repeatable_bit_for_bit(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    one, two, other = (reach(robot, task, bundle, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.commands, two.commands)
    assert one.commands.shape != other.commands.shape or not np.array_equal(one.commands, other.commands)


@pytest.mark.parametrize("name", ["bundle", "bundle_lag"])
def test_a_robot_that_follows_late_is_not_taken_for_one_that_is_overloaded(robot: RobotConfig, task: TaskConfig, name: str) -> None:
    """Far behind its reference all the time, with either model: it must still go where it is sent."""
    lagging = load_bundle(robot.folder / name, robot)
    for goal in ([0.5, 0.3, 0.4], [0.35, -0.5, 0.6], [0.65, 0.1, 0.25]):
        planner = MPPI(lagging, robot, task, np.random.default_rng(0))
        episode = run_episode(MujocoPlant(robot, load_scenario("lag", robot.n)), planner, np.array(goal), task.success)
        assert episode.success, failure(0, episode)
        assert episode.final_error_m < 0.01


def test_a_robot_whose_drives_act_late_is_not_held_for_it(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    """It stands still, bit for bit, for the first 80 ms of its motion."""
    log = EpisodeLog()
    done = run_episode(
        MujocoPlant(robot, Scenario(actuator_delay_s=0.08)), MPPI(bundle, robot, task, np.random.default_rng(0)), np.array([0.5, 0.3, 0.4]), task.success, log
    )
    assert done.success
    states = [STATES[row[3]] for row in log.rows]
    assert "holding" not in states[states.index("running") :]


def test_an_episode_without_plans_fails_and_says_so(robot: RobotConfig, bundle: Bundle, task: TaskConfig) -> None:
    planner = MPPI(bundle, robot, task, np.random.default_rng(0))
    planner.weights[:] = np.nan
    done = run_episode(MujocoPlant(robot), planner, np.array([0.4, 0.2, 0.5]), SuccessConfig(timeout_s=0.2, hold_s=0.1))
    assert not done.success
    assert done.failed_plans > 0
    assert np.all(done.commands == 0.0)
    assert failure(0, done)["cause"].startswith("stopped on the way")


def test_the_least_squares_baseline_reaches_a_near_goal(robot: RobotConfig, task: TaskConfig) -> None:
    done = run_episode(MujocoPlant(robot), LeastSquaresVelocity(robot), np.array([0.5, 0.1, 0.45]), task.success)
    assert done.success


def specs(robot: RobotConfig, planner: str, count: int, seed: int = 11) -> list[EpisodeSpec]:
    bundle = robot.folder / "bundle"
    return [EpisodeSpec(robot=robot.folder, task="reach", scenario="nominal", planner=planner, bundle=bundle, seed=seed, index=i) for i in range(count)]


def test_metrics_do_not_depend_on_the_number_of_processes(robot: RobotConfig) -> None:
    alone, pooled = (evaluate(specs(robot, "direct", 3), Workers(count=count)) for count in (1, 2))
    assert alone["commands_sha256"] == pooled["commands_sha256"]
    assert alone["success_rate"] == 1.0
    assert alone["limit_violations"] == 0
    assert evaluate(specs(robot, "direct", 3, seed=12), Workers(count=1))["commands_sha256"] != alone["commands_sha256"]


def test_ray_gives_the_same_metrics_as_the_pool(robot: RobotConfig) -> None:
    some = specs(robot, "least_squares", 3)
    here, there = evaluate(some, Workers(count=2)), evaluate(some, Workers(count=2, ray="local"))
    for own in ("realtime_factor", "median_plan_ms"):  # of the moment
        here.pop(own)
        there.pop(own)
    assert there == here


def test_a_cluster_that_is_not_there_is_named(robot: RobotConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "1")
    with pytest.raises(TaustackError, match="no Ray cluster at nonsense://nowhere"):
        evaluate(specs(robot, "least_squares", 1), Workers(ray="nonsense://nowhere"))


def test_an_obstacle_of_an_unknown_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("obstacles:\n  - {shape: cone, position: [0, 0, 1], size: [0.1]}\n")
    with pytest.raises(BadInput, match=r"obstacles.0.shape: got cone, expected Input should be 'box' or 'sphere'"):
        load_scenario(str(path), 7)


def test_goal_after_goal_is_reached_without_drifting_into_the_joint_limits(robot: RobotConfig, task: TaskConfig, bundle: Bundle, chain: KinematicChain) -> None:
    """From wherever the last goal left the arm: with a narrow margin in the joint limit cost one goal in twenty was not reached."""
    plant, rng = MujocoPlant(robot), np.random.default_rng([1, 0])
    planner = MPPI(bundle, robot, task, np.random.default_rng([2, 0]))
    done = [run_episode(plant, planner, draw_goal(plant, chain, rng), task.success) for _ in range(12)]
    assert sum(episode.success for episode in done) >= 11
    assert sum(sum(episode.violations.values()) for episode in done) == 0
