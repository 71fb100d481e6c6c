"""`taustack retrain` from end to end on a small log: data, training, gate, registry; sabotage is refused with exit code 3."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from taustack.cli import main
from taustack.config import RobotConfig, load_task
from taustack.controllers.costs import COST_TERMS
from taustack.kinematics import KinematicChain
from taustack.manifest import MANIFEST, TRAINING, DataSource, Manifest
from taustack.models.base import read_training
from taustack.models.dataset import Run, write_dataset
from taustack.models.export import write_bundle
from taustack.models.registry import Registry
from taustack.models.tdm.bundle import join
from taustack.models.train_dynamics import Start, TrainConfig, train, transitions
from taustack.retraining.data import gather
from taustack.retraining.pipeline import RetrainSpec, fine_tune
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario
from taustack.strict_yaml import load

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter, or the reading of bags, three times as slow

CHANGED = Scenario(payload_kg=1.5, reference_lag_s=0.05, actuator_delay_s=0.02)
EASY = """
open_loop:
  - {steps: H, at_most: 1.0, reason: r}
worst_run: {at_most: 5.0, reason: r}
each_joint: {at_most: 5.0, reason: r}
claim: {steps: H, at_most: 0.9, reason: r}
closed_loop: {success_at_least: 0.0, success_drop: 1.0, violations_more: 1000, reason: r}
plan_time: {at_most: 3.0, reason: r}
"""


@pytest.fixture(scope="module")
def logged(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a robot that changed."""
    runs = [collect_run(robot, CHANGED, 6.0, seed) for seed in range(10)]
    folder = tmp_path_factory.mktemp("logged")
    write_dataset(folder, runs, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="changed", seed=0)
    return folder


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(EASY)
    return path


@pytest.fixture
def retrain(logged: Path, rules: Path, tmp_path: Path) -> Callable[..., int]:
    def run(*more: str, work: str = "work") -> int:
        where = ["--registry", str(tmp_path / "registry"), "--work", str(tmp_path / work), "--rules", str(rules)]
        return main(["retrain", "panda", "--from", str(logged), "--epochs", "6", "--episodes", "1", "--workers", "1", *where, *more])

    return run


