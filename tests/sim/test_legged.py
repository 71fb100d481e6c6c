"""A robot on legs in simulation: the figures of its model, its estimator against the truth, episodes, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mujoco
import numpy as np
import pytest
import yaml

from taustack.cli import main
from taustack.config import load_robot
from taustack.controllers.attitude import from_yaw, rotation, yaw_of
from taustack.controllers.attitude_filter import AttitudeFilter
from taustack.controllers.base_state import BaseEstimate
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_laws import OpenLoop
from taustack.errors import BadInput, UnknownName
from taustack.legged import LeggedConfig, load_legged
from taustack.robot_folders import default_robot, has_legs
from taustack.sim.legged_episode import Course, kept_velocity, run_walk
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks, walk
from taustack.sim.legged_plant import BaseTruth, LeggedPlant, compile_legged
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.legged_scenario import LeggedScenario, load_legged_scenario
from taustack.walk_task import load_walk_task

DT = 0.002


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


def test_the_model_has_the_published_figures(go2: LeggedConfig) -> None:
    """mujoco_menagerie unitree_go2: total mass, torque limits, friction of the joints; Unitree: velocity limits."""
    model = compile_legged(go2)
    assert float(model.body_mass.sum()) == pytest.approx(15.206408)
    np.testing.assert_allclose(model.actuator_ctrlrange[:, 1], np.tile([23.7, 23.7, 45.43], 4))
    np.testing.assert_allclose(go2.of_joints("torque"), model.actuator_ctrlrange[:, 1])
    np.testing.assert_allclose(go2.of_joints("velocity"), np.tile([30.1, 30.1, 15.7], 4))
    np.testing.assert_allclose(model.dof_damping[6:], 2.0)
    np.testing.assert_allclose(model.dof_damping[6:], go2.of_joints("viscous_friction"))


def test_the_model_moves_as_the_real_one_does(go2: LeggedConfig, project: Path) -> None:
    """Mass matrices at random configurations, where that model is at hand."""
    path = project.parent / "shared" / "robots" / "menagerie" / "unitree_go2" / "scene.xml"
    if not path.is_file():
        pytest.skip(f"no {path}")
    models = [compile_legged(go2), mujoco.MjModel.from_xml_path(str(path))]
    rng = np.random.default_rng(0)
    for _ in range(10):
        q, matrices = rng.uniform(go2.q_min, go2.q_max), []
        for model in models:
            data = mujoco.MjData(model)
            data.qpos[:7], data.qpos[7:] = [0, 0, 1, 1, 0, 0, 0], q
            mujoco.mj_forward(model, data)
            full = np.zeros((model.nv, model.nv))
            mujoco.mj_fullM(model, data, full)
            matrices.append(full)
        np.testing.assert_allclose(matrices[0], matrices[1], atol=1e-6)


def test_the_attitude_filter_finds_level_and_the_gyros_bias() -> None:
    level, bias = AttitudeFilter(), np.array([0.02, -0.01, 0.0])
    level.reset(np.array([np.cos(0.1), np.sin(0.1), 0.0, 0.0]))  # 0.2 rad wrong
    for _ in range(60_000):
        level.step(bias, np.array([0.0, 0.0, 9.81]), DT)
    assert np.arccos(rotation(level.quaternion)[2, 2]) < 0.01
    np.testing.assert_allclose(level.bias[:2], bias[:2], atol=2e-3)


def test_the_attitude_filter_follows_a_turn_and_believes_no_fall() -> None:
    turning = AttitudeFilter()
    turning.reset(from_yaw(0.3))
    for _ in range(500):
        turning.step(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 9.81]), DT)
    assert yaw_of(turning.quaternion) == pytest.approx(1.3, abs=1e-6)
    before = turning.quaternion.copy()
    turning.step(np.zeros(3), np.array([9.0, 9.0, 9.0]), DT)
    np.testing.assert_allclose(turning.quaternion, before)


def estimated(
    plant: LeggedPlant, commands: list[tuple[float, list[float]]], kicks: dict[int, np.ndarray] | None = None
) -> list[tuple[BaseEstimate, BaseTruth]]:
    """Walk by the gait alone through (seconds, velocity) and look at estimate and truth at each tick."""
    rig, rows = LeggedRig(plant), []
    for seconds, velocity in commands:
        for _ in range(round(seconds / DT)):
            if kicks and len(rows) in kicks:
                plant.kick(kicks[len(rows)])
            rows.append((rig.tick(GaitCommand(velocity=np.array(velocity))).base, plant.truth()))
    assert not plant.fallen
    return rows


def errors(rows: list[tuple[BaseEstimate, BaseTruth]]) -> tuple[float, float]:
    """RMS of the horizontal velocity [m/s], and drift of the position as a share of the way."""
    velocity = np.array([said.velocity[:2] - true.velocity[:2] for said, true in rows])
    way = sum(float(np.hypot(*true.velocity[:2])) * DT for _, true in rows)
    return float(np.sqrt((velocity**2).mean())), float(np.hypot(*(rows[-1][0].position - rows[-1][1].position)[:2])) / way


WALK = [(0.5, [0.0, 0.0, 0.0]), (4.0, [1.0, 0.0, 0.2]), (4.0, [0.5, 0.4, -0.8])]


def test_the_estimator_knows_velocity_and_place_in_walking(go2: LeggedConfig) -> None:
    rows = estimated(LeggedPlant(go2, load_legged_scenario("nominal"), np.random.default_rng(0)), WALK)
    velocity, drift = errors(rows)
    assert velocity < 0.03
    assert drift < 0.03
    assert abs(rows[-1][0].yaw - yaw_of(rows[-1][1].quaternion)) < 0.05
    assert np.linalg.eigvalsh(rows[-1][0].covariance).min() > 0


def test_the_estimator_on_feet_that_slip(go2: LeggedConfig) -> None:
    velocity, drift = errors(estimated(LeggedPlant(go2, load_legged_scenario("slippery"), np.random.default_rng(0)), WALK))
    assert velocity < 0.1
    assert drift < 0.1


def test_a_foot_that_drags_does_not_hold_the_estimate_back(go2: LeggedConfig) -> None:
    """A thigh with six times its friction."""
    velocity, drift = errors(estimated(LeggedPlant(go2, load_legged_scenario("stiff_joint"), np.random.default_rng(0)), WALK))
    assert velocity < 0.03
    assert drift < 0.04


def test_an_estimate_that_all_feet_contradict_is_given_up(go2: LeggedConfig) -> None:
    """Begun at rest in the midst of a walk, so that all feet are outliers. By the accelerometer alone it stayed wrong by 0.9 m/s for two seconds."""
    rig, walk = LeggedRig(LeggedPlant(go2, load_legged_scenario("nominal"), np.random.default_rng(0))), GaitCommand(velocity=np.array([0.8, 0.0, 0.0]))
    for _ in range(750):
        rig.tick(walk)
    rig.begin_estimate()
    for tick in range(1000):
        base = rig.tick(walk).base
        if tick >= 150:
            assert np.hypot(*(base.velocity - rig.plant.truth().velocity)[:2]) < 0.25


def test_the_estimator_sees_a_push(go2: LeggedConfig) -> None:
    """A kick of 0.6 m/s sideways is in the estimate within a tenth of a second."""
    rows = estimated(
        LeggedPlant(go2, load_legged_scenario("nominal"), np.random.default_rng(0)),
        [(0.5, [0.0] * 3), (2.0, [0.5, 0.0, 0.0])],
        {500: np.array([0.0, 0.6, 0.0])},
    )
    before, after = rows[499][0].velocity[1], rows[550][0].velocity[1]
    assert after - before > 0.2
    assert abs(after - rows[550][1].velocity[1]) < 0.25


def test_open_loop_it_walks_and_does_not_fall(go2: LeggedConfig) -> None:
    task = load_walk_task(go2, "velocity").model_copy(update={"timeout_s": 4.0})
    done = run_walk(LeggedPlant(go2), OpenLoop(), task, Course(yaw=0.7, velocities=np.array([[0.8, 0.0, 0.0]])))
    assert done.success
    assert not done.fallen
    assert done.rows[-1].velocity_said[0] > 0.6
    start, end = done.rows[0], done.rows[-1]
    assert (end.position - start.position)[:2] @ [np.cos(0.7), np.sin(0.7)] > 2.2
    assert len(kept_velocity(task, done, go2.gait.frequency, 50.0)) > 50


def test_it_comes_to_a_place_by_the_law_with_feedback_and_the_same_seed_gives_the_same_walk(go2: LeggedConfig) -> None:
    spec = WalkSpec(robot=go2.folder, task="goal", scenario="nominal", planner="feedback", seed=3, index=0)
    first, again = walk(spec), walk(spec)
    assert first.success
    np.testing.assert_array_equal(first.rows[-1].position, again.rows[-1].position)


def test_feedback_bears_kicks_that_make_the_open_loop_fall(go2: LeggedConfig) -> None:
    """1.25 m/s every three seconds, in any direction and at any phase."""
    specs = {
        law: [WalkSpec(robot=go2.folder, task="push", scenario="nominal", planner=law, seed=3, index=i) for i in range(4)] for law in ("feedback", "open_loop")
    }
    assert evaluate_walks(specs["feedback"])["kicks_survived"] > 0.9
    assert evaluate_walks(specs["open_loop"])["kicks_survived"] < 0.8


def test_a_kick_that_nobody_survives_ends_the_episode_as_a_fall(go2: LeggedConfig) -> None:
    task = load_walk_task(go2, "push")
    course = Course(yaw=0.0, velocities=np.zeros((4, 3)), kicks=np.array([[1.0, 0.0, 5.0, 0.0]]))
    done = run_walk(LeggedPlant(go2), OpenLoop(), task, course)
    assert done.fallen
    assert not done.success
    assert done.kicks_survived == 0
    assert done.time_s < 4.0


def test_metrics_of_a_task_say_what_was_asked(go2: LeggedConfig) -> None:
    specs = [WalkSpec(robot=go2.folder, task="goal", scenario="nominal", planner="feed_forward", seed=3, index=0)]
    metrics = evaluate_walks(specs)
    assert metrics["success_rate"] == 1.0
    assert metrics["falls"] == 0.0
    assert metrics["limit_violations"] == 0
    assert metrics["mean_speed_m_s"] > 0.5
    assert metrics["estimator_velocity_rms_m_s"] < 0.05


@pytest.mark.parametrize("name", ["nominal", "payload", "slippery", "weak", "late", "stiff_joint", "slope", "steps", "steps_low", "steps_high"])
def test_scenarios_change_what_they_say(go2: LeggedConfig, name: str) -> None:
    scenario, model = load_legged_scenario(name), compile_legged(go2)
    changed = scenario.model(go2)
    assert changed.body_mass.sum() - model.body_mass.sum() == pytest.approx(scenario.payload_kg)
    assert changed.geom(go2.legs[0].foot).friction[0] == pytest.approx(scenario.friction)
    if scenario.stiff_joint is not None:
        assert changed.dof_damping[6 + scenario.stiff_joint] == pytest.approx(6 * model.dof_damping[6 + scenario.stiff_joint])
    assert scenario.description


def broken(go2: LeggedConfig, folder: Path, **changes: object) -> Path:
    shutil.copytree(go2.folder, folder)
    data = yaml.safe_load((folder / "robot.yaml").read_text()) | changes
    (folder / "robot.yaml").write_text(yaml.safe_dump(data))
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base_body": "trunk"}, "base_body: got trunk"),
        ({"model": "../panda/model.xml"}, "a file inside"),
        ({"gait": {"frequency": 2.5, "duty": 0.5, "phases": [0.0, 0.5], "height": 0.3, "swing_height": 0.1, "velocity": [1.0, 1.0, 1.0]}}, "one a leg"),
        ({"mass": 20.0}, "mass: got 20.0, expected 15.206"),
        ({"wheels": 4}, "wheels"),
    ],
)
def test_a_file_that_does_not_fit_names_the_key(go2: LeggedConfig, tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput) as error:
        compile_legged(load_legged(broken(go2, tmp_path / "robot", **changes)))
    assert said in str(error.value)


def test_a_robot_on_legs_is_no_arm(go2: LeggedConfig) -> None:
    assert has_legs(go2.folder)
    assert not has_legs(default_robot())
    with pytest.raises(BadInput, match="a robot on legs"):
        load_robot(go2.folder)
    with pytest.raises(BadInput, match="legs: got none, expected a robot on legs"):
        load_legged(default_robot())


def test_a_task_names_the_scenarios_of_its_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One after another; a scenario that is asked for comes before them."""
    walk = ["sim", "go2", "terrain", "--planner", "open_loop", "--seed", "1", "--workers", "1", "--json", str(tmp_path / "m.json")]
    assert main([*walk, "--episodes", "3"]) == 0
    found, said = json.loads((tmp_path / "m.json").read_text()), capsys.readouterr().out
    assert found["scenario"] == "steps_low, steps, steps_high, slope, slippery"
    for failed in found["failures"]:
        assert f"episode {failed['episode']} ({found['scenario'].split(', ')[failed['episode']]}): fell" in said
    assert main([*walk, "--episodes", "1", "--scenario", "slope"]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["scenario"] == "slope"


def test_a_scenario_that_a_task_names_and_is_none_names_the_file(go2: LeggedConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = broken(go2, tmp_path / "robot")
    (folder / "tasks" / "goal.yaml").write_text("kind: goal\ntimeout_s: 20.0\nscenarios: [moon]\n")
    assert main(["sim", str(folder), "goal", "--planner", "open_loop"]) == 2
    assert "goal.yaml: scenarios: got 'moon', expected one of" in capsys.readouterr().err


def test_unknown_names_name_the_choices(go2: LeggedConfig) -> None:
    with pytest.raises(UnknownName, match="goal"):
        load_walk_task(go2, "fly")
    with pytest.raises(UnknownName, match="slippery"):
        load_legged_scenario("moon")
    with pytest.raises(UnknownName, match="go2"):
        load_legged("go3")


def test_a_slope_is_counted_from_the_floor_below() -> None:
    scenario = LeggedScenario(slope=0.1745)
    assert scenario.floor_height(np.array([1.0, 0.0, 0.0])) == pytest.approx(np.tan(0.1745))


def test_steps_are_where_the_floor_says_that_they_are(go2: LeggedConfig) -> None:
    """Rays from above hit the tiles at the height that counts for a fall."""
    scenario = load_legged_scenario("steps")
    model = scenario.model(go2)
    data = mujoco.MjData(model)
    data.qpos[:3] = [100.0, 100.0, 1.0]
    mujoco.mj_forward(model, data)
    rng, seen = np.random.default_rng(0), []
    for _ in range(50):
        place, hit = np.append(rng.uniform(-4, 4, 2), 1.0), np.array([-1], dtype=np.int32)
        way = mujoco.mj_ray(model, data, place, np.array([0.0, 0.0, -1.0]), None, 1, -1, hit)
        seen.append(1.0 - way)
        assert seen[-1] == pytest.approx(scenario.floor_height(place), abs=1e-6)
    assert max(seen) == pytest.approx(0.03)
    assert scenario.floor_height(np.zeros(3)) == 0.0


def test_a_payload_adds_its_inertia_about_the_axes_of_the_base(go2: LeggedConfig) -> None:
    """3 kg 0.3 m above the base's origin: about x and y 3 * 0.3^2 more (and the sphere's own), about z the sphere's own alone."""
    found = []
    for model in (compile_legged(go2), LeggedScenario(payload_kg=3.0, payload_at=(0.0, 0.0, 0.3)).model(go2)):
        data, full = mujoco.MjData(model), np.zeros((model.nv, model.nv))
        mujoco.mj_forward(model, data)
        mujoco.mj_fullM(model, data, full)
        found.append(np.diagonal(full)[3:6])
    own = 0.4 * 3.0 * 0.05**2
    np.testing.assert_allclose(found[1] - found[0], [0.27 + own, 0.27 + own, own], atol=1e-6)


@pytest.mark.parametrize("yaw", [0.0, 2.0])
def test_on_a_slope_it_begins_with_no_foot_in_the_floor(go2: LeggedConfig, yaw: float) -> None:
    plant = LeggedPlant(go2, load_legged_scenario("slope"))
    plant.reset(yaw)
    assert plant.data.ncon == 0
    for _ in range(round(0.5 / plant.dt)):
        plant.step()
    assert not plant.fallen
