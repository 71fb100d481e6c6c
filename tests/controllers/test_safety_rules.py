"""What each rule of the safety filter says and does, one case at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.filter_step import velocity_bounds
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant

DT = 0.002


@pytest.fixture(scope="module")
def keep_out(robot: RobotConfig) -> KeepOut:
    return keep_out_from_model(MujocoPlant(robot).nominal, robot)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_too_fast_is_told_in_both_directions(robot: RobotConfig, sign: float) -> None:
    safety = SafetyFilter(robot, DT)
    wanted = sign * (safety.limits.velocity + 0.25)
    _, acted = safety.step(Reference.at_rest(robot.home), wanted, np.zeros(robot.n))
    assert acted["velocity"] == pytest.approx(0.25)


def test_at_the_velocity_limit_nothing_is_told_of_velocity(robot: RobotConfig) -> None:
    safety = SafetyFilter(robot, DT)
    start = Reference(q=robot.home, dq=safety.limits.velocity, ddq=np.zeros(robot.n))
    _, acted = safety.step(start, safety.limits.velocity, np.zeros(robot.n))
    assert acted == {}


def test_the_braking_curve_leaves_room_for_reaction_and_braking(robot: RobotConfig) -> None:
    """v / gain + v^2 / 2a = distance, at half the acceleration limit."""
    safety = SafetyFilter(robot, DT)
    for room in (0.001, 0.01, 0.05):
        start = Reference.at_rest(safety.limits.q_max - room)
        limits = safety.limits
        a, gain = 0.5 * limits.acceleration, safety._motion.gain
        _, high = velocity_bounds(start.q, limits.q_min, limits.q_max, limits.velocity, a, a / gain)
        np.testing.assert_allclose(high / gain + high**2 / (2 * a), room, rtol=1e-9)


def test_kept_back_by_jerk_is_told_as_jerk_also_in_motion(robot: RobotConfig) -> None:
    safety = SafetyFilter(robot, DT)
    speed = np.full(robot.n, 1.0)
    start = Reference(q=robot.home, dq=speed, ddq=np.zeros(robot.n))
    _, acted = safety.step(start, speed + 0.9 * safety.limits.acceleration * DT, np.zeros(robot.n))
    assert set(acted) == {"jerk"}
    _, acted = safety.step(start, speed + 1.5 * safety.limits.acceleration * DT, np.zeros(robot.n))
    assert set(acted) == {"acceleration"}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_reference_too_fast_for_its_limit_brakes_as_hard_as_it_can_and_says_so(robot: RobotConfig, sign: float) -> None:
    """No step of the filter leads there; a reference that was put there still takes the shortest stop."""
    safety = SafetyFilter(robot, DT)
    edge = safety.limits.q_max if sign > 0 else safety.limits.q_min
    q, dq = robot.home.copy(), np.zeros(robot.n)
    q[0], dq[0] = edge[0] - sign * 0.05, sign * 1.8
    start = Reference(q=q, dq=dq, ddq=np.zeros(robot.n))
    after, acted = safety.step(start, np.where(dq != 0, sign * 3.0, 0.0), np.zeros(robot.n))
    fastest = safety._motion.stop(start).at(DT)
    assert acted["stopping_distance"] > 0
    assert after.dq[0] == pytest.approx(fastest.dq[0])


def near_wall(keep_out: KeepOut, robot: RobotConfig, inside: float) -> KeepOut:
    """A box whose front is `inside` [m] nearer than the margin would have it: the arm at home stands too near."""
    high = keep_out.high.copy()
    farthest = float((keep_out.centres(robot.home[None])[0, keep_out._moving, 0] + keep_out.radius[keep_out._moving]).max())
    high[0] = farthest + robot.safety.margin - inside
    return dataclasses.replace(keep_out, high=high)


def test_from_too_near_a_wall_the_way_out_is_free_and_the_way_further_is_not(robot: RobotConfig, keep_out: KeepOut) -> None:
    safety = SafetyFilter(robot, DT, near_wall(keep_out, robot, 0.005))
    start, zero = Reference.at_rest(robot.home), np.zeros(robot.n)
    left = safety._look(safety._motion.stop(start).along())
    assert left[0] < 0 < left[1]
    assert safety.step(start, zero, zero)[1] == {}
    moved = {}
    for joint in range(robot.n):
        for sign in (1.0, -1.0):
            wanted = zero.copy()
            wanted[joint] = sign * 0.3
            reference = start
            for _ in range(20):
                reference, acted = safety.step(reference, wanted, zero)
            after = safety._look(safety._motion.stop(reference).along())
            moved[joint, sign] = (float(np.abs(reference.q - start.q).max()), float(after[0] - left[0]), "box" in acted)
            assert after[0] >= left[0] - 1e-6
    assert any(way > 1e-3 and further > 1e-4 and not told for way, further, told in moved.values())
    assert any(way < 1e-4 and told for way, _, told in moved.values())


def test_leaving_one_wall_may_come_nearer_to_another_part_that_is_far(robot: RobotConfig, keep_out: KeepOut) -> None:
    """Only the rule that is broken acts: distance lost where there is plenty of it is nobody's business."""
    safety = SafetyFilter(robot, DT, near_wall(keep_out, robot, 0.005))
    start, zero = Reference.at_rest(robot.home), np.zeros(robot.n)
    left = safety._look(safety._motion.stop(start).along())
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(300):
        wanted = rng.uniform(-0.3, 0.3, robot.n)
        free = SafetyFilter(robot, DT)
        reference = free.step(start, wanted, zero)[0]
        after = safety._look(safety._motion.stop(reference).along())
        if left[0] < after[0] < 0 and 0 < after[1] < left[1] - 1e-9:
            seen += 1
            told = safety.step(start, wanted, zero)
            assert "self_collision" not in told[1]
            np.testing.assert_array_equal(told[0].q, reference.q)
    assert seen > 5


