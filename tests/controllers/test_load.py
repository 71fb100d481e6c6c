"""A robot that follows late carries no load; one that does not follow does."""

from __future__ import annotations

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.load import LoadEstimate
from taustack.controllers.reference import Reference

DT = 0.002


def drive(robot: RobotConfig, speed: float, delay_s: float, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Load after a steady motion that the joints follow `delay_s` late."""
    load = LoadEstimate(robot, DT)
    dq = np.full(robot.n, speed)
    for tick in range(round(seconds / DT) + 1):
        reference = Reference(q=robot.home + dq * tick * DT, dq=dq, ddq=0 * dq)
        load.remember(reference)
    return load.look(reference, robot.home + dq * max(0.0, seconds - delay_s), dq)[:2]


@pytest.mark.parametrize("speed", [-2.0, 0.5, 2.0])
@pytest.mark.parametrize("delay_s", [0.04, 0.06, 0.098])
def test_a_robot_that_follows_late_carries_no_load(robot: RobotConfig, speed: float, delay_s: float) -> None:
    torque, error = drive(robot, speed, delay_s)
    assert (np.abs(torque) < robot.limits("torque")).all()
    assert np.abs(error).max() < robot.safety.largest_error


def test_later_than_the_response_time_is_load(robot: RobotConfig) -> None:
    torque, error = drive(robot, 2.0, 0.2)
    np.testing.assert_allclose(error, 2.0 * 0.1, atol=1e-6)
    assert (torque > robot.limits("torque")).all()


def test_a_joint_that_stands_while_its_reference_goes_is_loaded_by_stiffness_and_damping(robot: RobotConfig) -> None:
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    for tick in range(200):
        reference = Reference(q=robot.home + 1.0 * tick * DT, dq=zero + 1.0, ddq=zero)
        load.remember(reference)
    torque, error, _ = load.look(reference, robot.home, zero)
    joint = robot.joints[3]
    np.testing.assert_allclose(error, 0.398 - 0.1, atol=1e-6)
    assert torque[3] == pytest.approx(joint.stiffness * (0.398 - 0.1) + joint.damping * 1.0)


def test_within_the_limits_it_is_the_impedance_law_itself(robot: RobotConfig) -> None:
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    for _ in range(100):
        load.remember(Reference.at_rest(robot.home))
    q, dq = robot.home.copy(), zero.copy()
    joint = robot.joints[5]
    q[5] -= 0.4 * joint.torque / joint.stiffness
    dq[5] -= 0.5 * joint.torque / joint.damping
    torque, error, _ = load.look(Reference.at_rest(robot.home), q, dq)
    assert torque[5] == pytest.approx(0.9 * joint.torque)
    assert error[5] == pytest.approx(0.4 * joint.torque / joint.stiffness)


def test_amiss_is_what_an_overload_would_be_counted_from(robot: RobotConfig) -> None:
    """The tracker looks for an overload only then: a torque at its limit either way, a distance beyond the largest, each by one joint."""
    load, zero, at = LoadEstimate(robot, DT), np.zeros(robot.n), Reference.at_rest(robot.home)
    for joint, own in enumerate(robot.joints):
        for sign in (1.0, -1.0):
            dq = zero.copy()
            dq[joint] = sign * own.torque / own.damping
            assert load.look(at, robot.home, dq * (1 + 1e-9)).amiss
            assert not load.look(at, robot.home, dq * (1 - 1e-9)).amiss
            q = zero.copy()
            q[joint] = sign * robot.safety.largest_error
            dq[joint] = -q[joint] * own.stiffness / own.damping  # so that the law gives nothing
            assert load.look(at, robot.home + q * (1 + 1e-6), dq).amiss
            assert not load.look(at, robot.home + q * (1 - 1e-6), dq).amiss


def test_what_was_before_a_fresh_start_explains_nothing(robot: RobotConfig) -> None:
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    for tick in range(100):
        load.remember(Reference(q=robot.home - 0.4 + 0.004 * tick, dq=zero + 2.0, ddq=zero))
    load.forget()
    load.remember(Reference.at_rest(robot.home))
    load.remember(Reference.at_rest(robot.home))
    _, error, _ = load.look(Reference.at_rest(robot.home), robot.home - 0.35, zero)
    np.testing.assert_allclose(error, 0.35)


def test_what_the_limits_allow_is_the_law_itself_even_if_the_window_would_explain_it(robot: RobotConfig) -> None:
    load = LoadEstimate(robot, DT)
    speed = np.linspace(0.01, 0.1, robot.n)
    for tick in range(100):
        reference = Reference(q=robot.home + speed * tick * DT, dq=speed, ddq=0 * speed)
        load.remember(reference)
    error, slower = 0.002 * speed, 0.1 * speed
    torque, found, amiss = load.look(reference, reference.q - error, reference.dq - slower)
    gains = [(joint.stiffness, joint.damping) for joint in robot.joints]
    np.testing.assert_allclose(found, error)
    np.testing.assert_allclose(torque, [k * e + d * s for (k, d), e, s in zip(gains, error, slower, strict=True)])
    assert not amiss


def test_each_joint_is_compared_with_its_own_window(robot: RobotConfig) -> None:
    """The first joint moves far, the others little: what explains the first does not explain them."""
    load, speed = LoadEstimate(robot, DT), np.full(robot.n, 0.2)
    speed[0] = 2.0
    for tick in range(100):
        reference = Reference(q=0.3 * np.arange(robot.n) + speed * tick * DT, dq=speed, ddq=0 * speed)
        load.remember(reference)
    for sign in (1.0, -1.0):
        q, dq = reference.q.copy(), reference.dq.copy()
        q[3] -= sign * 0.2
        dq[4] -= sign * 1.0
        torque, error, _ = load.look(reference, q, dq)
        joint, other = robot.joints[3], robot.joints[4]
        behind = 0.2 - 0.2 * 50 * DT if sign > 0 else -0.2
        assert error[3] == pytest.approx(behind)
        assert torque[3] == pytest.approx(joint.stiffness * behind)
        assert torque[4] == pytest.approx(sign * other.damping * 1.0)


def test_the_window_never_makes_more_of_a_load_than_the_law_does(robot: RobotConfig) -> None:
    """Behind its reference but faster than it: stiffness and damping pull against each other."""
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    for _ in range(100):
        load.remember(Reference.at_rest(robot.home))
    q, dq = robot.home.copy(), zero.copy()
    q[0] -= 0.35  # over `largest_error`, so the window is looked at
    q[1] -= 0.02
    dq[1] = 0.2
    torque, _, _ = load.look(Reference.at_rest(robot.home), q, dq)
    joint = robot.joints[1]
    assert torque[1] == pytest.approx(joint.stiffness * 0.02 - joint.damping * 0.2)
    assert torque.dtype == float


def test_what_was_commanded_explains_the_load_from_the_second_tick_on(robot: RobotConfig) -> None:
    """Before there are two references there is no past; two are one, and none of them is made up."""
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    away = robot.home - 0.3
    raw = load._stiffness * 0.3
    assert (raw > robot.limits("torque")).all()
    load.remember(Reference.at_rest(robot.home + 0.0))
    torque, error, _ = load.look(Reference.at_rest(robot.home), away, zero)
    np.testing.assert_allclose((torque, error), (raw, zero + 0.3))
    load.forget()
    load.remember(Reference.at_rest(away))
    torque, _, _ = load.look(Reference.at_rest(robot.home), away, zero)
    np.testing.assert_allclose(torque, raw)
    load.remember(Reference.at_rest(robot.home))
    np.testing.assert_array_equal(load.look(Reference.at_rest(robot.home), away, zero)[:2], 0.0)


def test_a_first_reference_is_no_past_either(robot: RobotConfig) -> None:
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    load.remember(Reference.at_rest(robot.home + 0.3))
    torque, error, _ = load.look(Reference.at_rest(robot.home + 0.3), robot.home, zero)
    np.testing.assert_allclose((torque, error), (load._stiffness * 0.3, zero + 0.3))


def test_each_joints_speed_is_explained_by_its_own_past(robot: RobotConfig) -> None:
    load, zero = LoadEstimate(robot, DT), np.zeros(robot.n)
    fast = zero.copy()
    fast[0] = 2.0
    for _ in range(100):
        load.remember(Reference(q=robot.home, dq=fast, ddq=zero))
    slow = zero.copy()
    slow[0] = -10.0
    torque, _, _ = load.look(Reference(q=robot.home, dq=fast, ddq=zero), robot.home, slow)
    assert torque[0] == pytest.approx(robot.joints[0].damping * 12.0)
    slow[0] = 1.0
    load._limit = zero  # looks at the past whatever the torque
    torque, _, _ = load.look(Reference(q=robot.home, dq=fast, ddq=zero), robot.home, slow)
    assert torque[0] == pytest.approx(robot.joints[0].damping * 1.0)
