"""The search over chains as a graph, and bundles with it. The networks are untrained: f begins from free motion, which is exact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from taustack.cli import main
from taustack.config import RobotConfig
from taustack.controllers.bundle import load_bundle
from taustack.controllers.session import cpu_session
from taustack.errors import BadInput, BundleRefused
from taustack.kinematics import KinematicChain
from taustack.models.tdm.bundle import CARD, join, write_for_bundles
from taustack.models.tdm.chain_step import ChainStep
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.replay import Replay
from taustack.models.tdm.spec import TDMConfig
from taustack.obstacles import Obstacle, capsule_distances, obstacle_rows
from taustack.tdm_arm import at_rest, joint_state, layout_of
from taustack.tdm_layout import ChainSpec

SPEC = ChainSpec(links=2, samples=16, rounds=3, elites=4, taus=(2, 5, 9))
HOME = np.array([0.0, 0.0, 0.0, -1.57079, 0.0, 1.57079, -0.7853])


@pytest.fixture(scope="module")
def learner(robot: RobotConfig) -> TDMLearner:
    return TDMLearner(layout_of(robot, 9), TDMConfig(hidden=(8, 8)))


@pytest.fixture(scope="module")
def step(robot: RobotConfig, chain: KinematicChain, learner: TDMLearner) -> ChainStep:
    return ChainStep(learner, chain, SPEC, robot.clearance, (robot.q_min, robot.q_max))


@pytest.fixture(scope="module")
def written(robot: RobotConfig, chain: KinematicChain, learner: TDMLearner, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tdm")
    rng, home = np.random.default_rng(0), robot.home
    replay = Replay(learner.layout, 4, 12)
    for _ in range(4):
        q = home + 0.1 * rng.normal(size=(13, robot.n)).cumsum(0)
        replay.begin(np.asarray(at_rest(q[0])), q[-1])
        for t in range(12):
            replay.add(np.zeros(robot.n), np.asarray(at_rest(q[t + 1])), 9)
    write_for_bundles(folder, learner, replay, robot, chain, SPEC, "untrained", "a test")
    return folder


def tensors(*values: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=torch.float32) for value in values]


@torch.no_grad()
def test_least_squares_brings_the_tip_to_the_goal(step: ChainStep, chain: KinematicChain) -> None:
    goal = chain.position(HOME + 0.25)
    (q, wanted) = tensors(np.tile(HOME, (5, 1)), goal)
    for _ in range(8):
        q = step._nearer(q, wanted)
    np.testing.assert_allclose(chain.position(q.double().numpy()), np.tile(goal, (5, 1)), atol=2e-3)


@torch.no_grad()
def test_time_is_that_of_the_slowest_joint_and_what_cannot_be_made_in_it_is_missing(step: ChainStep, learner: TDMLearner) -> None:
    layout = learner.layout
    assert layout.free_motion is not None
    limit, bound = layout.action_limit[0], layout.free_motion.acceleration[0]
    for turn in (0.8, 1.4):
        end = HOME.copy()
        end[0] += turn
        x, chain = tensors(np.concatenate([HOME, 0 * HOME, HOME, 0 * HOME]), end[None, None])
        f = step.links(joint_state(x, torch), chain)[:, :, :, 0]
        times, short = step.times(x[None, None, :7], chain, f)
        exact = (turn - 0.05) / limit + 0.5 * limit / bound
        assert -0.05 < float(times) - exact < 0.25  # what is left is taken as linear between two looks, so that the time is rather long
        assert float(short) == 0.0
    far = HOME.copy()
    far[0] += 2.6
    x, chain = tensors(np.concatenate([HOME, 0 * HOME, HOME, 0 * HOME]), far[None, None])
    f = step.links(joint_state(x, torch), chain)[:, :, :, 0]
    _, short = step.times(x[None, None, :7], chain, f)
    assert float(short) == pytest.approx(2.6 - 0.05 - (limit * (1.0 - 0.5 * limit / bound)), abs=0.08)


@torch.no_grad()
def test_depth_begins_at_the_margin_and_is_one_at_contact(step: ChainStep, chain: KinematicChain) -> None:
    """Against the capsules' own distance, for a sphere that is brought nearer."""
    rows = obstacle_rows([Obstacle(shape="sphere", position=(0.9, 0.0, 0.6), size=(0.05,))])
    ends = chain.of_capsules.components(HOME[:, None])
    apart = float(capsule_distances(ends, np.array(chain.capsules), rows).min())
    for gap in (0.05, 0.02, 0.0):
        rows[0, 0] = 0.9 - apart + gap
        (q, obstacles) = tensors(HOME[None], rows)
        found = float(step.depth(q, obstacles, torch.tensor(0.04)))
        assert (found > 0) == (gap < 0.04)
        if gap == 0.0:
            assert 0.8 < found < 6.0  # several capsules meet there


