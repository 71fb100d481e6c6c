"""The house: links, import rules, the wheel, and what stays out of the robot's run time."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOMS = ("controllers", "models", "sim", "robots", "launch")


def test_rooms_are_relative_links_inside_the_package(project: Path) -> None:
    for room in ROOMS:
        link = project / "src" / "taustack" / room
        assert link.is_symlink(), f"{link} is no link"
        assert str(link.readlink()) == f"../../{room}"


def test_launch_has_no_init_that_would_shadow_the_launch_package(project: Path) -> None:
    assert not list((project / "launch").glob("*.py"))


def test_no_room_holds_tests(project: Path) -> None:
    assert not [path for room in ROOMS for path in (project / room).rglob("test_*.py")]


def test_no_file_is_longer_than_three_hundred_lines(project: Path) -> None:
    sources = [*project.glob("src/taustack/*.py"), *project.glob("src/taustack/*/*.py"), *project.glob("ros2_ws/src/**/*.py"), *project.glob("bench/*.py")]
    long = {str(path): n for path in sources if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def test_no_robot_is_named_outside_its_folder(project: Path) -> None:
    code = [
        path
        for room in ("controllers", "models", "sim", "src/taustack/cli", "src/taustack/launching", "ros2_ws/src")
        for path in (project / room).rglob("*.py")
    ]
    code += (project / "src/taustack").glob("*.py")
    named = [str(path) for path in code if re.search("panda(?!s)|go2", path.read_text().lower())]  # pandas is a library
    assert not named


def test_the_planner_loads_neither_torch_nor_mujoco() -> None:
    check = "import sys, taustack.controllers.mppi; print(sorted(m for m in ('torch', 'mujoco', 'onnx', 'rclpy') if m in sys.modules))"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_the_rehearsal_of_an_arm_does_without_the_compiler(project: Path) -> None:
    check = "import sys; from taustack.controllers.rehearse import main; print(main(sys.argv[1:]), 'numba' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", check, "robots/panda/bundle", "panda", "reach"], cwd=project, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "0 False"


@pytest.fixture(scope="module")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(project)]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_is_complete(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for needed in (
        "taustack/controllers/mppi.py", "taustack/controllers/costs/goal_position.py", "taustack/models/export.py", "taustack/sim/plant.py",
        "taustack/sim/scenarios/lag.yaml", "taustack/models/gate_rules.yaml", "taustack/robots/panda/robot.yaml", "taustack/robots/panda/model.xml",
        "taustack/robots/panda/tasks/reach.yaml", "taustack/robots/panda/bundle/plan_mppi.onnx", "taustack/launch/sim.launch.yaml", "taustack/py.typed",
    ):  # fmt: skip
        assert needed in names
    assert not any(name.startswith(("controllers/", "models/", "sim/", "tests/")) for name in names)


PLAN_ONCE = """
import numpy as np
from taustack.config import load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.mppi import MPPI
from taustack.layout import Measured, RobotState
robot = load_robot("panda"); zero = np.zeros(robot.n)
planner = MPPI(load_bundle(robot.folder / "bundle", robot), robot, load_task(robot, "reach"), np.random.default_rng(0))
state = RobotState(t=0.0, q=robot.home, dq=zero, q_ref=robot.home, dq_ref=zero, torque=zero, ee=np.zeros(3))
print(planner.plan(Measured(state=state), np.array([0.5, 0.2, 0.4])).actions.shape)
"""


def test_the_robot_extra_alone_runs_a_plan(wheel: Path, tmp_path: Path, project: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = venv / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-c", str(project / "constraints.txt"), f"{wheel}[robot]"], check=True, capture_output=True)
    out = subprocess.run([python, "-c", PLAN_ONCE], capture_output=True, text=True, cwd=tmp_path)
    assert out.stdout.strip() == "(25, 7)", out.stderr
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert "torch" not in listed
    assert "mujoco" not in listed


def test_the_reference_is_what_the_code_says(project: Path) -> None:
    import runpy

    make = runpy.run_path(str(project / "tools/make_reference.py"))
    assert (project / "docs/reference/parameters.md").read_text() == make["reference"]()
    assert (project / "docs/reference/faults.md").read_text() == make["faults"]()
