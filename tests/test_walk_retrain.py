"""`taustack retrain` of a robot on legs from end to end on a small log: walks, training, gate, registry; sabotage is refused with exit code 3."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from taustack.cli import main
from taustack.legged import LeggedConfig, load_legged
from taustack.models.registry import Registry
from taustack.models.walk_dataset import WalkRun, write_walks
from taustack.sim.legged_evaluate import WalkSpec, walk
from taustack.sim.walk_log import write_walk_log

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter three times as slow

EASY = """
open_loop:
  - {steps: H, at_most: 1.0, reason: r}
worst_run: {at_most: 5.0, reason: r}
each_joint: {at_most: 5.0, reason: r}
claim: {steps: H, at_most: 0.9, reason: r}
closed_loop: {success_at_least: 0.0, success_drop: 1.0, violations_more: 1000, falls_more: 1.0, reason: r}
plan_time: {at_most: 3.0, reason: r}
"""


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


@pytest.fixture(scope="module")
def bag(go2: LeggedConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a minute of walks on a slippery floor, by the law with feedback."""
    specs = [WalkSpec(robot=go2.folder, task="velocity", scenario="slippery", planner="feedback", seed=9, index=i, log=True) for i in range(3)]
    folder = tmp_path_factory.mktemp("logged") / "bag"
    write_walk_log(folder, go2, [log for log in (walk(spec).log for spec in specs) if log is not None], {"scenario": "slippery"})
    return folder


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(EASY)
    return path


def retrain(folder: Path, source: Path, rules: Path, *more: str) -> int:
    where = ["--registry", str(folder / "registry"), "--work", str(folder / "work"), "--rules", str(rules), "--workers", "1", "--episodes", "1"]
    return main(["retrain", "go2", "--from", str(source), "--json", str(folder / "gate.json"), *where, *more])


@pytest.mark.slow
def test_a_log_makes_a_better_candidate_that_waits_for_a_person(
    go2: LeggedConfig, bag: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retrain(tmp_path, bag, rules, "--updates", "150") == 0
    report = json.loads((tmp_path / "gate.json").read_text())
    assert report["candidate"]["error"]["25"] < 0.9 * report["live"]["error"]["25"]
    assert "minutes of walking in" in capsys.readouterr().out
    card = json.loads((tmp_path / "work" / "card.json").read_text())
    assert card["sources"] == [str(bag)]
    assert card["coverage"]["forward"]["most"] > 0.3
    registry = Registry(tmp_path / "registry", "go2")
    assert registry.versions() == ["1"]
    assert registry.live().version == "shipped"
    common = ["--registry", str(tmp_path / "registry")]
    assert main(["models", "verify", str(registry.path("1"))]) == 0
    assert main(["models", "show", str(registry.path("1"))]) == 0
    assert main(["models", "promote", "go2", "1", *common]) == 0
    assert main(["models", "list", "go2", *common]) == 0
    said = capsys.readouterr().out
    assert "falls in it" in said
    assert "go2-retrained" in said
    assert registry.live().version == "1"
    assert main(["models", "rollback", "go2", *common]) == 0
    assert "m/s" in (tmp_path / "work" / "report" / "report.html").read_text()


def test_labels_that_were_shuffled_are_refused(go2: LeggedConfig, bag: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What came next is that of another moment; the gate judges by the true walks."""
    from taustack.retraining.walk_data import gather_walks

    rng = np.random.default_rng(0)

    def shuffled(run: WalkRun) -> WalkRun:
        return dataclasses.replace(run, x=run.x[rng.permutation(len(run.x))])

    runs = [shuffled(run) for run in gather_walks([bag], go2).runs]
    write_walks(tmp_path / "shuffled", runs, robot="go2", joint_names=go2.joint_names, dt=0.02, scenario="logs", seed=0)
    retrain(tmp_path, tmp_path / "shuffled", rules, "--updates", "60")
    capsys.readouterr()
    gate = ["models", "gate", "go2", str(tmp_path / "work" / "candidate"), "--data", str(bag), "--rules", str(rules), "--episodes", "1", "--workers", "1"]
    assert main([*gate, "--work", str(tmp_path / "gate"), "--registry", str(tmp_path / "other")]) == 3
    assert "refused: open loop, 25 step(s)" in capsys.readouterr().err
    assert main(["models", "promote", "go2", "1", "--registry", str(tmp_path / "other")]) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--watch"], "--watch: got a robot on legs"),
        (["--epochs", "5"], "--epochs: got a robot on legs, expected --updates"),
        (["--keep", "0.2"], "--keep: got a robot on legs"),
        (["--updates", "0"], "--updates: got 0, expected at least 1"),
        (["--minutes", "0"], "--minutes: got 0.0, expected more than 0"),
        (["--task", "nowhere"], "nowhere"),
        (["--scenario", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(
    more: list[str], said: str, bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["retrain", "go2", "--from", str(bag), "--work", str(tmp_path / "work"), "--registry", str(tmp_path / "registry"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "work" / "candidate").exists()


def test_an_arm_takes_no_updates(capsys: pytest.CaptureFixture[str], bag: Path) -> None:
    assert main(["retrain", "panda", "--from", str(bag), "--updates", "5"]) == 2
    assert "--updates: got 5, expected --epochs: this robot is an arm" in capsys.readouterr().err
