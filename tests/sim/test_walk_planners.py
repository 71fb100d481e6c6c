"""Planners of a walk in closed loop: over the shipped bundle, and over MuJoCo itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from taustack.cli import main
from taustack.controllers.gait_state import GaitCommand
from taustack.errors import BadInput, TaustackError, UnknownName
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks, walk, walk_metrics
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.walk_mujoco import MujocoWalkMPPI
from taustack.sim.walk_planners import make_walk_planner
from taustack.walk_task import load_walk_task


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


def specs(go2: LeggedConfig, task: str, planner: str, count: int, scenario: str = "nominal") -> list[WalkSpec]:
    spec = WalkSpec(robot=go2.folder, task=task, scenario=scenario, planner=planner, seed=3, index=0, bundle=go2.folder / "bundle")
    return [dataclasses.replace(spec, index=i) for i in range(count)]


def test_over_the_learned_model_it_comes_to_its_goals_and_the_same_seed_gives_the_same_walk(go2: LeggedConfig) -> None:
    done = [walk(spec) for spec in specs(go2, "goal", "mppi", 3)]
    metrics = walk_metrics(specs(go2, "goal", "mppi", 1)[0], done)
    assert metrics["success_rate"] > 0.6  # a margin of one fall: other CPUs round differently, and a walk is chaotic
    assert metrics["limit_violations"] == 0
    assert metrics["mean_speed_m_s"] > 0.6
    again = walk(specs(go2, "goal", "mppi", 1)[0])
    np.testing.assert_array_equal(done[0].rows[-1].position, again.rows[-1].position)


def test_over_the_learned_model_it_bears_kicks_that_make_the_open_loop_fall(go2: LeggedConfig) -> None:
    """1.25 m/s every three seconds; the open loop's share is in test_legged.py."""
    assert evaluate_walks(specs(go2, "push", "mppi", 2))["kicks_survived"] > 0.75


def test_rollouts_of_mujoco_are_the_plants_own(go2: LeggedConfig) -> None:
    """From the true state, half a second of the same actions ends where the plant does."""
    quiet = LeggedScenario(position_noise=0, velocity_noise=0, gyro_noise=0, acceleration_noise=0)
    plant = LeggedPlant(go2, quiet)
    rig = LeggedRig(plant)
    action = GaitCommand(velocity=np.array([0.5, 0.1, -0.3]), landing=np.array([0.02, -0.01]))
    for _ in range(800):
        state = rig.tick(action)
    truth = plant.truth()
    base = dataclasses.replace(state.base, position=truth.position, velocity=truth.velocity, quaternion=truth.quaternion, turn_rate=plant.data.qvel[3:6].copy())
    state = dataclasses.replace(state, base=base)
    planner = MujocoWalkMPPI(go2, load_walk_task(go2, "velocity"), np.random.default_rng(0), threads=1)
    u = np.tile(np.concatenate([action.velocity, action.landing]), (25, 2, 1))
    ahead = planner.rolled(state, u, np.zeros(3))
    for step in range(25):
        for _ in range(10):
            after = rig.tick(action)
        x = after.x()
        np.testing.assert_allclose(ahead.up[step, 0], ahead.up[step, 1])
        assert np.linalg.norm(ahead.up[step, 0] - _up(plant)) < 0.05
        assert np.abs(ahead.velocity[step, 0, :2] - _velocity(plant)).max() < 0.15, (step, x)


def _up(plant: LeggedPlant) -> np.ndarray:
    return plant.data.xmat[1].reshape(3, 3)[2].copy()


def _velocity(plant: LeggedPlant) -> np.ndarray:
    from taustack.controllers.attitude import yaw_of

    yaw, (vx, vy) = yaw_of(plant.truth().quaternion), plant.truth().velocity[:2]
    return np.array([np.cos(yaw) * vx + np.sin(yaw) * vy, np.cos(yaw) * vy - np.sin(yaw) * vx])


def test_over_mujoco_it_walks(go2: LeggedConfig) -> None:
    task = load_walk_task(go2, "velocity").model_copy(update={"timeout_s": 2.0})
    from taustack.sim.legged_episode import Course, run_walk

    law = MujocoWalkMPPI(go2, task, np.random.default_rng(0), threads=1)
    done = run_walk(LeggedPlant(go2), law, task, Course(yaw=0.0, velocities=np.array([[0.5, 0.0, 0.0]])))
    assert not done.fallen
    assert done.rows[-1].position[0] > 0.5


def test_an_unknown_planner_names_the_choices(go2: LeggedConfig) -> None:
    with pytest.raises(UnknownName, match="mppi_mujoco"):
        make_walk_planner("cem", go2, load_walk_task(go2, "goal"), Path("bundle"), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "bundle", "go2", "--epochs", "3"], "--epochs: got 3, expected none for go2, which has legs"),
        (["train", "bundle", "panda", "--updates", "3"], "--updates: got 3, expected none for panda, which is an arm"),
        (["train", "bundle", "go2", "--updates", "0"], "--updates: got 0, expected at least 1"),
        (["train", "bundle", "go2", "--minutes", "0"], "--minutes: got 0"),
        (["train", "bundle", "go2", "--start", "nowhere"], "nowhere"),
        (["sim", "go2", "goal", "--bundle", "nowhere"], "nowhere"),
        (["sim", "go2", "goal", "--video", "nowhere/walk.mp4"], "a file in a folder that is there"),
        (["sim", "panda", "reach", "--video", "arm.mp4"], "--video: got arm.mp4, expected none for an arm"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_other_kind_of_robot_is_refused(arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = [] if arguments[0] == "sim" else ["--out", str(tmp_path / "b")]
    assert main([*arguments, *out]) == 2
    assert said in capsys.readouterr().err


def test_a_dataset_of_another_robot_is_refused(go2: LeggedConfig, tmp_path: Path) -> None:
    from taustack.models.walk_dataset import WalkRun, write_walks
    from taustack.retraining.walk_pipeline import split_sources

    run = WalkRun(x=np.zeros((51, 40)), u=np.zeros((50, 5)), kicked=np.zeros(50))
    write_walks(tmp_path / "d", [run, run], robot="x", joint_names=tuple("abcdefghijkl"), dt=0.02, scenario="nominal", seed=0)
    with pytest.raises(BadInput, match="joint_names"):
        split_sources([tmp_path / "d"], go2, 0.1)


def test_a_film_shows_the_robot_where_it_was(go2: LeggedConfig) -> None:
    from taustack.cli.walk_video import HEIGHT, WIDTH, frames
    from taustack.sim.legged_episode import Course, run_walk

    task = load_walk_task(go2, "goal").model_copy(update={"timeout_s": 1.0})
    done = run_walk(
        LeggedPlant(go2), make_walk_planner("open_loop", go2, task, Path(), np.random.default_rng(0)), task, Course(yaw=0.0, goal=np.array([3.0, 0.0]))
    )
    np.testing.assert_allclose([row.qpos[:3] for row in done.rows], [row.position for row in done.rows], atol=5e-3)  # a step apart
    try:
        pictures = list(frames(go2, LeggedScenario(), done))
    except TaustackError as error:
        pytest.skip(str(error))
    assert len(pictures) == 25
    assert pictures[0].shape == (HEIGHT, WIDTH, 3)
    assert np.abs(pictures[-1].astype(int) - pictures[0].astype(int)).max() > 50
