"""The tracker follows fresh plans, holds without them, and stops when told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.plan import Plan
from taustack.controllers.tracker import Tracker
from taustack.sim.plant import MujocoPlant

DT = 0.002


def plan_at(t: float, seq: int, n: int = 7, speed: float = 0.3, **changes: object) -> Plan:
    """A plan of constant speed from the state at t, in effect 20 ms later."""
    values: dict[str, object] = {
        "seq": seq, "state_seq": seq, "epoch": 0, "state_t": t, "effective_t": t + 0.02, "dt": 0.02,
        "actions": np.full((25, n), speed), "states": np.zeros((26, 4 * n)),
    }  # fmt: skip
    return Plan(**(values | changes))  # type: ignore[arg-type]


def drive(tracker: Tracker, start: float, seconds: float) -> float:
    t = start
    for _ in range(round(seconds / DT)):
        tracker.step(t)
        t += DT
    return t


def test_a_fresh_plan_is_followed(robot: RobotConfig) -> None:
    tracker = Tracker(robot, robot.home)
    assert tracker.offer(plan_at(0.0, 1), 0.001)
    drive(tracker, 0.0, 0.1)
    assert tracker.mode == "tracking"
    np.testing.assert_allclose(tracker.limiter.dq_ref, 0.3, atol=0.01)


def test_plans_that_come_before_the_last_took_effect_wait_in_line(robot: RobotConfig) -> None:
    """Plans come every 16 ms and take effect after 20: each must still get its turn."""
    tracker, followed = Tracker(robot, robot.home), set()
    t, seq = 0.0, 0
    for tick in range(200):
        if tick % 8 == 0:
            seq += 1
            tracker.offer(plan_at(t, seq), t)
        tracker.step(t)
        followed.add(tracker.plan_seq)
        t += DT
    assert len(followed) >= 20
    assert tracker.mode == "tracking"


def test_a_plan_replaced_at_the_very_time_it_takes_effect_still_moves_the_arm(robot: RobotConfig) -> None:
    """In lockstep a new plan comes exactly when the one before takes effect; rounding must not starve the tracker."""
    tracker = Tracker(robot, robot.home)
    for step in range(50):
        now = step * 0.02 * (1 - 1e-15)
        tracker.offer(plan_at(now, step + 1), now)
        drive(tracker, now, 0.02)
    assert np.all(tracker.limiter.dq_ref > 0.25)


def test_a_stale_plan_ends_in_a_hold_within_the_limits(robot: RobotConfig) -> None:
    tracker = Tracker(robot, robot.home)
    tracker.offer(plan_at(0.0, 1, speed=1.0), 0.0)
    t = drive(tracker, 0.0, 0.119)
    assert tracker.mode == "tracking"
    drive(tracker, t, 0.6)
    assert tracker.mode == "holding"
    assert tracker.limiter.at_rest


def test_a_stopped_tracker_comes_to_rest_and_follows_no_plan(robot: RobotConfig) -> None:
    tracker = Tracker(robot, robot.home)
    tracker.offer(plan_at(0.0, 1, speed=1.0), 0.0)
    t = drive(tracker, 0.0, 0.1)
    tracker.stop("test")
    limits = tracker.limiter.limits
    for seq in range(2, 60):
        before = tracker.limiter.ddq_ref.copy()
        assert not tracker.offer(plan_at(t, seq, speed=1.0), t)
        tracker.step(t)
        assert np.all(np.abs(tracker.limiter.ddq_ref - before) <= limits.jerk * DT * (1 + 1e-9))
        t += DT
    drive(tracker, t, 0.5)
    assert tracker.mode == "stopping"
    assert tracker.limiter.at_rest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"actions": np.zeros((25, 6))}, "wrong_size"),
        ({"actions": np.zeros((0, 7))}, "wrong_size"),
        ({"actions": np.zeros((1000, 7))}, "wrong_size"),
        ({"actions": np.full((25, 7), np.nan)}, "not_finite"),
        ({"dt": 0.0}, "not_finite"),
        ({"effective_t": float("inf")}, "not_finite"),
        ({"epoch": 3}, "wrong_epoch"),
        ({"seq": 5}, "out_of_order"),
        ({"state_t": 0.5}, "stale"),
        ({"state_t": 2.0}, "from_the_future"),
        ({"effective_t": 4.0}, "from_the_future"),
    ],
)
def test_a_bad_plan_is_dropped_counted_and_not_followed(robot: RobotConfig, change: dict[str, object], reason: str) -> None:
    tracker = Tracker(robot, robot.home)
    assert tracker.offer(plan_at(1.0, 5, speed=0.0), 1.0)
    assert not tracker.offer(plan_at(1.0, 6, **change), 1.001) if "seq" not in change else not tracker.offer(plan_at(1.0, 5), 1.001)
    assert tracker.gate.dropped == {reason: 1}
    drive(tracker, 1.001, 0.1)
    assert tracker.plan_seq == 5
    assert np.all(tracker.limiter.dq_ref == 0.0)


def test_a_late_plan_counts_as_a_missed_deadline(robot: RobotConfig) -> None:
    tracker = Tracker(robot, robot.home)
    assert tracker.offer(plan_at(0.0, 1), 0.03)
    assert tracker.gate.deadline_misses == 1


def test_a_new_epoch_takes_plans_from_one_again(robot: RobotConfig) -> None:
    tracker = Tracker(robot, robot.home)
    tracker.offer(plan_at(0.0, 9), 0.0)
    tracker.gate.new_epoch(1)
    assert tracker.offer(plan_at(0.01, 1, epoch=1), 0.01)


@pytest.fixture
def core(robot: RobotConfig) -> DriverCore:
    return DriverCore(robot, MujocoPlant(robot), 0.0)


def test_the_driver_moves_the_simulated_arm_and_brings_it_to_rest(core: DriverCore) -> None:
    t = 0.0
    for tick in range(100):
        if tick % 8 == 0:
            core.offer(plan_at(t, tick + 1))
        core.tick(t)
        t += DT
    assert np.all(np.abs(core.newest.state.dq) > 0.1)
    core.stop("test")
    for _ in range(500):
        core.tick(t)
        t += DT
    assert core.at_rest
    assert np.max(np.abs(core.newest.state.dq)) < 1e-2


def test_refused_plans_hold_the_robot_and_are_counted(core: DriverCore) -> None:
    core.refuse_plans = "second_publisher"
    for tick in range(50):
        core.offer(plan_at(tick * DT, tick + 1))
        core.tick(tick * DT)
    assert core.dropped == {"second_publisher": 50}
    assert core.at_rest


def test_missed_ticks_are_skipped_while_the_plant_goes_on(core: DriverCore, robot: RobotConfig) -> None:
    before = core.hardware.read().t
    core.tick(0.0, ticks=10)
    assert core.hardware.read().t - before == pytest.approx(10 * DT)
    assert core.newest.seq == 1
    state: Callable[[], object] = core.hardware.read
    assert state() is not None
