"""Temporal difference models: held against what can be reached exactly, and against themselves after a kill."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from taustack.controllers.tdm import read_tdm
from taustack.errors import BadInput, BundleRefused
from taustack.models.tdm.export import write_tdm
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.networks import atom_levels, between_atoms
from taustack.models.tdm.replay import Replay
from taustack.models.tdm.spec import WITHOUT_HINDSIGHT, Relabel, TDMConfig
from taustack.models.tdm.train import Curve, Schedule, train
from taustack.sim.tdm_tasks.double_integrator import DoubleIntegrator, reached
from taustack.tdm_layout import TDMLayout

QUICK = TDMConfig(hidden=(32, 32), batch=32, updates_per_step=1, warmup_steps=100)
Trained = tuple[TDMLearner, Replay, Curve]


@pytest.fixture(scope="module")
def quick() -> Trained:
    """Not trained long enough to be good."""
    return train(DoubleIntegrator(), QUICK, Schedule(steps=300, evaluate_every=150, episodes=3))


@pytest.fixture(scope="module")
def graph(quick: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tdm") / "tdm.onnx"
    write_tdm(path, quick[0], quick[1], "double_integrator")
    return path


def test_the_closed_form_is_what_the_best_pushes_reach() -> None:
    """Against all push sequences of full force one way, then the other, walked step by step."""
    task, rng = DoubleIntegrator(), np.random.default_rng(0)
    for _ in range(50):
        s, _ = task.reset(rng)
        a, tau = rng.uniform(-1, 1, 1), int(rng.integers(0, 10))
        ends = []
        for push in (-1.0, 1.0):
            task._s = s.copy()
            task.step(a)
            for _ in range(tau):
                task.step(np.array([push]))
            ends.append(task._s[0])
        for wanted, expected in ((-99.0, min(ends)), (99.0, max(ends))):
            found = reached(s[None], a[None], np.array([[wanted]]), np.array([float(tau)]), task.layout.dt)
            assert found[0, 0] == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_f_and_q_of_the_double_integrator_are_within_five_per_cent_of_what_can_be_reached() -> None:
    task = DoubleIntegrator()
    learner, _, curve = train(task, DOUBLE_INTEGRATOR, Schedule(steps=2000, evaluate_every=2000))
    s, a, g, tau = grid(task.layout)
    exact = reached(s, a, g, tau, task.layout.dt)
    with torch.no_grad():
        found = learner.f(*(torch.tensor(v, dtype=torch.float32) for v in (s, a, g, tau)))[:, :, 0].mean(0).numpy()
    span = (0.1 * task.layout.tau_max) ** 2  # width of the set reached in tau_max steps
    assert np.sqrt(np.mean((found - exact) ** 2)) <= 0.05 * span
    assert np.sqrt(np.mean((np.abs(g - found) - np.abs(g - exact)) ** 2)) <= 0.05 * span
    assert curve.distance[-1] < 0.05


def test_levels_between_the_atoms_are_on_the_line_through_the_nearest_two() -> None:
    levels = (0.01, 0.1, 0.5, 0.9, 0.99)
    np.testing.assert_allclose(between_atoms(levels).numpy() @ atom_levels().numpy(), levels, atol=1e-6)


@pytest.mark.slow
def test_quantiles_are_met_by_noisy_walks() -> None:
    """A tenth, half and nine tenths of walks under the policy end below them; the whole study is bench/tdm/double_integrator.py."""
    levels, noise = (0.1, 0.5, 0.9), 0.2
    task = DoubleIntegrator(tau_max=4, steps=20, noise=noise)
    config = TDMConfig(
        hidden=(32, 32), updates_per_step=4, learner="ddpg", quantiles=levels, relabel=WITHOUT_HINDSIGHT, final_rates=0.03, held=0.4, warmup_steps=300
    )  # fmt: skip
    learner, _, _ = train(task, config, Schedule(steps=1600, evaluate_every=1600, episodes=1))
    rng, walks, below, width = np.random.default_rng(3), 1500, np.zeros(3), []
    for _ in range(walks):
        s, g = task.reset(rng)
        tau = int(rng.integers(1, 5))
        a = learner.act(s, g, tau)
        with torch.no_grad():
            asked = (torch.tensor(v, dtype=torch.float32)[None] for v in (s, a, g))
            f = learner.f(*asked, torch.tensor([float(tau)]))[0, 0, :, 0].numpy()
        for left in range(tau, -1, -1):
            s = task.step(learner.act(s, g, left))
        below += s[0] <= f
        width.append(f[2] - f[0])
    np.testing.assert_allclose(below / walks, levels, atol=0.1)
    assert 0.05 < np.mean(width) < 0.5


DOUBLE_INTEGRATOR = TDMConfig(hidden=(128, 128), updates_per_step=5, learner="ddpg")


def grid(layout: TDMLayout) -> tuple[np.ndarray, ...]:
    """s, a, g, tau over the range that episodes begin in."""
    axes = (np.linspace(-0.8, 0.8, 5), np.linspace(-0.4, 0.4, 5), np.linspace(-0.9, 0.9, 3), np.linspace(-0.9, 0.9, 9), np.arange(0, layout.tau_max + 1, 3))
    p, v, a, g, tau = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
    return np.stack([p, v], 1), a[:, None], g[:, None], tau.astype(float)


def test_relabelled_goals_come_from_later_on_the_same_path() -> None:
    task = DoubleIntegrator(steps=8)
    replay, rng = Replay(task.layout, 3, 8), np.random.default_rng(0)
    for path in range(3):
        replay.begin(np.array([100.0 * path, 0.0]), np.array([-7.0]))
        for t in range(8):
            replay.add(np.array([0.0]), np.array([100.0 * path + t + 1, 0.0]), 3)
    batch = replay.sample(2000, Relabel(future=1.0, buffer=0.0), rng)
    here = batch.s_next[:, 0]
    assert (batch.g[:, 0] >= here).all()
    assert (batch.g[:, 0] // 100 == here // 100).all()
    assert set(batch.tau.astype(int)) == set(range(task.layout.tau_max + 1))
    kept = replay.sample(500, None, rng)
    assert (kept.g == -7.0).all()
    assert (kept.tau == 3).all()
    shares = replay.sample(5000, Relabel(future=0.5, buffer=0.25), rng)
    assert np.mean(shares.g == -7.0) == pytest.approx(0.25, abs=0.03)


def test_a_batch_of_nothing_is_refused() -> None:
    replay = Replay(DoubleIntegrator().layout, 1, 5)
    with pytest.raises(BadInput, match="no transition"):
        replay.sample(1, None, np.random.default_rng(0))


def test_f_stays_a_state_in_metres_whatever_the_losses_are_scaled_by(quick: Trained) -> None:
    """Untrained, f is where the state is: the residual begins at zero, in physical units."""
    learner = TDMLearner(DoubleIntegrator().layout, QUICK)
    learner.fit_normaliser(*quick[1].transitions())
    s = torch.tensor([[0.7, 0.1]])
    f = learner.f(s, torch.zeros(1, 1), torch.tensor([[-0.9]]), torch.tensor([15.0]))
    assert float((f.detach() - 0.7).abs().max()) < 0.05


def test_the_same_seed_gives_the_same_networks_and_another_does_not(quick: Trained) -> None:
    again, _, _ = train(DoubleIntegrator(), QUICK, Schedule(steps=300, evaluate_every=150, episodes=3))
    other, _, _ = train(DoubleIntegrator(), dataclasses.replace(QUICK, seed=1), Schedule(steps=300, evaluate_every=150, episodes=3))
    for name, value in quick[0].state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(quick[0].reach.net.weights[0], other.reach.net.weights[0])


def test_the_policy_stays_while_f_goes_on_to_describe_it(quick: Trained) -> None:
    """In the held share of a training, at rates that fall anew."""
    learner, rng = TDMLearner(quick[0].layout, dataclasses.replace(QUICK, held=0.25, final_rates=0.01)), np.random.default_rng(0)
    learner.load_state_dict(quick[0].state_dict())
    parts = (learner.policy, learner.reach, learner.target_policy)

    def moved(done: float) -> list[bool]:
        before = [[p.detach().clone() for p in part.parameters()] for part in parts]
        learner.learn(quick[1].sample(QUICK.batch, QUICK.relabel, rng), done)
        return [any(not torch.equal(p, q) for p, q in zip(part.parameters(), old, strict=True)) for part, old in zip(parts, before, strict=True)]

    assert moved(0.75) == [True, True, True]
    assert learner.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.01 * QUICK.critic_rate)
    assert moved(0.76) == [False, True, True]  # targets still follow
    assert learner.critic_optimiser.param_groups[0]["lr"] == pytest.approx(0.01**0.04 * QUICK.critic_rate)


def test_a_training_that_was_killed_goes_on_to_the_same_end(quick: Trained, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(step: int, _: Curve) -> None:
        if step == 200:
            raise Killed

    schedule = Schedule(steps=300, evaluate_every=150, episodes=3)
    with pytest.raises(Killed):
        train(DoubleIntegrator(), QUICK, schedule, tmp_path / "checkpoint.pt", kill)
    seen: list[int] = []
    learner, _, curve = train(DoubleIntegrator(), QUICK, schedule, tmp_path / "checkpoint.pt", lambda step, _: seen.append(step))
    assert seen[0] == 151
    assert curve.distance == quick[2].distance
    for name, value in quick[0].state_dict().items():
        assert torch.equal(value, learner.state_dict()[name]), name


def test_the_graph_says_what_the_networks_say(quick: Trained, graph: Path) -> None:
    """Parity of 1e-5 is demanded by the export itself, for a batch; here for one, through the robot's own reader."""
    learner, tdm = quick[0], read_tdm(graph)
    s, a, g, tau = (v[:1] for v in grid(learner.layout))
    f, q = tdm.reach(s, a, g, tau)
    with torch.no_grad():
        expected = learner.f(*(torch.tensor(v, dtype=torch.float32) for v in (s, a, g, tau))).mean(0).numpy()
    np.testing.assert_allclose(f, expected, atol=1e-5)
    np.testing.assert_allclose(q, -np.abs(g - f[:, 0]), atol=1e-6)
    np.testing.assert_allclose(tdm.act(s, g, tau)[0], learner.act(s[0], g[0], int(tau[0])), atol=1e-5)
    assert tdm.contract.layout == learner.layout
    assert tdm.known(np.array([[0.0], [50.0]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"tau": [16.0]}, "tau: got 16.0, expected 0 to 15 steps"),
        ({"tau": [-1.0]}, "tau: got -1.0"),
        ({"g": [[0.0, 0.0]]}, r"g: got shape \(1, 2\), expected \(1, 1\)"),
        ({"s": [[np.nan, 0.0]]}, "s: got NaN"),
        ({"a": [[np.inf]]}, "a: got NaN or infinite"),
    ],
)
def test_what_a_model_cannot_answer_is_refused(graph: Path, change: dict[str, list[float]], part: str) -> None:
    feed = {"s": [[0.0, 0.0]], "a": [[0.0]], "g": [[0.5]], "tau": [3.0]} | change
    with pytest.raises(BadInput, match=part):
        read_tdm(graph).reach(*(np.array(feed[name]) for name in ("s", "a", "g", "tau")))


def test_what_is_no_model_is_refused(graph: Path, tmp_path: Path, project: Path) -> None:
    with pytest.raises(BundleRefused, match="no such file"):
        read_tdm(tmp_path / "none.onnx")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(BundleRefused, match="an ONNX graph"):
        read_tdm(cut)
    dynamics = next((project / "robots").glob("*/bundle/dynamics.onnx"))
    with pytest.raises(BundleRefused, match="the contract of a temporal difference model"):
        read_tdm(dynamics)


@pytest.mark.parametrize("change", [{"goal": ("z",)}, {"action_limit": (1.0, 2.0)}, {"tau_max": 0}, {"dt": 0.0}])
def test_a_layout_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TDMLayout.model_validate(DoubleIntegrator().layout.model_dump() | change)