@pytest.mark.slow
def test_a_minute_of_log_makes_a_better_candidate_that_waits_for_a_person(
    retrain: Callable[..., int], robot: RobotConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retrain("--json", str(tmp_path / "gate.json")) == 0
    report = json.loads((tmp_path / "gate.json").read_text())
    assert report["passed"]
    assert report["candidate"]["error"]["25"] < 0.9 * report["live"]["error"]["25"]
    registry = Registry(tmp_path / "registry", "panda")
    assert registry.versions() == ["1"]
    assert registry.live().version == "shipped"
    assert registry.passed("1")
    manifest = load(Manifest, registry.path("1") / MANIFEST)
    assert manifest.delay_steps >= 1
    assert manifest.tdm is not None
    assert manifest.data.minutes == pytest.approx(1.0)
    assert "taustack models promote panda 1" in capsys.readouterr().out
    page = (registry.path("1") / "report.html").read_text()
    assert "it may be promoted" in page
    assert main(["models", "verify", str(registry.path("1"))]) == 0
    assert main(["models", "promote", "panda", "1", "--registry", str(tmp_path / "registry")]) == 0
    assert registry.live().version == "1"


def test_the_same_seed_gives_the_same_bundle_and_a_resumed_run_too(
    logged: Path, robot: RobotConfig, robot_copy: Callable[[Callable[[dict[str, Any]], Any]], Path], tmp_path: Path
) -> None:
    folder = robot_copy(lambda _: None)
    path = folder / "tasks" / "reach.yaml"
    path.write_text(path.read_text().replace("horizon: 25", "horizon: 4"))  # the plan graph's export is what takes long
    robot = robot.model_copy(update={"folder": folder})
    data = gather([logged], robot)

    def trained(work: str, seed: int = 0) -> str:
        spec = RetrainSpec(task="reach", base=folder / "bundle", epochs=2, seed=seed)
        fine_tune(data, robot, spec, tmp_path / work, lambda *_: None)
        return load(Manifest, tmp_path / work / "candidate" / MANIFEST).files["dynamics.onnx"]

    first = trained("work")
    (tmp_path / "again").mkdir()
    shutil.copy(tmp_path / "work/checkpoint.pt", tmp_path / "again/checkpoint.pt")  # as if killed after its last checkpoint
    assert trained("again") == trained("anew") == first
    assert trained("other", seed=1) != first


def test_a_joint_that_never_moved_is_named(logged: Path, robot: RobotConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = []
    for seed in range(3):
        run = collect_run(robot, CHANGED, 6.0, seed)
        x, u = run.x.copy(), run.u.copy()
        x[:, 2::7] = 0.0
        u[:, 2] = 0.0
        runs.append(dataclasses.replace(run, x=x, u=u))
    write_dataset(tmp_path / "still", runs, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="s", seed=0)
    assert main(["retrain", "panda", "--from", str(tmp_path / "still"), "--work", str(tmp_path / "w"), "--registry", str(tmp_path / "r")]) == 2
    assert "excitation of panda_joint3" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def candidate(folder: Path, robot: RobotConfig, chain: KinematicChain, model: torch.nn.Module, samples: float = 1.0) -> Path:
    task = load_task(robot, "reach")
    mppi = task.mppi.model_copy(update={"samples": round(samples * task.mppi.samples)})
    write_bundle(
        folder, model, robot, task.model_copy(update={"mppi": mppi}), chain, COST_TERMS, metrics={}, name="sabotage", version="1", command="test",  # type: ignore[arg-type]
        data=DataSource(scenario="s", seed=0, minutes=1.0, runs={}), seed=0,
    )  # fmt: skip
    join(folder, robot.folder / "bundle", folder)  # as retraining does: the temporal difference model is taken along
    return folder


def shuffled_labels(robot: RobotConfig, runs: list[Run], tmp_path: Path) -> torch.nn.Module:
    rng = np.random.default_rng(0)
    mixed = [dataclasses.replace(run, x=np.concatenate([run.x[:1], run.x[1:][rng.permutation(len(run.u))]])) for run in runs]
    return train(mixed, (False,) * robot.n, 0.02, TrainConfig(epochs=2), tmp_path / "c.pt")[0]


def overfit_to_one_run(robot: RobotConfig, runs: list[Run], tmp_path: Path) -> torch.nn.Module:
    model, old = read_training(robot.folder / "bundle", (False,) * robot.n)
    return train(
        [runs[0], runs[0]], (False,) * robot.n, 0.02, TrainConfig(epochs=40, learning_rate=3e-3), tmp_path / "c.pt", start=Start(model=model, old=old, keep=0.0)
    )[0]


def one_joint_flipped(robot: RobotConfig, runs: list[Run], tmp_path: Path) -> torch.nn.Module:
    model, _ = read_training(robot.folder / "bundle", (False,) * robot.n)
    with torch.no_grad():
        for value in (model.weights[-1], model.biases[-1]):
            value[..., [2, robot.n + 2]] *= -1
    return model


def better_at_one_step_only(robot: RobotConfig, runs: list[Run], tmp_path: Path) -> torch.nn.Module:
    """Least error over one step, with a bias that grows: the mean change is shifted by a share of its spread."""
    model, _ = read_training(robot.folder / "bundle", (False,) * robot.n)
    model.renormalise(*transitions(runs))
    with torch.no_grad():
        model.biases[-1][..., : robot.n] += 0.15
    return model


@pytest.mark.parametrize("sabotage", [shuffled_labels, overfit_to_one_run, one_joint_flipped, better_at_one_step_only])
def test_sabotaged_models_are_refused_with_exit_code_three(
    sabotage: Callable[..., torch.nn.Module], robot: RobotConfig, chain: KinematicChain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Judged by the stack's own rules, on runs of the robot as it is."""
    runs = [collect_run(robot, Scenario(), 4.0, seed) for seed in range(20, 24)]
    held = [collect_run(robot, Scenario(), 4.0, seed) for seed in range(30, 33)]
    write_dataset(tmp_path / "held", held, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="s", seed=0)
    folder = candidate(tmp_path / "bundle", robot, chain, sabotage(robot, runs, tmp_path))
    where = ["--registry", str(tmp_path / "registry"), "--work", str(tmp_path / "gate"), "--workers", "1", "--episodes", "1"]
    assert main(["models", "gate", "panda", str(folder), "--data", str(tmp_path / "held"), *where]) == 3
    assert "refused: open loop" in capsys.readouterr().err
    assert main(["models", "promote", "panda", "1", "--registry", str(tmp_path / "registry")]) == 3


def test_a_plan_that_takes_twice_as_long_is_refused(
    robot: RobotConfig, chain: KinematicChain, logged: Path, rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, _ = read_training(robot.folder / "bundle", (False,) * robot.n)
    folder = candidate(tmp_path / "bundle", robot, chain, model, samples=2.0)
    rules.write_text(EASY.replace("plan_time: {at_most: 3.0", "plan_time: {at_most: 1.3").replace("steps: H, at_most: ", "steps: H, at_most: 1"))
    where = ["--registry", str(tmp_path / "registry"), "--work", str(tmp_path / "gate"), "--workers", "1", "--episodes", "1", "--rules", str(rules)]
    assert main(["models", "gate", "panda", str(folder), "--data", str(logged), *where]) == 3
    refused = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refused")]
    assert len(refused) == 1
    assert refused[0].startswith("refused: plan time [ms]")


def test_a_bundle_of_another_robot_is_refused_and_not_even_kept(logged: Path, bundle_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = yaml.safe_load((bundle_copy / MANIFEST).read_text())
    manifest["contract"]["robot"] = "somebody"
    (bundle_copy / MANIFEST).write_text(yaml.safe_dump(manifest))
    where = ["--registry", str(tmp_path / "registry"), "--work", str(tmp_path / "gate"), "--episodes", "1"]
    assert main(["models", "gate", "panda", str(bundle_copy), "--data", str(logged), *where]) == 3
    assert "contract.robot: got somebody" in capsys.readouterr().err
    assert not (tmp_path / "registry").exists()


def test_renormalising_changes_no_prediction(robot: RobotConfig, logged: Path) -> None:
    model, (x, u, x_next, torque) = read_training(robot.folder / "bundle", (False,) * robot.n)
    before = model(x[:50], u[:50])
    scale = torch.ones_like(x_next)
    scale[:, :7] = 1.01
    model.renormalise(x, u, x_next * scale, 1.5 * torque)
    after = model(x[:50], u[:50])
    torch.testing.assert_close(after[0], before[0], atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(after[2], before[2], atol=1e-4, rtol=1e-5)


def test_a_bundle_without_weights_says_how_to_go_on(
    robot: RobotConfig, bundle_copy: Path, logged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle_copy / TRAINING).unlink()
    manifest = yaml.safe_load((bundle_copy / MANIFEST).read_text())
    del manifest["files"][TRAINING]
    (bundle_copy / MANIFEST).write_text(yaml.safe_dump(manifest))
    call = ["retrain", "panda", "--from", str(logged), "--base", str(bundle_copy), "--work", str(tmp_path / "w"), "--registry", str(tmp_path / "r")]
    assert main(call) == 2
    assert "train from scratch with --scratch" in capsys.readouterr().err
