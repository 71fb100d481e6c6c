"""Datasets, ensemble, training and export."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
import yaml

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import load_bundle
from taustack.controllers.costs import COST_TERMS
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.manifest import DataSource, RobotContract
from taustack.models.dataset import Run, read_dataset, write_dataset
from taustack.models.ensemble import DynamicsEnsemble, EnsembleConfig
from taustack.models.export import DYNAMICS_OUTPUTS, PARITY, export_graph, write_bundle
from taustack.models.mppi_update import limited
from taustack.models.plan_step import INPUTS, OUTPUTS, MPPIPlanStep
from taustack.models.train_dynamics import TrainConfig, open_loop_errors, split_by_run, train
from taustack.obstacles import Obstacle, obstacle_rows
from taustack.rollout import ActionBounds
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter, or the reading of bags, three times as slow

SMALL = TrainConfig(ensemble=EnsembleConfig(members=3, width=32), epochs=6, batch=64, checkpoint_every=2)


@pytest.fixture(scope="module")
def runs(robot: RobotConfig) -> list[Run]:
    return [collect_run(robot, Scenario(), 12.0, seed) for seed in range(3)]


@pytest.fixture
def dataset(tmp_path: Path, runs: list[Run], robot: RobotConfig) -> Path:
    write_dataset(tmp_path / "data", runs, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="nominal", seed=0)
    return tmp_path / "data"


def revolute(robot: RobotConfig) -> tuple[bool, ...]:
    return tuple(joint.kind == "prismatic" for joint in robot.joints)


def test_collected_motion_keeps_the_limits_and_covers_the_joints(runs: list[Run], robot: RobotConfig) -> None:
    x = np.concatenate([run.x for run in runs])
    assert np.all(np.abs(x[:, 7:14]) <= robot.limits("velocity"))
    assert np.all((x[:, :7] >= robot.q_min) & (x[:, :7] <= robot.q_max))
    assert np.all(np.abs(x[:, 7:14]).max(0) > 0.3 * robot.limits("velocity"))
    for run in runs:
        np.testing.assert_allclose(run.x[1:, 21:28], run.u, atol=1e-12)


def test_collecting_is_repeatable(robot: RobotConfig) -> None:
    one, two, other = (collect_run(robot, Scenario(), 1.0, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one.x, two.x)
    assert not np.array_equal(one.x, other.x)


def test_a_dataset_comes_back_as_it_was_written(dataset: Path, runs: list[Run]) -> None:
    card, read = read_dataset(dataset)
    assert len(card.runs) == 3
    assert card.minutes == pytest.approx(0.6)
    np.testing.assert_allclose(read[1].x, runs[1].x, atol=1e-6)


def test_damaged_datasets_are_refused_by_name(dataset: Path) -> None:
    path = dataset / "run_001.npz"
    good = path.read_bytes()
    path.write_bytes(good[:-1] + b"x")
    with pytest.raises(BadInput, match=r"run_001.npz: sha256"):
        read_dataset(dataset)
    path.unlink()
    with pytest.raises(BadInput, match=r"run_001.npz"):
        read_dataset(dataset)
    card = yaml.safe_load((dataset / "dataset.yaml").read_text())
    card["runs"] = {"../run_000.npz": "0" * 64}
    (dataset / "dataset.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(BadInput, match="a file in the dataset's folder"):
        read_dataset(dataset)
    with pytest.raises(BadInput, match="no such file"):
        read_dataset(dataset / "nowhere")


def test_one_run_cannot_be_split(runs: list[Run]) -> None:
    with pytest.raises(BadInput, match="at least 2"):
        split_by_run(runs[:1], 0.1)


def test_the_hold_out_is_whole_runs(runs: list[Run]) -> None:
    kept, held = split_by_run(runs, 0.3)
    assert [id(run) for run in kept + held] == [id(run) for run in runs]


def test_training_learns_what_perfect_tracking_does_not_explain(runs: list[Run], robot: RobotConfig, chain: KinematicChain, tmp_path: Path) -> None:
    config = TrainConfig(ensemble=EnsembleConfig(members=3, width=64), epochs=60, batch=128)
    lag = [collect_run(robot, Scenario(reference_lag_s=0.06), 30.0, seed) for seed in range(6)]
    model, history = train(lag, revolute(robot), 0.02, config, tmp_path / "c.pt")
    errors = open_loop_errors(model, split_by_run(lag, config.holdout)[1], chain, 25)
    assert errors["model"] < 0.5 * errors["perfect_tracking"]
    assert errors["model"] < 0.5 * errors["constant_error"]
    assert history.holdout_mse[-1] < history.holdout_mse[0]


def test_training_is_deterministic_and_resumes_to_the_same_model(runs: list[Run], robot: RobotConfig, tmp_path: Path) -> None:
    whole, _ = train(runs, revolute(robot), 0.02, SMALL, tmp_path / "whole.pt")

    class Killed(Exception):
        pass

    def kill(epoch: int, _: object) -> None:
        if epoch == 5:
            raise Killed

    with pytest.raises(Killed):
        train(runs, revolute(robot), 0.02, SMALL, tmp_path / "cut.pt", kill)
    seen: list[int] = []
    resumed, history = train(runs, revolute(robot), 0.02, SMALL, tmp_path / "cut.pt", lambda epoch, _: seen.append(epoch))
    assert seen == [5, 6]
    assert len(history.train_nll) == 6
    for one, two in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, two)


def test_members_differ_and_disagreement_is_larger_away_from_the_data(runs: list[Run], robot: RobotConfig, tmp_path: Path) -> None:
    model, _ = train(runs, revolute(robot), 0.02, SMALL, tmp_path / "c.pt")
    x = torch.tensor(runs[-1].x[:-1], dtype=torch.float32)
    u = torch.tensor(runs[-1].u, dtype=torch.float32)

    def disagreement(x: torch.Tensor, u: torch.Tensor) -> float:
        e = model.config.members
        mean, *_ = model.members(x.expand(e, -1, -1), u.expand(e, -1, -1))
        return float(mean.std(0).mean())

    with torch.no_grad():
        assert disagreement(x, u) > 0
        far = x.clone()
        far[:, 7:14] *= 8.0
        assert disagreement(far, u) > 2 * disagreement(x, u)


@pytest.fixture(scope="module")
def untrained(robot: RobotConfig, runs: list[Run]) -> DynamicsEnsemble:
    torch.manual_seed(0)
    model = DynamicsEnsemble(revolute(robot), 0.02, EnsembleConfig(members=5, width=32))
    x, u = torch.tensor(runs[0].x, dtype=torch.float32), torch.tensor(runs[0].u, dtype=torch.float32)
    model.set_normalisers(x[:-1], u, x[1:], torch.tensor(runs[0].torque[1:], dtype=torch.float32))
    return model


def test_the_reference_part_of_the_state_follows_from_the_action(untrained: DynamicsEnsemble, runs: list[Run]) -> None:
    x, u = torch.tensor(runs[0].x[:-1], dtype=torch.float32), torch.tensor(runs[0].u, dtype=torch.float32)
    with torch.no_grad():
        mean, std, _ = untrained(x, u)
    gap = np.abs(mean[:, 14:28].numpy() - runs[0].x[1:, 14:28]).max(1)
    # Where the limiter brakes for a position limit the velocity does not run linearly within the step.
    assert np.quantile(gap, 0.9) < 2e-4
    assert gap.max() < 2e-3
    assert float(std[:, 14:28].max()) < 1e-6


def test_dynamics_onnx_agrees_with_torch(untrained: DynamicsEnsemble, robot: RobotConfig, runs: list[Run], tmp_path: Path) -> None:
    x, u = torch.tensor(runs[1].x[:64], dtype=torch.float32), torch.tensor(runs[1].u[:64], dtype=torch.float32)
    path = tmp_path / "dynamics.onnx"
    export_graph(untrained, (x, u), ("x", "u"), DYNAMICS_OUTPUTS, path, {"taustack": RobotContract.of(robot).model_dump_json()}, {"x": "batch", "u": "batch"})
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 7, 64):
        mean, std, torque = session.run(None, {"x": x[:batch].numpy(), "u": u[:batch].numpy()})
        with torch.no_grad():
            expected = untrained(x[:batch], u[:batch])
        assert np.abs(mean - expected[0].numpy()).max() <= PARITY
        assert np.abs(std - expected[1].numpy()).max() <= PARITY
        assert np.abs(torque - expected[2].numpy()).max() <= PARITY * float(expected[2].abs().max())


def plan_module(model: DynamicsEnsemble, robot: RobotConfig, chain: KinematicChain) -> MPPIPlanStep:
    bounds = dataclasses.replace(ActionBounds.of(robot), velocity=robot.limits("velocity"), rate=robot.limits("acceleration") * 0.02)
    return MPPIPlanStep(model, chain, list(COST_TERMS.values()), bounds, robot.clearance, (robot.q_min, robot.q_max))


def example(robot: RobotConfig, samples: int, horizon: int = 8) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(1)
    home = torch.tensor(robot.home, dtype=torch.float32)
    x = torch.cat([home, 0.1 * torch.ones(7), home + 0.01, 0.1 * torch.ones(7)])
    noise = 0.3 * torch.randn(horizon, samples, 7, generator=rng)
    return (
        x,
        torch.tensor([0.5, 0.2, 0.4]),
        home,
        torch.tensor(0.0),
        torch.tensor(float(horizon)),
        torch.zeros(horizon, 7),
        noise,
        torch.ones(len(COST_TERMS)),
        torch.tensor(0.7),
        torch.tensor(obstacle_rows([Obstacle(shape="box", position=(0.5, 0.1, 0.3), size=(0.1, 0.05, 0.3))]), dtype=torch.float32),
    )


def test_the_plan_step_rolls_out_what_the_ensemble_predicts(untrained: DynamicsEnsemble, robot: RobotConfig, chain: KinematicChain) -> None:
    """Each sample keeps its member; normalisers folded into weights change nothing. Checked against a plain loop."""
    step, args = plan_module(untrained, robot, chain), example(robot, samples=10)
    x, mean, noise = args[0], args[5], args[6]
    with torch.no_grad():
        _, states, *_ = step(*args[:8], torch.tensor(1e9), args[9])  # so warm that all samples weigh the same
        u = limited(mean.unsqueeze(1) + noise, x[21:], step.velocity_limit, step.rate_limit)
        state = x.expand(5, 2, -1)
        plain = [x]
        for t in range(noise.shape[0]):
            state, *_ = untrained.members(state, u[t].reshape(5, 2, 7))
            plain.append(state.reshape(10, -1).mean(0))
    np.testing.assert_allclose(states.numpy(), torch.stack(plain).numpy(), atol=2e-5)


def test_past_the_trust_horizon_nothing_is_sampled_and_the_plan_comes_to_rest(untrained: DynamicsEnsemble, robot: RobotConfig, chain: KinematicChain) -> None:
    step, args = plan_module(untrained, robot, chain), example(robot, samples=10)
    with torch.no_grad():
        whole, *_ = step(*args)
        short, *_ = step(*args[:4], torch.tensor(3.0), *args[5:])
    assert float(whole[-1].abs().max()) > 0.05
    np.testing.assert_allclose(short[-1].numpy(), 0.0, atol=1e-6)
    assert float(short[2].abs().max()) > 0.05


def test_the_plan_graph_agrees_with_torch_on_every_output(untrained: DynamicsEnsemble, robot: RobotConfig, chain: KinematicChain, tmp_path: Path) -> None:
    step = plan_module(untrained, robot, chain)
    path = tmp_path / "plan_mppi.onnx"
    args = example(robot, samples=20)
    # The exporter takes a size of one for good: the example has two obstacles.
    two = torch.cat([args[9], args[9] + 0.05])
    about = {"taustack": RobotContract.of(robot).model_dump_json()}
    golden = export_graph(step, (*args[:9], two), INPUTS, OUTPUTS, path, about, {"obstacles": "n_obstacles"})
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for rows in (two, args[9], torch.cat([two, two + 0.1]), torch.tensor(obstacle_rows([]), dtype=torch.float32)):
        with torch.no_grad():
            expected = dict(zip(OUTPUTS, step(*args[:9], rows), strict=True))
        feed = {name: value.numpy() for name, value in zip(INPUTS, (*args[:9], rows), strict=True)}
        for (name, value), found in zip(expected.items(), session.run(None, feed), strict=True):
            scale = max(1.0, float(value.abs().max()))
            assert np.abs(found - value.numpy()).max() / scale <= PARITY
            assert rows is not two or np.array_equal(golden[f"plan_mppi/{name}"], found)


def test_mppi_weights_the_actions_by_the_softmax_of_their_cost(untrained: DynamicsEnsemble, robot: RobotConfig, chain: KinematicChain) -> None:
    step, args = plan_module(untrained, robot, chain), example(robot, samples=20)
    with torch.no_grad():
        mean, _, cost, _, sample_cost, effective, _ = step(*args)
        u = limited(args[5].unsqueeze(1) + args[6], args[0][21:], step.velocity_limit, step.rate_limit)
    share = torch.softmax(-(sample_cost - sample_cost.min()) / 0.7, 0)
    np.testing.assert_allclose(mean.numpy(), (u * share[:, None]).sum(1).numpy(), atol=1e-6)
    assert float(effective) == pytest.approx(float(1 / (share**2).sum()), rel=1e-4)
    assert float(cost.sum()) == pytest.approx(float((sample_cost * share).sum()), rel=1e-4)


def test_a_bundle_is_written_whole_and_passes_its_own_check(
    untrained: DynamicsEnsemble, robot: RobotConfig, task: TaskConfig, chain: KinematicChain, tmp_path: Path
) -> None:
    small = task.model_copy(update={"mppi": task.mppi.model_copy(update={"samples": 20, "horizon": 5})})
    data = DataSource(scenario="nominal", seed=0, minutes=1.0, runs={})
    folder = tmp_path / "registry" / "bundle"
    for version in ("1", "2"):
        write_bundle(folder, untrained, robot, small, chain, COST_TERMS, data=data, metrics={}, name="t", version=version, command="test", seed=0)
        assert load_bundle(folder, robot).manifest.version == version
    assert sorted(path.name for path in folder.parent.iterdir()) == ["bundle"]
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