def test_the_torque_rule_leaves_a_joint_alone_that_is_not_asked_to_pull(robot: RobotConfig) -> None:
    safety, zero = SafetyFilter(robot, DT), np.zeros(robot.n)
    start = Reference.at_rest(robot.home)
    limit = robot.limits("torque")
    assert safety.step(start, zero, zero, torque=2 * limit)[1] == {}
    assert "torque" not in safety.step(start, np.full(robot.n, 0.01), zero, torque=limit)[1]
    assert "torque" not in safety.step(start, np.full(robot.n, -0.01), zero, torque=2 * limit)[1]
    assert safety.step(start, np.full(robot.n, 0.01), zero, torque=2 * limit)[1]["torque"] == pytest.approx(float(limit.max()))


def test_at_a_wall_the_velocity_limit_itself_is_kept_back_by_position(robot: RobotConfig) -> None:
    safety = SafetyFilter(robot, DT)
    start = Reference.at_rest(safety.limits.q_max - 1e-3)
    _, acted = safety.step(start, safety.limits.velocity, np.zeros(robot.n))
    assert "position" in acted
    assert "velocity" not in acted


def test_a_change_within_the_acceleration_limit_is_kept_back_by_jerk(robot: RobotConfig) -> None:
    safety = SafetyFilter(robot, DT)
    _, acted = safety.step(Reference.at_rest(robot.home), safety.limits.acceleration * DT, np.zeros(robot.n))
    assert set(acted) == {"jerk"}


def test_only_the_joint_that_is_overloaded_and_pulls_waits_and_it_is_told_by_how_much(robot: RobotConfig) -> None:
    safety, limit = SafetyFilter(robot, DT), robot.limits("torque")
    torque, dq = 0.5 * limit, np.full(robot.n, 0.1)
    torque[2], torque[4] = limit[2] + 0.25, -limit[4] - 0.5  # the third pulls on, the fifth is asked to give way
    reference = Reference.at_rest(robot.home)
    for _ in range(200):
        reference, acted = safety.step(reference, dq, 0 * dq, torque)
    assert acted["torque"] == pytest.approx(0.5)
    np.testing.assert_allclose(reference.dq, np.where(np.arange(robot.n) == 2, 0.0, 0.1), atol=1e-3)
    torque[4] = 0.0
    assert safety.step(reference, dq, 0 * dq, torque)[1]["torque"] == pytest.approx(0.25)


def test_velocities_in_single_precision_are_taken_as_they_are(robot: RobotConfig) -> None:
    safety, start, dq = SafetyFilter(robot, DT), Reference.at_rest(robot.home), np.full(robot.n, 0.25, dtype=np.float32)
    for single in ((dq, 0 * dq), (dq.astype(float), 0 * dq), (dq, 0.0 * dq.astype(float))):
        np.testing.assert_array_equal(safety.step(start, *single)[0].dq, safety.step(start, dq.astype(float), 0.0 * dq.astype(float))[0].dq)
