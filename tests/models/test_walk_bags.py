"""Bags of a robot on legs to walks: on the grid, with what says nothing true cut out and named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from taustack.errors import BadInput
from taustack.legged import LeggedConfig, load_legged
from taustack.legged_layout import layout
from taustack.models.ensemble import EnsembleConfig
from taustack.models.from_bags import TO_LEARN, WHOLE, Cut
from taustack.models.walk_dataset import WalkRun, write_walks
from taustack.models.walk_dynamics import GaitClock, WalkEnsemble, as_tensor
from taustack.retraining.walk_bags import WalkHarvest, walks_of
from taustack.retraining.walk_data import gather_walks
from taustack.sim.legged_evaluate import WalkSpec, walk
from taustack.sim.walk_log import WalkLog, write_walk_log

DT = 0.02


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


@pytest.fixture(scope="module")
def log(go2: LeggedConfig) -> WalkLog:
    """A walk to a goal, by the law with feedback."""
    done = walk(WalkSpec(robot=go2.folder, task="goal", scenario="nominal", planner="feedback", seed=9, index=0, log=True))
    assert done.log is not None
    return done.log


def harvested(folder: Path, go2: LeggedConfig, *logs: WalkLog, lengths: Cut = TO_LEARN) -> tuple[list[WalkRun], WalkHarvest]:
    write_walk_log(folder, go2, logs, {"scenario": "nominal"})
    harvest = WalkHarvest()
    return list(walks_of([folder], go2, harvest, lengths)), harvest


def changed(log: WalkLog, first: int, last: int, **fields: object) -> WalkLog:
    """With other values in some states."""
    states = [(tick, dataclasses.replace(state, **fields) if first <= i < last else state) for i, (tick, state) in enumerate(log.states)]  # type: ignore[arg-type]
    return dataclasses.replace(log, states=states)


def test_a_walk_comes_back_as_the_planner_saw_it(go2: LeggedConfig, log: WalkLog, tmp_path: Path) -> None:
    runs, harvest = harvested(tmp_path / "bag", go2, log)
    walking = [state for _, state in log.states if state.gait.walks]
    np.testing.assert_allclose(runs[0].x[:100], [state.x() for state in walking[:200:2]], atol=2e-3)  # stamps of that size hold 0.2 us
    assert all(len(run.u) <= TO_LEARN.piece_s / DT + 1e-6 for run in runs)
    assert 60 * harvest.minutes == pytest.approx(DT * sum(len(run.u) for run in runs))
    assert not harvest.quarantined
    # What a model computes from state and action is what came next.
    part, model = layout(go2.n), WalkEnsemble(go2.n, DT, GaitClock.of(go2), EnsembleConfig(members=2, width=8))
    for run in runs:
        with torch.no_grad():
            mean, _ = model(as_tensor(run.x[:-1]), as_tensor(run.u))
        for name in ("strides", "clock"):
            np.testing.assert_allclose(mean[:, part[name]].numpy(), run.x[1:, part[name]], atol=1e-4)


def test_what_says_nothing_true_is_cut_and_named(go2: LeggedConfig, log: WalkLog, tmp_path: Path) -> None:
    whole, _ = harvested(tmp_path / "whole", go2, log, lengths=WHOLE)
    steps = sum(len(run.u) for run in whole)
    state = log.states[150][1]
    gap = dataclasses.replace(log, states=log.states[:150] + log.states[170:])
    spoilt = changed(log, 150, 160, q=np.full(go2.n, np.nan))
    stood = changed(log, 150, 250, gait=state.gait)  # its clock stood: it was damped
    for name, bad, least in (("gap", gap, 10), ("nan", spoilt, 5), ("damped", stood, 45)):
        runs, _ = harvested(tmp_path / name, go2, bad, lengths=WHOLE)
        assert steps - sum(len(run.u) for run in runs) >= least, name
        for run in runs:
            turn = np.diff(np.unwrap(np.arctan2(*run.x[:, layout(go2.n)["clock"]].T)))
            assert np.abs(turn - 2 * np.pi * go2.gait.frequency * DT).max() < 0.2, name


def test_falls_are_counted_and_two_epochs_are_never_joined(go2: LeggedConfig, log: WalkLog, tmp_path: Path) -> None:
    one, _ = harvested(tmp_path / "one", go2, log)
    both, harvest = harvested(tmp_path / "both", go2, log, dataclasses.replace(log, fallen=True))
    assert harvest.falls == 1
    assert len(both) == 2 * len(one)


def test_bags_of_others_are_quarantined_and_the_rest_is_used(go2: LeggedConfig, log: WalkLog, tmp_path: Path) -> None:
    other = go2.model_copy(update={"name": "somebody"})
    write_walk_log(tmp_path / "other", other, [log], {})
    write_walk_log(tmp_path / "ours", go2, [log], {})
    (data,) = (tmp_path / "ours").glob("*.mcap")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "cut_0.mcap").write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    harvest = WalkHarvest()
    runs = list(walks_of([tmp_path / "cut", tmp_path / "other", tmp_path / "nowhere", tmp_path / "ours"], go2, harvest))
    assert len(runs) > 1
    assert set(harvest.quarantined) == {str(tmp_path / "other"), str(tmp_path / "nowhere")}
    assert "a bag of somebody" in harvest.quarantined[str(tmp_path / "other")]
    assert any("cut or altered" in note for note in harvest.notes)


def test_too_little_and_what_was_never_tried_are_named(go2: LeggedConfig, log: WalkLog, tmp_path: Path) -> None:
    write_walk_log(tmp_path / "short", go2, [log], {})
    with pytest.raises(BadInput, match=r"minutes: got 0\.\d+ in \d run\(s\), expected at least 0.33 minutes"):
        gather_walks([tmp_path / "short"], go2)
    write_walk_log(tmp_path / "long", go2, [log] * 7, {})
    logged = gather_walks([tmp_path / "long"], go2)
    assert not logged.still
    assert len(gather_walks([tmp_path / "long"], go2, 0.45).runs) < len(logged.runs)
    straight = [dataclasses.replace(run, u=run.u * [1.0, 0.0, 1.0, 1.0, 1.0]) for run in logged.runs]
    write_walks(tmp_path / "straight", straight, robot="go2", joint_names=go2.joint_names, dt=DT, scenario="logs", seed=0)
    assert gather_walks([tmp_path / "straight"], go2).still == ["sideways"]
    still = [dataclasses.replace(run, u=0 * run.u) for run in logged.runs]
    write_walks(tmp_path / "still", still, robot="go2", joint_names=go2.joint_names, dt=DT, scenario="logs", seed=0)
    with pytest.raises(BadInput, match="strides: got none"):
        gather_walks([tmp_path / "still"], go2)
