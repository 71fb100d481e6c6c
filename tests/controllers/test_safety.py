"""The limiter keeps every limit whatever it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.safety import ReferenceLimiter, ReferenceLimits

DT = 0.002


def limits_of(robot: RobotConfig, jerk_scale: float = 1.0) -> ReferenceLimits:
    whole = ReferenceLimits.of(robot)
    return ReferenceLimits(q_min=whole.q_min, q_max=whole.q_max, velocity=whole.velocity, acceleration=whole.acceleration, jerk=jerk_scale * whole.jerk)


@pytest.mark.parametrize("jerk_scale", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_commands_never_break_a_limit(robot: RobotConfig, jerk_scale: float, seed: int) -> None:
    limits, rng = limits_of(robot, jerk_scale), np.random.default_rng(seed)
    limiter = ReferenceLimiter(limits, robot.home, DT)
    wanted = np.zeros(robot.n)
    for tick in range(20_000):
        if tick % 37 == 0:
            wanted = rng.uniform(-4, 4, robot.n) * (rng.random(robot.n) < 0.8)
        before = limiter.ddq_ref.copy()
        limiter.step(wanted, rng.uniform(-30, 30, robot.n))
        assert np.all(np.abs(limiter.dq_ref) <= limits.velocity * (1 + 1e-9))
        assert np.all(np.abs(limiter.ddq_ref) <= limits.acceleration * (1 + 1e-9))
        assert np.all(np.abs(limiter.ddq_ref - before) <= limits.jerk * DT * (1 + 1e-9))
        assert np.all(limiter.q_ref >= limits.q_min)
        assert np.all(limiter.q_ref <= limits.q_max)


def test_full_speed_into_a_position_limit_stops_before_it(robot: RobotConfig) -> None:
    limiter = ReferenceLimiter(limits_of(robot), robot.home, DT)
    for _ in range(5_000):
        limiter.step(np.full(robot.n, 10.0), np.zeros(robot.n))
    assert limiter.at_rest
    assert np.all(limiter.q_ref <= robot.q_max)
    assert np.all(limiter.q_ref > robot.q_max - 0.1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_command_that_is_not_finite_is_a_stop(robot: RobotConfig, bad: float) -> None:
    limiter = ReferenceLimiter(limits_of(robot), robot.home, DT)
    for _ in range(100):
        limiter.step(np.full(robot.n, 0.5), np.zeros(robot.n))
    assert not limiter.at_rest
    for _ in range(500):
        command = np.full(robot.n, 0.5)
        command[3] = bad
        limiter.step(command, np.zeros(robot.n))
    assert limiter.at_rest
    assert np.all(np.isfinite(limiter.q_ref))


def test_a_feasible_ramp_is_followed_exactly(robot: RobotConfig) -> None:
    limiter = ReferenceLimiter(limits_of(robot), robot.home, DT)
    slope = np.full(robot.n, 2.0)
    for tick in range(100):
        limiter.step((tick + 1) * DT * slope, slope)
    np.testing.assert_allclose(limiter.dq_ref, 100 * DT * slope, atol=5e-3)