def test_the_graph_takes_any_number_of_obstacles_and_says_when_one_is_touched(written: Path, robot: RobotConfig, chain: KinematicChain) -> None:
    session = cpu_session((written / "plan_tdm.onnx").read_bytes())
    goal = chain.position(robot.home + 0.3)
    rng = np.random.default_rng(0)
    over_the_tip = Obstacle(shape="sphere", position=tuple(float(v) for v in chain.position(robot.home)), size=(0.15,))
    far = Obstacle(shape="sphere", position=(0.0, 5.0, 0.0), size=(0.1,))
    for obstacles, touches in (([], False), ([far], False), ([far] * 3, False), ([far, over_the_tip], True)):
        feed = {
            "x": np.concatenate([robot.home, 0 * robot.home, robot.home, 0 * robot.home]), "goal": goal, "mean": np.tile(robot.home, (2, 1)),
            "deviation": np.full((2, 7), 0.2), "noise": rng.normal(size=(3, 16, 2, 7)), "obstacles": obstacle_rows(obstacles), "margin": 0.05,
        }  # fmt: skip
        q, places, times, left, spread, touching, cost = session.run(None, {name: np.asarray(value, np.float32) for name, value in feed.items()})
        np.testing.assert_allclose(chain.position(q.astype(float)), places, atol=1e-4)
        assert times.shape == (2,)
        assert float(left) < 0.05 or touches
        assert float(spread) < 1e-4
        assert (float(touching) > 0) == touches
        assert np.isfinite(cost)


def test_a_joined_bundle_is_verified_whole_and_the_model_can_be_taken_on_to_the_next(
    written: Path, robot: RobotConfig, bundle_copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "join", str(bundle_copy), str(written), "--out", str(tmp_path / "joined")]) == 0
    joined = load_bundle(tmp_path / "joined", robot)
    assert joined.manifest.tdm is not None
    assert joined.manifest.tdm.chain == SPEC
    again = join(bundle_copy, tmp_path / "joined", tmp_path / "again")
    assert again.files == joined.manifest.files
    (tmp_path / "again" / "plan_tdm.onnx").write_bytes(b"other")
    with pytest.raises(BundleRefused, match=r"plan_tdm\.onnx.*sha256"):
        load_bundle(tmp_path / "again", robot)


def test_a_joined_bundle_is_held_to_the_robot_beside_the_one_it_was_made_of(
    written: Path, robot_copy: Callable[[Callable[[dict[str, Any]], Any]], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weaker = robot_copy(lambda data: data["joints"][0].update(torque=80.0))
    assert main(["models", "join", str(weaker / "bundle"), str(written), "--out", str(tmp_path / "joined")]) == 2
    assert "torque_limit" in capsys.readouterr().err


def test_an_altered_training_or_one_of_another_robot_is_not_joined(written: Path, bundle_copy: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(written, tmp_path / "copy"))
    (copy / "tdm.onnx").write_bytes(b"other")
    with pytest.raises(BadInput, match=r"tdm\.onnx.*sha256"):
        join(bundle_copy, copy, tmp_path / "joined")
    other = Path(shutil.copytree(written, tmp_path / "other"))
    (other / CARD).write_text((other / CARD).read_text().replace("robot: panda", "robot: fr3"))
    with pytest.raises(BadInput, match=r"robot.*fr3"):
        join(bundle_copy, other, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


@torch.no_grad()
def test_the_policy_of_free_motion_comes_where_its_f_says(robot: RobotConfig) -> None:
    """Walked step by step, from anywhere to anywhere; a velocity limit within a step, which f knows and a step does not, is the difference."""
    learner, rng, dt = TDMLearner(layout_of(robot, 15), TDMConfig(hidden=(8,))), np.random.default_rng(0), 0.1
    free = learner.policy.free
    assert free is not None
    start, g = (torch.tensor(rng.uniform(robot.q_min, robot.q_max, (200, robot.n)), dtype=torch.float32) for _ in range(2))
    for tau in (3, 9, 15):
        q, dq = start.clone(), torch.zeros_like(start)
        for left in range(tau, -1, -1):
            s = torch.cat([torch.sin(q), torch.cos(q), dq, 0 * q, dq, q], 1)
            a = free.towards(s, g, torch.full((200,), float(left)))
            if left == tau:
                said = free(s, a, g, torch.full((200,), float(tau)))
            q, dq = q + 0.5 * dt * (dq + a), a
        torch.testing.assert_close(q, said, atol=0.02, rtol=0.0)
