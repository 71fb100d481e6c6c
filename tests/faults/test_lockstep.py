"""The fault matrix in lockstep: the robot's own driver core and planners, judged by the plant's true state."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.planner import Planner
from taustack.sim.baselines import LeastSquaresVelocity
from taustack.sim.episode import LimitJudge
from taustack.sim.fault_run import FaultRig, FaultRun
from taustack.sim.faults import ARM_KINDS, INFO, KINDS
from taustack.sim.plant import MujocoPlant

from .rows import ROWS, Row

GOAL = np.array([0.45, 0.45, 0.4])
SECONDS = 2.2


def run(row: Row, robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> FaultRun:
    planner: Planner = LeastSquaresVelocity(robot)
    if row.planner == "direct":
        planner = MPPI(bundle, robot, task, np.random.default_rng(0))
    return FaultRig(robot, row.scenario, planner, GOAL, row.faults, seed=1).run(SECONDS)


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_each_row_holds(row: Row, robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    result = run(row, robot, task, bundle)
    if row.scenario.initial_q is None:
        assert sum(result.violations.values()) == 0, result.violations
    assert result.unsafe_end is None
    assert result.final_state in row.end or row.self_stop, (result.final_state, result.final_reason)
    if row.after is not None:
        began = row.faults[0].at_s if row.faults else 0.0
        change = next((c for c in result.journal if c.t >= began - 1e-9 and c.after == row.after and row.reason in c.reason), None)
        assert change is not None, [(c.t, c.after, c.reason) for c in result.journal]
        assert change.t - began <= row.within_s + 1e-9
    elif row.faults and not row.self_stop and row.end == ("running",):
        began = max(0.1, row.faults[0].at_s)
        late = [c for c in result.journal if c.t >= began and c.after in ("holding", "damped")]
        assert not late or row.faults[0].kind == "estop", [(c.t, c.after, c.reason) for c in late]
    if row.self_stop:
        assert result.self_stopped.any()
        assert row.after is None or result.final_state == "running"
    assert row.contact is None or bool(result.contacts) == row.contact


def test_the_matrix_is_as_large_as_promised_and_knows_every_kind() -> None:
    assert len(ROWS) >= 60
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert {fault.kind for row in ROWS for fault in row.faults} == set(ARM_KINDS)
    assert set(KINDS) == set(INFO)


def test_a_killed_tracker_is_noticed_by_the_plant_within_20_ms(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    row = next(row for row in ROWS if row.name == "tracker killed")
    result = run(row, robot, task, bundle)
    began = row.faults[0].at_s
    first = result.t[np.flatnonzero(result.self_stopped)[0]]
    assert first - began <= robot.safety.command_timeout_s + 0.002 + 1e-9
    settled = result.t > began + 0.5
    assert np.abs(result.dq[settled]).max() < 0.02


def test_an_estop_turns_the_plants_input_within_two_tracker_periods(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    """At the plant's input: from two periods after the press every joint's reference only loses speed, to zero."""
    row = next(row for row in ROWS if row.name == "e-stop during motion, then reset")
    result = run(row, robot, task, bundle)
    began = row.faults[0].at_s
    after = (result.t > began + 2 / robot.rates.tracker_hz + 1e-9) & (result.t < began + 0.4)
    speed = np.abs(result.dq_ref[after])
    assert np.abs(result.dq_ref[result.t <= began][-1]).max() > 0.2
    assert (np.diff(speed, axis=0) <= 1e-9).all()
    assert speed[-1].max() == 0.0


def test_a_run_is_repeatable_bit_for_bit(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    row = next(row for row in ROWS if row.name == "noise of 3 mrad on all joints")
    first, again = (run(row, robot, task, bundle) for _ in range(2))
    np.testing.assert_array_equal(first.q, again.q)


def test_the_judge_sees_a_violation_when_there_is_one(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    """Without the filter the same corner plans break the limits: the judge is not blind."""
    row = next(row for row in ROWS if row.name == "plans at the limits' corners")
    rig = FaultRig(robot, row.scenario, LeastSquaresVelocity(robot), GOAL, (), seed=1)
    plant = rig.plant
    for tick in range(600):
        speed = 1.5 * robot.limits("velocity")
        plant.write(robot.home + tick * 0.002 * speed, speed)
        plant.advance(0.002)
        rig.judge.look(plant, speed)
    assert min(rig.judge.count[what] for what in ("position", "velocity", "acceleration", "jerk")) > 0


@pytest.mark.parametrize(
    ("dead", "damped", "touches", "judged"), [((1,), True, True, False), ((), True, True, True), ((1,), False, True, True), ((1,), True, False, True)]
)
def test_only_the_blow_of_an_arm_that_falls_is_not_charged_to_its_other_joints(
    robot: RobotConfig, dead: tuple[int, ...], damped: bool, touches: bool, judged: bool
) -> None:
    plant = MujocoPlant(robot)
    q = robot.home.copy()
    if touches:
        q[1], q[3] = 1.5, -0.6  # hand in the floor
    plant.reset(q)
    plant.data.qvel[5] = 1.2 * robot.joints[5].velocity
    mujoco.mj_forward(plant.model, plant.data)
    assert bool(plant.data.ncon) == touches
    judge = LimitJudge(robot, plant.torque_limit, dead=dead)
    judge.look(plant, np.zeros(robot.n), damped=damped)
    assert (judge.count["velocity"], judge.impacts) == (int(judged), int(not judged))
