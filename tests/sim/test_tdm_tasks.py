"""Tasks for temporal difference models: what they show is what the simulation does, and the command trains on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taustack.cli import main
from taustack.config import RobotConfig
from taustack.controllers.tdm import read_tdm
from taustack.errors import BadInput, UnknownName
from taustack.kinematics import KinematicChain
from taustack.legged import load_legged
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.task import GoalTask
from taustack.models.tdm.train import Schedule
from taustack.models.tdm.train import train as train_model
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.mjcf import compile_model
from taustack.sim.tdm_tasks.arm import ArmReach
from taustack.sim.tdm_tasks.catalogue import OF_ARMS, OF_LEGS, make_task
from taustack.sim.tdm_tasks.gymnasium_tasks import TASKS
from taustack.sim.tdm_tasks.legs import BasePosition
from taustack.sim.tdm_tasks.planar_reacher import PlanarReacher

ON_LEGS = [("go2", space) for space in OF_LEGS]
EVERY_TASK = [(name, None) for name in ("double_integrator", "planar_reacher", *TASKS)] + [("panda", space) for space in OF_ARMS] + ON_LEGS


@pytest.mark.parametrize(("name", "goal_space"), EVERY_TASK)
def test_episodes_are_those_of_the_layout_and_of_the_seed(name: str, goal_space: str | None) -> None:
    if name in TASKS:
        pytest.importorskip("gymnasium.envs.mujoco")
    task = make_task(name, 15, goal_space=goal_space)

    def walk() -> np.ndarray:
        rng = np.random.default_rng(3)
        s, g = task.reset(rng)
        assert s.shape == (task.layout.sizes[0],)
        assert g.shape == (task.layout.sizes[1],)
        limit = np.array(task.layout.action_limit)
        return np.array([s, *(task.step(rng.uniform(-limit, limit)) for _ in range(20))])

    first = walk()
    assert np.isfinite(first).all()
    assert np.abs(np.diff(first, axis=0)).max() > 1e-3
    np.testing.assert_array_equal(first, walk())


def test_goals_of_gymnasium_tasks_are_what_the_simulation_says() -> None:
    pytest.importorskip("gymnasium.envs.mujoco")
    for name, at in (("half_cheetah", lambda d: [d.qvel[0]]), ("ant", lambda d: d.qpos[:2]), ("pusher", lambda d: d.body("object").xpos[:2])):
        task = make_task(name, 10)
        task.reset(np.random.default_rng(1))
        for _ in range(15):
            s = task.step(np.array(task.layout.action_limit))
        found = at(task._env.unwrapped.data)  # type: ignore[attr-defined]
        np.testing.assert_allclose(s[list(task.layout.goal_index)], found, atol=1e-9)


def test_the_planar_reacher_stays_where_it_is_put_and_its_torques_bring_it_elsewhere() -> None:
    task, index = PlanarReacher(), slice(-2, None)
    for seed in range(5):
        start, _ = task.reset(np.random.default_rng(seed))
        for _ in range(task.steps):
            still = task.step(np.zeros(3))
        np.testing.assert_allclose(still[index], start[index], atol=1e-3)
        task.reset(np.random.default_rng(seed))
        for t in range(task.steps):
            moved = task.step(np.array([0.3, -0.2, 0.1]) * (1 if t < 10 else -1))
        assert np.linalg.norm(moved[index] - start[index]) > 0.05


def test_an_arm_shows_its_joints_and_its_end_effector(robot: RobotConfig, chain: KinematicChain) -> None:
    task = ArmReach(robot)
    s, _ = task.reset(np.random.default_rng(0))
    for _ in range(10):
        s = task.step(np.full(robot.n, 0.3))
    n = robot.n
    q = np.arctan2(s[:n], s[n : 2 * n])
    np.testing.assert_allclose(s[list(task.layout.goal_index)], chain.position(q), atol=1e-3)  # the site is as old as one step of the simulation
    np.testing.assert_allclose(s[2 * n : 3 * n], 0.3, atol=1e-3)


@pytest.mark.parametrize(("name", "goal_space"), ON_LEGS)
def test_a_robot_on_legs_shows_where_its_strides_take_it(name: str, goal_space: str) -> None:
    """Against the simulator's truth, which its state holds nothing of: two seconds forward, turning."""
    task = make_task(name, 9, goal_space=goal_space)
    s, _ = task.reset(np.random.default_rng(4))
    index, plant = list(task.layout.goal_index), task.legs._rig.plant  # type: ignore[attr-defined]
    strides, before = np.array([0.5, 0.0, 0.4]), plant.truth()
    for _ in range(10):
        s = task.step(strides)
    truth = plant.truth()
    if goal_space == "base_position":
        np.testing.assert_allclose(s[index], truth.position[:2], atol=0.08)
        assert np.linalg.norm(truth.position[:2] - before.position[:2]) > 0.4
    else:
        went = np.linalg.norm(truth.position[:2] - before.position[:2]) / (10 * task.layout.dt)
        assert s[index][0] == pytest.approx(went, abs=0.15)
        assert s[index][2] > 0.2


