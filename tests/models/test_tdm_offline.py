"""Temporal difference models of the joints: what f begins from, and learning from runs alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.models.dataset import Run
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.networks import Free, first_twin
from taustack.models.tdm.offline import paths_of, train_offline
from taustack.models.tdm.spec import TDMConfig
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario
from taustack.sim.tdm_tasks.arm import ArmReach
from taustack.tdm_arm import at_rest, joint_state, layout_of, reach_layout
from taustack.tdm_layout import TDMLayout

DT = 0.02
QUICK = TDMConfig(hidden=(16, 16), batch=32, final_rates=0.1)


@pytest.fixture(scope="module")
def runs(robot: RobotConfig) -> list[Run]:
    return [collect_run(robot, Scenario(), 4.0, seed) for seed in range(2)]


def test_free_motion_is_where_a_reference_at_its_limits_comes(robot: RobotConfig) -> None:
    """Against references that are ramped step by step at full acceleration, one way and the other."""
    layout = layout_of(robot, 12)
    assert layout.free_motion is not None
    free, rng = Free(layout, layout.free_motion), np.random.default_rng(0)
    limit, bound = np.array(layout.action_limit), np.array(layout.free_motion.acceleration)
    for _ in range(30):
        v, a, tau = rng.uniform(-limit, limit), rng.uniform(-limit, limit), int(rng.integers(0, 13))
        s = np.concatenate([np.zeros(4 * robot.n), v, np.zeros(robot.n)])
        for way in (-1.0, 1.0):
            q, dq, fine = np.zeros(robot.n), v, 200
            for step in range((tau + 1) * fine):
                h = layout.dt / fine
                first = v + np.clip(a - v, -bound * layout.dt, bound * layout.dt) * (step + 1) / fine
                wanted = first if step < fine else np.clip(dq + way * bound * h, -limit, limit)
                q, dq = q + 0.5 * h * (dq + wanted), wanted
            found = free(*(torch.tensor(value[None], dtype=torch.float32) for value in (s, a, np.full(robot.n, 99.0 * way))), torch.tensor([float(tau)]))
            np.testing.assert_allclose(found[0].numpy(), q, atol=5e-3)


def test_states_at_rest_are_those_of_a_robot_that_stands(robot: RobotConfig) -> None:
    q = robot.home
    np.testing.assert_array_equal(joint_state(np.concatenate([q, 0 * q, q, 0 * q])), at_rest(q))
    assert at_rest(q).shape == (len(layout_of(robot, 5).state),)


def test_paths_begin_at_every_control_step_and_hold_what_was_done(robot: RobotConfig, runs: list[Run]) -> None:
    layout = layout_of(robot, 15)
    replay = paths_of(runs, layout, DT)
    s, s_next = replay.transitions()
    assert 0.8 * sum(len(run.u) for run in runs) < len(s) <= sum(len(run.u) for run in runs)
    n = robot.n
    np.testing.assert_allclose(s[0, -n:], runs[0].x[0, :n], atol=1e-6)
    np.testing.assert_allclose(s_next[0, -n:], runs[0].x[5, :n], atol=1e-6)
    np.testing.assert_allclose(replay.a[0, 0], runs[0].x[5, 3 * n :], atol=1e-6)


def test_runs_shorter_than_tau_are_refused_with_the_length_they_need(robot: RobotConfig, runs: list[Run]) -> None:
    short = [dataclasses.replace(run, x=run.x[:50], u=run.u[:49]) for run in runs]
    with pytest.raises(BadInput, match=r"0\.98 s in the longest of 2.*at least 1\.70 s"):
        paths_of(short, layout_of(robot, 15), DT)
    with pytest.raises(BadInput, match="longest of 0"):
        paths_of([], layout_of(robot, 15), DT)


def test_learning_from_runs_is_the_same_by_seed_and_after_a_kill(robot: RobotConfig, runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taustack.models.tdm.offline.LOOK_EVERY", 40)
    layout = layout_of(robot, 10)
    replay = paths_of(runs, layout, DT)
    whole, curve = train_offline(replay, layout, QUICK, 100)
    assert curve.distance[-1] < curve.distance[0]

    class Killed(Exception):
        pass

    def kill(update: int, _: object) -> None:
        if update == 70:
            raise Killed

    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Killed):
        train_offline(replay, layout, QUICK, 100, checkpoint, "data", kill)
    seen: list[int] = []
    resumed, _ = train_offline(replay, layout, QUICK, 100, checkpoint, "data", lambda update, _: seen.append(update))
    assert seen[0] == 41
    for ours, theirs in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)


def test_one_twin_alone_says_what_it_said_among_both(robot: RobotConfig) -> None:
    layout = layout_of(robot, 5)
    learner = TDMLearner(layout, TDMConfig(hidden=(8, 8)))
    ns, ng, na = layout.sizes
    rng = torch.Generator().manual_seed(0)
    batch = [torch.randn(3, size, generator=rng) for size in (ns, na, ng)]
    tau = torch.tensor([0.0, 2.0, 5.0])
    assert torch.allclose(first_twin(learner.reach)(*batch, tau, batch[2])[0], learner.f(*batch, tau)[0], atol=1e-6)


def test_goals_that_are_places_begin_from_where_free_joints_carry_the_tip(robot: RobotConfig, chain: KinematicChain) -> None:
    """Against the plant: the f of an untrained network is where the arm comes that does what its policy wants, but for a lag of the way."""
    task, rng = ArmReach(robot), np.random.default_rng(0)
    layout, n, tau = task.layout, robot.n, 7
    assert TDMLayout.model_validate_json(layout.model_dump_json()) == layout
    learner = TDMLearner(layout, TDMConfig(hidden=(8,)))
    with torch.no_grad():  # it wants the same of each joint whatever the goal
        learner.policy.net.weights[-1].zero_()
        learner.policy.net.biases[-1].copy_(torch.tensor(rng.uniform(-0.2, 0.2, n)))
    for _ in range(5):
        s, g = task.reset(rng)
        asked = [torch.tensor(v, dtype=torch.float32)[None] for v in (s, g)]
        with torch.no_grad():
            a, wanted = (v[0].double().numpy() for v in learner.policy.decide(*asked, torch.tensor([float(tau)])))
            given = [torch.tensor(v, dtype=torch.float32)[None] for v in (s, a, wanted)]
            f = learner.reach.known(given[0], given[1], torch.tensor([float(tau)]), given[2])[0].numpy()
        np.testing.assert_allclose(a, (wanted - s[-3 - n : -3]) / (layout.dt * (tau + 0.5)), atol=1e-5)  # at rest, and slow enough
        begun = s[-3:]
        for left in range(tau, -1, -1):
            s = task.step((wanted - s[-3 - n : -3]) / (layout.dt * (left + 0.5)))
        np.testing.assert_allclose(f, chain.position(wanted), atol=1e-5)
        assert np.linalg.norm(f - s[-3:]) < 0.15 * np.linalg.norm(f - begun)


def test_a_chain_that_does_not_fit_is_refused_by_key(robot: RobotConfig, chain: KinematicChain) -> None:
    layout = reach_layout(robot, chain, 5).model_dump()
    layout["free_motion"]["tip"]["joints"] = layout["free_motion"]["tip"]["joints"][1:]
    with pytest.raises(ValueError, match="one joint for each action, and goals of x, y, z"):
        TDMLayout.model_validate(layout)
