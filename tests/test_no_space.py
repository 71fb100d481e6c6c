"""A disk that is full, at every stage from log to registry: the command says so, and leaves nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from taustack.config import RobotConfig
from taustack.models.dataset import write_dataset
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario

pytestmark = pytest.mark.no_cover

LISTED = "__LISTED__"
SCRIPT = f"""
mount -t tmpfs -o size=$SIZE none "$DISK" || exit 99
"$@"; code=$?
echo {LISTED}; cd "$DISK" && find . -mindepth 1
exit $code
"""
TAUSTACK = "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))"
ADD = "import sys; from pathlib import Path; from taustack.models.registry import Registry; Registry(Path(sys.argv[1]), 'panda').add(Path(sys.argv[2]), {})"


@dataclass(frozen=True)
class Small:
    """What came of a command on a small disk: exit code, what it said, and what lies on the disk."""

    code: int
    said: str
    left: set[str]


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


@pytest.fixture
def on_small_disk(disk: Path) -> Callable[..., Small]:
    """Runs the command line with a disk of a size at `disk`, which only that process sees."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("a small disk of one's own needs user namespaces")

    def run(size: str, *arguments: object, code: str = TAUSTACK) -> Small:
        environment = {"SIZE": size, "DISK": str(disk), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "OMP_NUM_THREADS": "1", "HOME": str(disk.parent)}
        call = ["unshare", "-rm", "sh", "-c", SCRIPT, "sh", sys.executable, "-c", code, *map(str, arguments)]
        done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300, cwd=disk.parent)
        assert done.returncode != 99, done.stderr
        return Small(done.returncode, done.stderr, set(done.stdout.partition(LISTED)[2].split()))

    return run


@pytest.fixture(scope="module")
def bag(log_episodes: Callable[..., Path]) -> Path:
    return log_episodes("full", count=3, seed=12)


@pytest.fixture(scope="module")
def logged(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [collect_run(robot, Scenario(), 6.0, seed) for seed in range(10)]
    folder = tmp_path_factory.mktemp("logged")
    write_dataset(folder, runs, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="nominal", seed=0)
    return folder


@pytest.mark.parametrize("act", [["export"], ["export", "--format", "lerobot"], ["recover"]], ids=" ".join)
def test_a_bag_is_written_anew_whole_or_not_at_all(act: list[str], on_small_disk: Callable[..., Small], bag: Path, disk: Path) -> None:
    small = on_small_disk("32k", "bag", *act, bag, "--out", disk / "out")
    assert small.code == 2
    assert str(disk) in small.said
    assert "No space left on device" in small.said
    assert "Traceback" not in small.said
    assert small.left == set()


@pytest.mark.parametrize(
    ("size", "said", "left"),
    [
        ("200k", "No space left on device", {"./work", "./work/dataset"}),
        ("2m", "checkpoint.pt", {"./work", "./work/dataset"}),
        ("4m", "No space left on device", {"./work", "./work/dataset", "./work/checkpoint.pt"}),
    ],
    ids=["dataset", "checkpoint", "candidate"],
)
def test_a_retraining_says_what_it_could_not_write(
    size: str, said: str, left: set[str], on_small_disk: Callable[..., Small], logged: Path, disk: Path, tmp_path: Path
) -> None:
    small = on_small_disk(
        size, "retrain", "panda", "--from", logged, "--epochs", 1, "--workers", 1, "--work", disk / "work", "--registry", tmp_path / "registry"
    )
    assert small.code == 2
    assert said in small.said
    assert str(disk) in small.said
    assert "Traceback" not in small.said
    whole = {name for name in small.left if not name.startswith("./work/dataset/") and name not in ("./work/card.json", "./work/mlflow_run.json")}
    assert whole == left
    assert ("./work/dataset/dataset.yaml" in small.left) == (size != "200k")
    assert not (tmp_path / "registry").exists()


def test_a_registry_without_space_has_no_new_version(on_small_disk: Callable[..., Small], robot: RobotConfig, disk: Path) -> None:
    small = on_small_disk("500k", disk, robot.folder / "bundle", code=ADD)
    assert small.code == 1
    assert f"BadInput: {disk}" in small.said
    assert "No space left on device" in small.said
    assert {name for name in small.left if "." not in name.rpartition("/")[2]} <= {"./panda"}
    assert not any(name.endswith(".onnx") for name in small.left)


def test_a_simulated_log_and_its_figures_say_so(on_small_disk: Callable[..., Small], disk: Path) -> None:
    arguments = ["sim", "panda", "reach", "--planner", "least_squares", "--episodes", "1", "--workers", "1"]
    small = on_small_disk("16k", *arguments, "--log", disk / "log")
    assert small.code == 2
    assert "No space left on device" in small.said
    assert small.left == set()