def test_a_robot_that_has_fallen_stays_where_it_is() -> None:
    task = BasePosition(load_legged("go2"))
    task.reset(np.random.default_rng(0))
    task.legs._rig.plant.kick(np.array([0.0, 6.0, 0.0]))
    states = [task.step(np.zeros(3)) for _ in range(12)]
    assert task.legs._rig.plant.fallen
    np.testing.assert_array_equal(states[-1][:2], states[-2][:2])


def test_a_goal_space_of_another_kind_of_robot_is_refused_with_the_choices() -> None:
    with pytest.raises(UnknownName, match="base_position, base_velocity"):
        make_task("go2", 15, goal_space="joint_positions")
    with pytest.raises(UnknownName, match="end_effector_position, joint_positions"):
        make_task("panda", 15, goal_space="base_velocity")


def test_a_step_that_the_tracker_cannot_make_is_refused_with_file_and_key(robot_copy: Callable[..., Path]) -> None:
    folder = robot_copy(lambda d: d["goal_spaces"].update(joint_positions={"dt": 0.0333}))
    with pytest.raises(BadInput, match=r"a whole number of ticks of 0\.002 s") as refusal:
        make_task(str(folder), 15, goal_space="joint_positions")
    assert (refusal.value.key, str(folder / "robot.yaml") in str(refusal.value)) == ("goal_spaces.joint_positions.dt", True)


def test_no_action_moves_an_arm_beyond_its_limits(robot: RobotConfig) -> None:
    """The safety filter stands between: full speed for the length of an episode, every way."""
    task, rng = ArmReach(robot), np.random.default_rng(1)
    limit = np.array(task.layout.action_limit)
    for _ in range(3):
        task.reset(rng)
        way = rng.choice([-1.0, 1.0], robot.n)
        for _ in range(task.steps):
            task.step(2 * limit * way)
            state = task._arm.plant.read()
            assert ((state.q >= robot.q_min) & (state.q <= robot.q_max)).all()
            assert (np.abs(state.dq) <= robot.limits("velocity")).all()


def test_no_episode_begins_where_the_safety_filter_lets_an_arm_move_only_back(robot: RobotConfig) -> None:
    """One in two hundred did, nearer to the wall of its cell than the margin: it was held where it stood, whatever the policy."""
    arm, rng = ArmReach(robot)._arm, np.random.default_rng(0)
    starts = np.array([arm.free_configuration(rng, 0.5) for _ in range(1000)])
    keep_out = keep_out_from_model(compile_model(robot), robot)
    assert keep_out.distances(starts).min() >= robot.safety.margin


def test_an_arm_learns_to_reach_from_its_kinematics_in_a_few_hundred_steps(robot: RobotConfig) -> None:
    """Of some 60 cm; without the chain in the layout the same budget leaves 56 of them."""
    config = TDMConfig(hidden=(128, 128), learner="ddpg", actor_rate=1e-3, updates_per_step=8)
    left = train_model(ArmReach(robot), config, Schedule(steps=900, evaluate_every=900, episodes=10))[2].distance[-1]
    assert left < 0.15


def test_a_task_that_is_not_there_is_named_with_the_choices() -> None:
    with pytest.raises(UnknownName, match="planar_reacher"):
        make_task("cart", 15)


def train(*arguments: str) -> int:
    return main(["train", "tdm", *arguments])


def test_the_command_trains_exports_draws_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    call = ("double_integrator", "--steps", "600", "--updates", "1", "--evaluate-every", "300", "--out", "out", "--json", "curve.json")
    assert train(*call) == 0
    assert json.loads(Path("curve.json").read_text())["steps"] == [300, 600]
    assert Path("out/curve.png").stat().st_size > 1000
    task: GoalTask = make_task("double_integrator", 15)
    assert read_tdm(Path("out/tdm.onnx")).contract.layout == task.layout
    first = Path("curve.json").read_text()
    assert train(*call) == 0  # the checkpoint is at its end: nothing is trained again
    assert Path("curve.json").read_text() == first
    assert "tdm.onnx" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--steps", "100"), "--steps: got 100, expected more than the 500 random steps"),
        (
            ("--steps", "1250", "--quantiles", "0.1", "0.9"),
            "--steps: got 1250, expected more than the 500 random steps of the warm-up, before the policy stays for the last 60 %",
        ),
        (("--tau-max", "50"), "--tau-max: got 50, expected less than the 50 steps of an episode"),
        (("--tau-max", "0"), "--tau-max: got 0, expected at least 1"),
        (("--quantiles", "0.9", "0.1"), "--quantiles: got [0.9, 0.1], expected at least two rising values"),
        (("--seed", "-1"), "--seed: got -1"),
        (("--held", "1"), "--held: got 1.0, expected at least 0, less than 1"),
        (("--actor-rate", "0"), "--actor-rate: got 0.0, expected more than 0"),
    ],
)
def test_wrong_arguments_are_refused(arguments: tuple[str, ...], part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("double_integrator", "--out", str(tmp_path), *arguments) == 2
    assert part in capsys.readouterr().err
