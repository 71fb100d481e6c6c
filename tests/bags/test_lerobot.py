"""A bag as a dataset of LeRobot's, opened by LeRobot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taustack.bags.writer import BagWriter
from taustack.cli import main
from taustack.config import RobotConfig
from taustack.models.from_bags import WHOLE, Harvest, runs_of
from taustack.models.lerobot import FILE_MB

pytestmark = pytest.mark.no_cover


def opened(folder: Path) -> dict:  # type: ignore[type-arg]
    """What LeRobot says of a dataset."""
    environment = os.environ | {"PYTHONPATH": str(Path(sys.prefix) / "lerobot"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder.parent / "cache")}
    call = [sys.executable, str(Path(__file__).with_name("open_lerobot.py")), str(folder)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def test_lerobot_opens_what_was_exported(
    log_episodes: Callable[..., Path], robot: RobotConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bag, out = log_episodes("log", count=3, seed=5), tmp_path / "dataset"
    monkeypatch.setattr("taustack.models.lerobot.FILE_MB", 0.01)  # more than one file
    assert main(["bag", "export", str(bag), "--format", "lerobot", "--out", str(out), "--task", "reach a point"]) == 0
    runs = list(runs_of([bag], robot.name, robot.joint_names, robot.rates.control_dt, Harvest(), WHOLE))
    said = opened(out)
    assert said["lengths"] == [len(run.u) for run in runs]
    assert said["episodes"] == len(runs) == 3
    assert said["frames"] == sum(said["lengths"])
    assert f"{len(runs)} episodes, {said['frames']} frames at 50 Hz" in capsys.readouterr().out
    assert (said["fps"], said["robot"], said["task"]) == (50, robot.name, "reach a point")
    assert said["names"] == [f"{joint}.{part}" for part in ("pos", "vel") for joint in robot.joint_names]
    n = robot.n
    np.testing.assert_allclose(said["first_state"], runs[0].x[0, : 2 * n], atol=1e-6)
    np.testing.assert_allclose(said["first_actions"], runs[0].x[1:4, 2 * n :], atol=1e-6)
    assert said["last_actions_padded"] == [False, True, True]
    np.testing.assert_allclose(said["action_mean"], said["mean_of_actions"], atol=1e-5)
    assert len(list((out / "data").glob("*/*.parquet"))) > 1
    assert FILE_MB == 100


def test_nothing_is_left_of_an_export_that_cannot_be(
    robot: RobotConfig, log_episodes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    BagWriter(empty, (), {}).close()
    assert main(["bag", "export", str(empty), "--format", "lerobot", "--out", str(tmp_path / "out")]) == 2
    assert "--robot NAME" in capsys.readouterr().err
    assert main(["bag", "export", str(empty), "--format", "lerobot", "--robot", robot.name, "--out", str(tmp_path / "out")]) == 2
    assert "expected at least one run with motion" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    assert main(["bag", "export", str(log_episodes("short", count=1, seed=1)), "--format", "lerobot", "--out", str(tmp_path / "out")]) == 2
    assert "a folder that can be made anew" in capsys.readouterr().err
