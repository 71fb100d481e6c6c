"""Walks to learn from, the ensemble and its plan step, the bundle that travels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_bundle import load_walk_bundle
from taustack.controllers.walk_costs import WALK_COST_TERMS
from taustack.errors import BadInput, BundleRefused
from taustack.legged import LeggedConfig, load_legged
from taustack.legged_layout import layout, learned_size
from taustack.manifest import DataSource
from taustack.models.ensemble import EnsembleConfig
from taustack.models.walk_base import read_walk_ensemble
from taustack.models.walk_dataset import WalkRun, read_walks, write_walks
from taustack.models.walk_dynamics import GaitClock, WalkEnsemble, as_tensor
from taustack.models.walk_export import write_walk_bundle
from taustack.models.walk_plan_step import WalkPlanStep, stride_steps
from taustack.models.walk_train import WalkTrainConfig, split_walks, train_walk, velocity_errors, windows
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.walk_collect import RandomCommands, collect_walks
from taustack.walk_rollout import WalkRollout
from taustack.walk_task import load_walk_task

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter three times as slow
SMALL = WalkTrainConfig(ensemble=EnsembleConfig(members=2, width=48), updates=800, batch=64, evaluate_every=50)


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


def walked(go2: LeggedConfig, seconds: float, seed: int) -> list[WalkRun]:
    rngs = [np.random.default_rng([seed, stream]) for stream in range(2)]
    return collect_walks(go2, LeggedScenario(), seconds, RandomCommands(go2, rngs[0]), rngs[1])


@pytest.fixture(scope="module")
def runs(go2: LeggedConfig) -> list[WalkRun]:
    return [run for seed in range(4) for run in walked(go2, 8.0, seed)]


@pytest.fixture(scope="module")
def trained(go2: LeggedConfig, runs: list[WalkRun]) -> WalkEnsemble:
    learn, held = split_walks(runs, 0.2)
    return train_walk(learn, held, go2.n, 0.02, GaitClock.of(go2), SMALL)[0]


@pytest.fixture(scope="module")
def bundle(go2: LeggedConfig, runs: list[WalkRun], trained: WalkEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("walk") / "bundle"
    data = DataSource(scenario="nominal", seed=0, minutes=0.5, runs={})
    write_walk_bundle(
        folder, trained, go2, load_walk_task(go2, "velocity"), WALK_COST_TERMS, split_walks(runs, 0.2)[1], data=data, falls=0, metrics={}, name="go2-test",
        version="1", command="test", seed=0,
    )  # fmt: skip
    return folder


def test_collected_walks_are_repeatable_and_cover_the_commands(go2: LeggedConfig, runs: list[WalkRun]) -> None:
    one, two, other = walked(go2, 3.0, 5), walked(go2, 3.0, 5), walked(go2, 3.0, 6)
    np.testing.assert_array_equal(one[0].x, two[0].x)
    assert not np.array_equal(one[0].x[:50], other[0].x[:50])
    u = np.concatenate([run.u for run in runs])
    assert (np.abs(u[:, :3]).max(0) > 0.5 * np.array(go2.gait.velocity)).all()
    assert any(run.kicked.any() for run in runs)
    part = layout(go2.n)
    for run in runs:
        np.testing.assert_allclose(np.linalg.norm(run.x[:, part["up"]], axis=1), 1.0, atol=1e-9)
        np.testing.assert_allclose(np.linalg.norm(run.x[:, part["clock"]], axis=1), 1.0, atol=1e-9)


def test_what_follows_from_the_action_is_computed_as_the_gait_does_it(go2: LeggedConfig, runs: list[WalkRun]) -> None:
    model, part = WalkEnsemble(go2.n, 0.02, GaitClock.of(go2), EnsembleConfig(members=2, width=8)), layout(go2.n)
    run = runs[0]
    with torch.no_grad():
        mean, _ = model(as_tensor(run.x[:-1]), as_tensor(run.u))
    for name in ("strides", "clock"):
        np.testing.assert_allclose(mean[:, part[name]].numpy(), run.x[1:, part[name]], atol=1e-4)
    gait = Gait(go2, 0.002)
    for _ in range(10):
        gait.step(GaitCommand(velocity=np.array([9.0, 0.0, 0.0]), landing=np.array([0.0, -9.0])))
    x = torch.zeros(1, part["clock"].stop)
    found = model.strides(x, torch.tensor([[9.0, 0.0, 0.0, 0.0, -9.0]]))[0].numpy()
    np.testing.assert_allclose(found, [*gait.state.velocity, *gait.state.landing], atol=1e-6)


def test_a_dataset_is_read_as_it_was_written_and_refused_once_altered(runs: list[WalkRun], go2: LeggedConfig, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write_walks(folder, runs, robot="go2", joint_names=go2.joint_names, dt=0.02, scenario="nominal", seed=0)
    card, again = read_walks(folder)
    assert card.falls == sum(run.falls for run in runs)
    np.testing.assert_allclose(again[0].x, runs[0].x, atol=1e-5)
    np.testing.assert_array_equal(again[0].kicked, runs[0].kicked)
    short = dataclasses.replace(runs[0], u=runs[0].u[:-1])
    write_walks(tmp_path / "short", [short], robot="go2", joint_names=go2.joint_names, dt=0.02, scenario="nominal", seed=0)
    with pytest.raises(BadInput, match="shapes"):
        read_walks(tmp_path / "short")
    (folder / "run_000.npz").write_bytes(b"PK")
    with pytest.raises(BadInput, match="sha256"):
        read_walks(folder)


def test_stretches_with_a_kick_are_left_out() -> None:
    run = WalkRun(x=np.zeros((11, 40)), u=np.zeros((10, 5)), kicked=np.eye(10)[5])
    assert len(windows([run], 3)[0]) == 8 - 3  # of 8 stretches, those from 3 to 5 see it
    with pytest.raises(BadInput, match="without a kick"):
        windows([dataclasses.replace(run, kicked=np.ones(10))], 3)


def test_training_is_repeatable_and_beats_what_does_not_change(go2: LeggedConfig, runs: list[WalkRun], trained: WalkEnsemble) -> None:
    learn, held = split_walks(runs, 0.2)
    again, history = train_walk(learn, held, go2.n, 0.02, GaitClock.of(go2), SMALL)
    assert all(torch.equal(a, b) for a, b in zip(trained.state_dict().values(), again.state_dict().values(), strict=True))
    assert history.holdout[-1] < history.holdout[0]
    errors = velocity_errors(trained, held, 10)
    x, _ = windows(held, 10, every=5)
    still = torch.sqrt(((x[:, 1:] - x[:, :1])[..., [3, 4, 8]] ** 2).mean(0)).numpy()
    assert (errors[[0, 3], :2] < 0.9 * still[[0, 3], :2]).all()


def test_the_plan_step_rolls_out_as_the_members_do(go2: LeggedConfig, runs: list[WalkRun], trained: WalkEnsemble) -> None:
    """One sample in each member's group, and a temperature so low that the best of them is all that is left."""
    horizon, e = 12, trained.config.members
    step = WalkPlanStep(trained, list(WALK_COST_TERMS.values()), stride_steps(trained))
    x, u = as_tensor(runs[0].x[30]), 0.3 * torch.randn(horizon, e, 5, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(len(WALK_COST_TERMS))
    with torch.no_grad():
        found = step(x, torch.zeros(3), torch.tensor(float(horizon)), torch.zeros(horizon, 5), u, weights, torch.tensor(1e-9))
        best = int(found[4].argmin())
        states = trained.roll(x.expand(e, 1, -1), u.transpose(0, 1).unsqueeze(1))[best, 0]
    np.testing.assert_allclose(found[1][1:].numpy(), states.numpy(), atol=2e-4)
    np.testing.assert_allclose(found[0].numpy(), states[:, learned_size(go2.n) : -2].numpy(), atol=1e-5)
    assert found[2] @ weights == pytest.approx(float(found[4].min()), rel=1e-4)


def test_beyond_its_trust_a_plan_goes_on_as_the_one_before(trained: WalkEnsemble, runs: list[WalkRun]) -> None:
    step = WalkPlanStep(trained, list(WALK_COST_TERMS.values()), stride_steps(trained))
    x, mean = as_tensor(runs[0].x[30]), torch.full((12, 5), 0.01)
    mean[0] = x[-7:-2]  # from where the strides are, so that nothing limits it
    noise = 0.001 * torch.randn(12, 8, 5, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        out = step(x, torch.zeros(3), torch.tensor(4.0), mean, noise, torch.ones(len(WALK_COST_TERMS)), torch.tensor(1.0))[0]
    assert not torch.allclose(out[:4], mean[:4], atol=1e-6)
    torch.testing.assert_close(out[-3:], mean[-3:])


def rollout(**changes: object) -> WalkRollout:
    h, k = 20, 3
    still = {
        "up": np.tile([0.0, 0.0, 1.0], (h, k, 1)), "velocity": np.zeros((h, k, 3)), "rate": np.zeros((h, k, 3)), "turn": np.zeros((h, k)),
        "u": np.zeros((h, k, 5)), "u_before": np.zeros(5), "most": np.full(5, 0.5), "wanted": np.zeros(3), "stride": 17,
        "disagreement": np.zeros((5, k)),
    }  # fmt: skip
    return WalkRollout(**(still | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(WALK_COST_TERMS))
def test_a_walk_that_does_as_it_shall_costs_nothing(name: str) -> None:
    np.testing.assert_array_equal(WALK_COST_TERMS[name](rollout(), np), np.zeros(3))


def test_costs_are_what_they_say() -> None:
    h, k = 20, 3
    slow = rollout(wanted=np.array([0.1, 0.0, 0.0]))
    np.testing.assert_allclose(WALK_COST_TERMS["velocity"](slow, np), 1.1)
    sway = np.zeros((h, k, 3))
    sway[:, :, 1] = 0.1 * np.sin(2 * np.pi * np.arange(h) / 17)[:, None]
    assert (WALK_COST_TERMS["velocity"](rollout(velocity=sway), np) < 0.1).all()  # a trot's own
    tilted = np.tile([0.0, 0.6, 0.8], (h, k, 1))
    np.testing.assert_allclose(WALK_COST_TERMS["fall"](rollout(up=tilted), np), 1.0)
    sinking = np.tile([0.0, 0.0, -0.6], (h, k, 1))
    np.testing.assert_allclose(WALK_COST_TERMS["fall"](rollout(velocity=sinking), np), 1.0)
    np.testing.assert_allclose(WALK_COST_TERMS["posture"](rollout(rate=np.tile([1.0, 0.0, 5.0], (h, k, 1))), np), 1.0)
    far = np.zeros((h, k, 5))
    far[..., 3] = 0.5
    np.testing.assert_allclose(WALK_COST_TERMS["landing"](rollout(u=far), np), 1.0)
    np.testing.assert_allclose(WALK_COST_TERMS["smoothness"](rollout(u=far), np), 1.0)  # one step up, then none
    np.testing.assert_allclose(WALK_COST_TERMS["disagreement"](rollout(disagreement=np.full((5, k), 0.2)), np), 0.2)


def test_a_bundle_gives_its_ensemble_back(bundle: Path, go2: LeggedConfig, trained: WalkEnsemble) -> None:
    again = read_walk_ensemble(bundle, go2)
    assert all(torch.equal(a, b) for a, b in zip(trained.state_dict().values(), again.state_dict().values(), strict=True))


def edited(bundle: Path, folder: Path, key: str, value: object) -> Path:
    import shutil

    shutil.copytree(bundle, folder)
    data = yaml.safe_load((folder / "manifest.yaml").read_text())
    data[key] = value
    (folder / "manifest.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return folder


def test_a_bundle_that_does_not_fit_is_refused(bundle: Path, go2: LeggedConfig, tmp_path: Path) -> None:
    assert load_walk_bundle(bundle, go2).manifest.plan.horizon == 25
    heavier = go2.model_copy(update={"mass": 18.0})
    with pytest.raises(BundleRefused, match=r"contract\.mass"):
        load_walk_bundle(bundle, heavier)
    with pytest.raises(BundleRefused, match="action_layout"):
        load_walk_bundle(edited(bundle, tmp_path / "a", "action_layout", ["forward", "turn", "sideways", "landing_forward", "landing_sideways"]), go2)
    with pytest.raises(BadInput, match="kind"):
        load_walk_bundle(edited(bundle, tmp_path / "b", "kind", "arm"), go2)
    altered = edited(bundle, tmp_path / "c", "version", "1")
    (altered / "training.npz").write_bytes(b"PK")
    with pytest.raises(BundleRefused, match="sha256"):
        load_walk_bundle(altered, go2)
    with pytest.raises(BundleRefused, match="sha256"):
        read_walk_ensemble(altered, go2)
