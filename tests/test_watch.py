"""A folder of logs is watched: drift that lasts makes a candidate, the gate judges it, and only who asked for it lets it go live alone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taustack.cli import main
from taustack.config import RobotConfig
from taustack.controllers.bundle import Bundle
from taustack.kinematics import KinematicChain
from taustack.models.registry import Registry
from taustack.retraining.watch import DriftWatch

from .test_retrain import EASY

TAUSTACK = "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scenario") / "changed.yaml"
    path.write_text("payload_kg: 1.5\nactuator_delay_s: 0.04\n")
    return path


@pytest.fixture(scope="module")
def bags(log_episodes: Callable[..., Path], changed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of the robot that the model knows, and of one that changed."""
    folder = tmp_path_factory.mktemp("watched")
    return log_episodes("1", count=6, seed=1, folder=folder), log_episodes("2", count=16, seed=2, planner="direct", scenario=str(changed), folder=folder)


def test_drift_counts_while_it_lasts_and_is_forgotten_on_demand(
    bags: tuple[Path, Path], robot: RobotConfig, chain: KinematicChain, bundle: Bundle, tmp_path: Path
) -> None:
    watch = DriftWatch(robot, chain, [tmp_path])
    assert watch.look(bundle) == 0.0
    shutil.copytree(bags[0], tmp_path / "1")
    assert watch.look(bundle) == 0.0
    shutil.copytree(bags[1], tmp_path / "2")
    lasted = watch.look(bundle)
    assert lasted > 3.0
    assert [file.parent.name for file in watch.drifting] == ["2"]
    assert watch.look(bundle) == lasted  # nothing new was logged
    watch.forget()
    assert watch.look(bundle) == 0.0


def watching(bags: tuple[Path, Path], changed: Path, tmp_path: Path, *more: str) -> tuple[subprocess.Popen[str], Registry]:
    (tmp_path / "rules.yaml").write_text(EASY)
    call = ["retrain", "panda", "--from", str(bags[0].parent), "--watch", "--persist", "3", "--every", "0.2", "--epochs", "6", "--episodes", "1"]
    where = ["--registry", str(tmp_path / "registry"), "--work", str(tmp_path / "work"), "--rules", str(tmp_path / "rules.yaml"), "--workers", "1"]
    command = [sys.executable, "-u", "-c", TAUSTACK, *call, *where, "--scenario", str(changed), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), Registry(tmp_path / "registry", "panda")


@pytest.mark.parametrize("alone", [False, True], ids=["stops at the gate", "goes live"])
def test_lasting_drift_makes_a_candidate_by_itself(bags: tuple[Path, Path], changed: Path, tmp_path: Path, alone: bool) -> None:
    process, registry = watching(bags, changed, tmp_path, *(["--auto-promote"] if alone else []))
    said = []
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if line.startswith("promoted: " if alone else "passed: ") or "refused" in line or "error" in line:
            break
    time.sleep(1.0)  # it looks again, and finds nothing new
    process.send_signal(signal.SIGTERM)
    said.append(process.communicate(timeout=60)[0])
    assert process.returncode == 0, "".join(said)
    assert registry.versions() == ["1"], "".join(said)
    assert registry.live().version == ("1" if alone else "shipped")


def test_wrong_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "panda", "--from", str(tmp_path / "none"), "--watch"]) == 2
    assert "the folder that the logger writes its bags into" in capsys.readouterr().err
    assert main(["retrain", "panda", "--from", str(tmp_path), "--auto-promote"]) == 2
    assert "--watch with it" in capsys.readouterr().err
