"""Steps and stops of the reference: the reach of a stop, its path, the way towards a velocity."""

from __future__ import annotations

import numpy as np
import pytest
from ruckig import ControlInterface, InputParameter, Ruckig, Synchronization, Trajectory

from taustack.config import RobotConfig
from taustack.controllers.filter_step import HOLD, towards
from taustack.controllers.reference import JerkLimited, Reference, ReferenceLimits

DT = 0.002


@pytest.fixture(scope="module")
def limits(robot: RobotConfig) -> ReferenceLimits:
    return ReferenceLimits.of(robot)


def sampled(motion: JerkLimited, start: Reference) -> np.ndarray:
    """Positions (400, n) all along a stop, by the trajectory itself."""
    stop = motion.stop(start)
    return np.array([stop.at(t).q for t in np.linspace(0.0, stop.duration, 400)])


def by_ruckig(limits: ReferenceLimits, start: Reference) -> Trajectory:
    """The fastest stop by a library that others have tested for years."""
    n = len(limits.velocity)
    given, trajectory = InputParameter(n), Trajectory(n)
    given.control_interface, given.synchronization = ControlInterface.Velocity, Synchronization.No
    given.max_acceleration, given.max_jerk = limits.acceleration.tolist(), limits.jerk.tolist()
    given.current_position, given.current_velocity, given.current_acceleration = start.q.tolist(), start.dq.tolist(), start.ddq.tolist()
    given.target_velocity, given.target_acceleration = [0.0] * n, [0.0] * n
    Ruckig(n, DT).calculate(given, trajectory)
    return trajectory


@pytest.mark.parametrize("most", [1.0, 1.3])
def test_stops_are_those_of_ruckig(limits: ReferenceLimits, most: float) -> None:
    """Also from rest, from an acceleration beyond its limit (most = 1.3), through a turn, and at every moment of the way."""
    rng, motion, n = np.random.default_rng(11), JerkLimited(limits, DT), len(limits.velocity)
    held = 0
    for _ in range(400):
        v = rng.uniform(-most, most, n) * limits.velocity * rng.choice([0.0, 0.01, 0.1, 1.0], n)
        a = rng.uniform(-most, most, n) * limits.acceleration * rng.choice([0.0, 0.1, 1.0], n)
        start = Reference(q=rng.uniform(-1, 1, n), dq=v, ddq=a)
        stop, expected = motion.stop(start), by_ruckig(limits, start)
        assert stop.duration == pytest.approx(expected.duration, abs=1e-9)
        for t in (0.0, DT, *(stop.duration * rng.uniform(0, 1, 4)), stop.duration, 2 * stop.duration):
            at, (q, dq, ddq) = stop.at(t), expected.at_time(t)
            np.testing.assert_allclose(at.q, q, atol=1e-9)
            np.testing.assert_allclose(at.dq, dq, atol=1e-9)
            np.testing.assert_allclose(at.ddq, ddq, atol=1e-6)
        held += int((stop.stop[HOLD] > 0).sum())
        rest = stop.at(stop.duration)
        assert not np.concatenate((rest.dq, rest.ddq)).any()  # in every bit: a robot that stopped is told the same from then on
    assert held > 200


@pytest.mark.parametrize("kind", ["any", "turns", "steady", "accelerates"])
def test_a_stop_reaches_as_far_as_its_trajectory_goes(limits: ReferenceLimits, kind: str) -> None:
    """`turns`: the acceleration is so strong against the motion that the velocity changes its sign before rest."""
    rng, motion = np.random.default_rng(3), JerkLimited(limits, DT)
    n = len(limits.velocity)
    turned = 0
    for _ in range(60):
        q, v = rng.uniform(-1, 1, n), rng.uniform(-0.9, 0.9, n) * limits.velocity
        a = rng.uniform(-1, 1, n) * limits.acceleration
        if kind == "turns":
            v = rng.uniform(0.0, 0.02, n) * np.sign(v)
            a = -np.sign(v) * rng.uniform(0.5, 1, n) * limits.acceleration
            turned += int((a**2 > 2 * limits.jerk * np.abs(v)).sum())
        elif kind == "steady":
            a = np.zeros(n)
        elif kind == "accelerates":
            a = np.abs(a) * np.sign(v)
        start = Reference(q=q, dq=v, ddq=a)
        stop, path = motion.stop(start), sampled(motion, start)
        np.testing.assert_allclose(stop.highest, path.max(axis=0), atol=2e-7)
        np.testing.assert_allclose(stop.lowest, path.min(axis=0), atol=2e-7)
        assert (stop.highest >= path.max(axis=0) - 1e-12).all()
        assert (stop.lowest <= path.min(axis=0) + 1e-12).all()
    assert kind != "turns" or turned > 100


def test_one_joint_that_turns_leaves_the_others_reach_alone(limits: ReferenceLimits) -> None:
    motion, n = JerkLimited(limits, DT), len(limits.velocity)
    dq, ddq = np.full(n, 0.5), np.zeros(n)
    dq[2], ddq[2] = 1e-3, -limits.acceleration[2]
    start = Reference(q=np.zeros(n), dq=dq, ddq=ddq)
    stop, path = motion.stop(start), sampled(motion, start)
    np.testing.assert_allclose(stop.highest, path.max(axis=0), atol=2e-7)
    np.testing.assert_allclose(stop.lowest, path.min(axis=0), atol=2e-7)


def test_the_path_of_a_stop_is_looked_at_in_thirds(limits: ReferenceLimits) -> None:
    motion, n = JerkLimited(limits, DT), len(limits.velocity)
    stop = motion.stop(Reference(q=np.zeros(n), dq=np.full(n, 1.0), ddq=np.zeros(n)))
    assert stop.duration > 0.05
    wanted = np.array([stop.at(share * stop.duration).q for share in (0.33, 0.67, 1.0)])
    np.testing.assert_allclose(stop.along(), wanted, atol=1e-9)
    assert (np.diff(stop.along(), axis=0) > -1e-12).all()


def test_near_a_velocity_bound_the_acceleration_shrinks_at_half_libfrankas_gain(limits: ReferenceLimits) -> None:
    """libfranka limits by jerk / (2 a_max) (rate_limiting.h); half of it, and never more than half of the way in a tick."""
    motion, n = JerkLimited(limits, DT), len(limits.velocity)
    np.testing.assert_allclose(motion.gain, np.minimum(limits.jerk / (4 * limits.acceleration), 0.5 / DT))
    slow = JerkLimited(ReferenceLimits(**{**vars(limits), "jerk": 1e9 * limits.jerk}), DT)
    np.testing.assert_allclose(slow.gain, 0.5 / DT)
    v = limits.velocity - 1e-3
    zero, most = np.zeros(n), limits.velocity
    after = towards(zero, v, motion.gain * 1e-3, 5 * most, zero, -most, most, motion.gain, limits.acceleration, motion.step_of_acceleration, DT)
    np.testing.assert_allclose(after[2], motion.gain * 1e-3)


def test_rest_is_rest_in_floats_whatever_came_in(limits: ReferenceLimits) -> None:
    reference = Reference.at_rest(np.array([0, 1, 2]))
    assert reference.q.dtype == float
    assert reference.rests
    assert not reference.dq.any()
    assert not reference.ddq.any()
