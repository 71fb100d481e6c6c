"""Models out of MuJoCo Menagerie, and what a model of one's own must have."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from taustack.config import load_robot
from taustack.controllers.walk_laws import Feedback, StrideMap
from taustack.errors import BadInput
from taustack.legged import LeggedConfig, load_legged, load_strides
from taustack.sim.legged_episode import Course, run_walk
from taustack.sim.legged_plant import LeggedPlant, compile_legged
from taustack.sim.mjcf import compile_model, joint_addresses
from taustack.sim.model_file import model_file
from taustack.walk_task import load_walk_task

Edit = Callable[[dict[str, Any]], Any]
FEET = {"FL_foot": "FL", "FR_foot": "FR", "RL_foot": "RL", "RR_foot": "RR"}
"""Of our model, as Menagerie calls them."""


def go2_from(tmp_path: Path, model: str, feet: dict[str, str] | None = None) -> LeggedConfig:
    """The Go2's file with another model, and other names of its feet."""
    folder = tmp_path / "robot"
    shutil.copytree(load_legged("go2").folder, folder, ignore=shutil.ignore_patterns("bundle", "model.xml"))
    data = yaml.safe_load((folder / "robot.yaml").read_text()) | {"model": model}
    for leg in data["legs"]:
        leg["foot"] = (feet or {}).get(leg["foot"], leg["foot"])
    (folder / "robot.yaml").write_text(yaml.safe_dump(data))
    return load_legged(folder)


def walks(robot: LeggedConfig) -> float:
    """Mean velocity of a law's walk at 0.6 m/s, over its last second."""
    task = load_walk_task(robot, "velocity").model_copy(update={"timeout_s": 3.0})
    law = Feedback(StrideMap.of(load_strides(robot)), 1.0 / robot.rates.plan_hz)
    done = run_walk(LeggedPlant(robot), law, task, Course(yaw=0.0, velocities=np.array([[0.6, 0.0, 0.0]])))
    assert not done.fallen
    return float(np.mean([row.velocity[0] for row in done.rows[-50:]]))


@pytest.fixture
def servos_without_imu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of Menagerie with a Go2 driven by position servos, as many of its robots are, and no sensors."""
    xml = (load_legged("go2").folder / "model.xml").read_text()
    xml = re.sub(r"<sensor>.*</sensor>", "", xml, flags=re.DOTALL)
    xml = re.sub(r'<motor (name="\w+" joint="\w+") ctrlrange="[^"]*"/>', r'<position \1 kp="35" ctrlrange="-3 3"/>', xml)
    assert xml.count("<position") == 12
    folder = tmp_path / "menagerie" / "unitree_go2"
    folder.mkdir(parents=True)
    (folder / "scene.xml").write_text(xml)
    monkeypatch.setenv("MENAGERIE_ROOT", str(folder.parent))
    return folder / "scene.xml"


def test_servos_become_torque_motors_and_an_imu_is_added(tmp_path: Path, servos_without_imu: Path) -> None:
    """The same robot as the one of its own file, to the bit of a step; it walks."""
    own, robot = load_legged("go2"), go2_from(tmp_path, "menagerie:unitree_go2")
    assert model_file(robot) == servos_without_imu
    plants = [LeggedPlant(own), LeggedPlant(robot)]
    for plant in plants:
        for _ in range(100):
            plant.step()
    np.testing.assert_array_equal(plants[0].data.qpos, plants[1].data.qpos)
    np.testing.assert_array_equal(plants[0].read().acceleration, plants[1].read().acceleration)
    assert walks(robot) > 0.5


def test_the_published_go2_walks(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real model with its meshes, where it is at hand."""
    root = project.parent / "shared" / "robots" / "menagerie"
    if not (root / "unitree_go2" / "scene.xml").is_file():
        pytest.skip(f"no {root}")
    monkeypatch.setenv("MENAGERIE_ROOT", str(root))
    robot = go2_from(tmp_path, "menagerie:unitree_go2", FEET)
    assert compile_legged(robot).nmesh > 10
    assert walks(robot) > 0.5


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("menagerie:unitree_go3", "model: got menagerie:unitree_go3 (Unknown robot 'unitree_go3'"),
        ("menagerie:../unitree_go2", "Unknown robot '..'"),
        ("menagerie:unitree_go2/walk", "'unitree_go2' has no entry point 'walk'; available: go2"),
        ("menagerie:unitree_go2/scene_mjx", "expected the file"),
        ("menagerie:unitree_go1", "'unitree_go1' not found under MENAGERIE_ROOT"),
    ],
)
def test_what_menagerie_does_not_have_is_said(tmp_path: Path, servos_without_imu: Path, model: str, said: str) -> None:
    with pytest.raises(BadInput, match=re.escape(said)):
        compile_legged(go2_from(tmp_path, model))


def test_without_a_network_the_error_says_what_to_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setenv("MENAGERIE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("MENAGERIE_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(BadInput, match=r"robot.yaml: model: got menagerie:unitree_go2 .*MENAGERIE_ROOT"):
        compile_legged(go2_from(tmp_path, "menagerie:unitree_go2"))


def test_an_arms_servos_of_its_own_file_are_refused(robot_copy: Callable[[Edit], Path]) -> None:
    """A servo would take a torque for a position. Nothing is added to a robot's own file."""
    folder = robot_copy(lambda d: None)
    xml = (folder / "model.xml").read_text()
    spec = mujoco.MjSpec.from_string(xml)
    first = spec.actuators[0]
    first.biastype, first.biasprm[1] = mujoco.mjtBias.mjBIAS_AFFINE, -100.0
    (folder / "model.xml").write_text(spec.to_xml())
    robot = load_robot(folder)
    with pytest.raises(BadInput, match=r"model.xml: actuator of \w+: .* a <motor> with gear 1"):
        joint_addresses(compile_model(robot), robot)
