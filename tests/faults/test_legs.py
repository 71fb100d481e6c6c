"""The fault matrix of robots on legs in lockstep: the robot's own tracker, law and planner, judged by the plant's true state."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from taustack.controllers.leg_wire import LegCommand
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.campaign import CampaignSpec
from taustack.sim.faults import KINDS, OF_OTHERS, Fault
from taustack.sim.legged_campaign import run_leg_campaign
from taustack.sim.legged_fault_run import LegFaultRig, LegFaultRun, LegJudge
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.walk_planners import make_walk_planner
from taustack.walk_task import load_walk_task

from .leg_rows import LEG_ROWS, LegRow

WANTED = np.array([0.5, 0.1, 0.2])
SECONDS = 4.2


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


def run(row: LegRow, robot: LeggedConfig) -> LegFaultRun:
    law = make_walk_planner(row.planner, robot, load_walk_task(robot, "velocity"), robot.folder / "bundle", np.random.default_rng(0))
    return LegFaultRig(robot, LeggedScenario(), law, WANTED, row.faults, seed=1).run(SECONDS)


@pytest.mark.parametrize("row", LEG_ROWS, ids=[row.name for row in LEG_ROWS])
def test_each_row_holds(row: LegRow, go2: LeggedConfig) -> None:
    result = run(row, go2)
    story = [(round(c.t, 3), c.after, c.reason) for c in result.journal]
    assert sum(result.violations.values()) == 0, result.violations
    assert result.unsafe_end is None, story
    assert row.falls or result.fell_at is None, story
    assert result.final_state in row.end or row.self_stop, story
    began = row.faults[0].at_s
    if row.after is not None:
        change = next((c for c in result.journal if c.t >= began - 1e-9 and c.after == row.after and row.reason in c.reason), None)
        assert change is not None, story
        assert change.t - began <= row.within_s + 1e-9
    elif not row.self_stop and row.end == ("running",):
        assert not [c for c in result.journal if c.t >= began and c.after in ("holding", "damped")], story
    assert bool(result.self_stopped.any()) == row.self_stop


def test_the_matrix_knows_every_kind() -> None:
    assert len({row.name for row in LEG_ROWS}) == len(LEG_ROWS)
    assert {fault.kind for row in LEG_ROWS for fault in row.faults} == set(KINDS) - {"inference_raises", "inference_hangs", "payload_dropped"}


def test_a_run_is_repeatable_bit_for_bit(go2: LeggedConfig) -> None:
    row = next(row for row in LEG_ROWS if row.name == "noise of 3 mrad on all joints")
    first, again = (run(row, go2) for _ in range(2))
    np.testing.assert_array_equal(first.q, again.q)


def test_a_walk_broken_off_over_and_over_stands_before_it_goes_on_and_does_not_fall(go2: LeggedConfig) -> None:
    """Taken up again at once, as soon as there were plans, this one fell at 4.5 s."""
    gaps = tuple(Fault(kind="no_plan", at_s=1.5 + 0.7 * i, for_s=0.4) for i in range(5))
    law = make_walk_planner("feedback", go2, load_walk_task(go2, "velocity"), go2.folder / "bundle", np.random.default_rng(0))
    result = LegFaultRig(go2, LeggedScenario(), law, np.array([0.8, 0.3, 0.4]), gaps, seed=1).run(5.4)
    assert result.fell_at is None
    assert (result.final_state, sum(result.violations.values())) == ("running", 0)
    held = [(before.t, after.t) for before, after in pairwise(result.journal) if before.after == "holding"]
    assert len(held) >= 3
    assert all(until - since > 0.4 for since, until in held)  # the stop, and a moment on its feet


def test_a_planner_does_not_make_up_for_what_an_estop_kept_from_it(go2: LeggedConfig) -> None:
    """Two seconds in which it stood counted as a disturbance of the walk, and it went on at 0.84 m/s of 0.5 that were wanted."""
    law = make_walk_planner("mppi", go2, load_walk_task(go2, "velocity"), go2.folder / "bundle", np.random.default_rng(0))
    pressed = (Fault(kind="estop", at_s=1.5, for_s=2.0),)
    result = LegFaultRig(go2, LeggedScenario(), law, np.array([0.5, 0.0, 0.0]), pressed, seed=1).run(6.5)
    assert (result.final_state, result.fell_at) == ("running", None)
    third_s = 167
    speed = np.hypot(*(result.position[third_s:, :2] - result.position[:-third_s, :2]).T) / (third_s * 0.002)
    assert 0.4 < speed.max() < 0.68


def test_the_judge_sees_a_violation_when_there_is_one(go2: LeggedConfig) -> None:
    plant, judge, still = LeggedPlant(go2), LegJudge(go2), np.zeros(go2.n)
    command = LegCommand(t=0.0, damped=False, q=go2.q_max + 0.01, dq=still, torque=still)
    judge.command(command)
    judge.command(replace(command, q=np.full(go2.n, np.nan)))
    judge.command(replace(command, q=go2.of_joints("home"), torque=2 * go2.of_joints("torque")))
    judge.command(replace(command, damped=True))
    assert judge.count == {"command": 3, "torque": 0, "position": 0, "velocity": 0}
    plant.data.qpos[7], plant.data.qvel[8], plant.torque = 9.0, 99.0, 2 * go2.of_joints("torque")
    judge.look(plant, helpless=False)
    assert judge.count == {"command": 3, "torque": 1, "position": 1, "velocity": 1}
    plant.torque = still
    judge.look(plant, helpless=True)
    assert (judge.count["position"], judge.impacts) == (1, 1)
    plant.data.qpos[2] = 0.05  # it lies now: what its joints did just before was its fall
    judge.look(plant, helpless=True)
    plant.step()
    judge.look(plant, helpless=True)
    assert (judge.count["position"], judge.count["velocity"], judge.count["torque"]) == (0, 0, 1)


def test_a_campaign_is_a_function_of_its_seed_and_says_who_fell(go2: LeggedConfig) -> None:
    spec = CampaignSpec(robot=go2.folder, task="velocity", bundle=go2.folder / "bundle", seed=11, index=0)
    metrics = run_leg_campaign([replace(spec, index=i) for i in range(1, 4)])
    assert metrics == run_leg_campaign([replace(spec, index=i) for i in range(1, 4)])
    assert (metrics["runs"], metrics["limit_violations"], metrics["unsafe_end_states"]) == (3, 0, 0)
    assert sum(metrics["final_states"].values()) == 3
    assert metrics["falls_of_healthy"] <= metrics["falls"] <= 3
    assert metrics["healthy_runs"] <= 3
    assert set(OF_OTHERS) < set(KINDS)
