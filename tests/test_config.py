"""robot.yaml and task YAML: what is refused, and how it is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taustack.config import load_robot, load_task
from taustack.errors import BadInput, UnknownName
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.sim.scenario import Scenario, load_scenario
from taustack.strict_yaml import load

Edit = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    ("edit", "key", "part"),
    [
        (lambda d: d.update(colour="white"), "colour", "an unknown key"),
        (lambda d: d["joints"][2].update(torqe=1), "joints.2.torqe", "an unknown key"),
        (lambda d: d["joints"][1].pop("velocity"), "joints.1.velocity", "required"),
        (lambda d: d["joints"].append(d["joints"][0]), "", "panda_joint1 twice"),
        (lambda d: d["joints"][0].update(velocity=math.nan), "joints.0.velocity", "finite"),
        (lambda d: d["joints"][0].update(velocity=-1.0), "joints.0.velocity", "greater than 0"),
        (lambda d: d["joints"][3].update(position=[1.0, -1.0]), "joints.3", "lower position limit below the upper"),
        (lambda d: d["joints"][3].update(home=1.0), "joints.3", "home of joint panda_joint4 within its limits"),
        (lambda d: d["rates"].update(tracker_hz=300.0), "rates", "plant_hz / tracker_hz a whole number"),
        (lambda d: d.update(joints=[]), "joints", "at least 1"),
        (lambda d: d.update(action_space="torque"), "action_space", "velocity"),
    ],
)
def test_a_bad_robot_is_refused_with_file_and_key(robot_copy: Callable[[Edit], Path], edit: Edit, key: str, part: str) -> None:
    folder = robot_copy(edit)
    with pytest.raises(BadInput) as refusal:
        load_robot(folder)
    assert refusal.value.exit_code == 2
    assert str(folder / "robot.yaml") in str(refusal.value)
    assert refusal.value.key == key
    assert part in str(refusal.value)


@pytest.mark.parametrize(
    ("edit", "part"),
    [
        (lambda d: d["joints"].pop(), "no entry for panda_joint7"),
        (lambda d: d["joints"][0].update(name="panda_joint0"), "panda_joint0"),
        (lambda d: d["joints"][0].update(kind="prismatic"), "revolute"),
        (lambda d: d["joints"][0].update(position=[-1.0, 1.0]), "as in model.xml"),
        (lambda d: d.update(end_effector_site="nose"), "nose"),
        (lambda d: d.update(model="../../secret.xml"), "a file inside"),
    ],
)
def test_a_robot_that_does_not_fit_its_model_is_refused(robot_copy: Callable[[Edit], Path], edit: Edit, part: str) -> None:
    with pytest.raises(BadInput, match=part):
        compile_model(load_robot(robot_copy(edit)))


def test_joints_in_another_order_than_the_chain_are_refused(robot_copy: Callable[[Edit], Path]) -> None:
    robot = load_robot(robot_copy(lambda d: d["joints"].reverse()))
    with pytest.raises(BadInput, match="in order"):
        chain_from_model(compile_model(robot), robot)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("- a\n- b\n", "a mapping"),
        ("just text", "a mapping"),
        ("a: !!python/object/apply:os.system ['true']\n", "plain YAML without tags"),
        ("a: 1\na: 2\n", "the key twice"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested hundreds deep"),
        ("a: [1, 2\n", "plain YAML"),
        ("description: " + "x" * 10_000_000, "at most 1000000 bytes"),
    ],
)
def test_yaml_that_is_not_a_plain_mapping_is_refused(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=part) as refusal:
        load(Scenario, path)
    assert str(path) in str(refusal.value)


def test_unknown_names_come_with_the_choices() -> None:
    with pytest.raises(UnknownName, match="panda"):
        load_robot("pandda")
    with pytest.raises(UnknownName, match="reach"):
        load_task(load_robot("panda"), "juggle")
    with pytest.raises(UnknownName, match="anywhere, faults_demo, lag, nominal, payload"):
        load_scenario("windy", 7)


def test_a_robot_is_found_by_name_in_the_folders_of_the_variable(robot_copy: Callable[[Edit], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = robot_copy(lambda d: d.update(name="panda_two"))
    folder.rename(folder.parent / "panda_two")
    monkeypatch.setenv("TAUSTACK_ROBOTS", str(folder.parent))
    assert load_robot("panda_two").folder == folder.parent / "panda_two"


def test_a_scenario_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("initial_q: [0.0, 1.0]\n")
    with pytest.raises(BadInput, match="2 values, expected 7"):
        load_scenario(str(path), 7)


@pytest.mark.parametrize("point", [(np.nan, 0.0, 0.5), (2.0, 0.0, 0.5), (0.5, 0.0, -0.2), (0.8, 0.8, 0.3)])
def test_goals_outside_the_workspace_have_a_fault(point: tuple[float, float, float]) -> None:
    assert load_robot("panda").workspace.fault(np.array(point)) is not None
