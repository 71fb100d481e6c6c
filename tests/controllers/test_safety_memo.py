"""What the filter remembers of its last look at the distances alters no result, and spares most looks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
DT = 0.002


@pytest.fixture(scope="module")
def keep_out(robot: RobotConfig) -> KeepOut:
    return keep_out_from_model(MujocoPlant(robot).nominal, robot)


def test_the_memo_of_clearances_alters_no_result(robot: RobotConfig, keep_out: KeepOut) -> None:
    """Pure: the same arguments give the same reference, whatever was asked before or looked at between."""
    rng = np.random.default_rng(5)
    remembers, reference = SafetyFilter(robot, DT, keep_out), Reference.at_rest(robot.home)
    wanted = np.zeros(robot.n)
    for tick in range(800):
        if tick % 60 == 0:
            wanted = rng.uniform(-2, 2, robot.n)
        fresh, told = SafetyFilter(robot, DT, keep_out).step(reference, wanted, 0 * wanted)
        after, acted = remembers.step(reference, wanted, 0 * wanted)
        np.testing.assert_array_equal(after.q, fresh.q)
        np.testing.assert_array_equal(after.dq, fresh.dq)
        assert acted == told
        if tick % 3 == 0:
            remembers.look_ahead(after)
        reference = after


class Counted(KeepOut):
    """Counts full looks at the distances, the filter's dearest part."""

    looks = 0

    def distances(self, q: FloatArray) -> FloatArray:
        type(self).looks += 1
        return super().distances(q)


@pytest.fixture
def counted(keep_out: KeepOut) -> type[Counted]:
    Counted.looks = 0
    return Counted


def filter_with(robot: RobotConfig, kind: type[Counted], keep_out: KeepOut) -> SafetyFilter:
    return SafetyFilter(robot, DT, kind(**{field.name: getattr(keep_out, field.name) for field in dataclasses.fields(keep_out)}))


def test_one_look_at_the_distances_serves_the_ticks_that_move_little(robot: RobotConfig, keep_out: KeepOut, counted: type[Counted]) -> None:
    safety = filter_with(robot, counted, keep_out)
    reference, zero = Reference.at_rest(robot.home), np.zeros(robot.n)
    for _ in range(5):
        reference, _ = safety.step(reference, zero, zero)
    assert counted.looks == 1
    for _ in range(400):
        reference, _ = safety.step(reference, zero + 0.3 * np.sin(np.arange(robot.n)), zero)
    assert 2 <= counted.looks < 60


def test_a_look_ahead_spares_the_ticks_their_looks(robot: RobotConfig, keep_out: KeepOut, counted: type[Counted]) -> None:
    safety = filter_with(robot, counted, keep_out)
    safety.look_ahead(Reference.at_rest(robot.home))
    assert counted.looks == 1
    reference, zero = Reference.at_rest(robot.home), np.zeros(robot.n)
    in_ticks = 0
    for _ in range(400):
        before = counted.looks
        reference, _ = safety.step(reference, zero + 0.3 * np.sin(np.arange(robot.n)), zero)
        in_ticks += counted.looks - before
        safety.look_ahead(reference)
    assert in_ticks == 0
    assert 3 <= counted.looks < 120
    before = counted.looks
    safety.look_ahead(reference)
    safety.look_ahead(reference)
    assert counted.looks <= before + 1


def test_the_bound_that_spares_a_look_is_over_the_whole_way_of_the_stop(robot: RobotConfig, keep_out: KeepOut, counted: type[Counted]) -> None:
    """A third, two thirds and the end of the stop after the step, beside those of the last look."""
    seen: list[tuple[FloatArray, FloatArray]] = []

    class Bound(counted):  # type: ignore[misc, valid-type]
        def change(self, before: FloatArray, after: FloatArray) -> float:
            seen.append((before, after))
            return super().change(before, after)

    safety, reference, zero = filter_with(robot, Bound, keep_out), Reference.at_rest(robot.home), np.zeros(robot.n)
    for _ in range(30):
        reference, _ = safety.step(reference, zero + 0.3, zero)
    now, known = seen[-1]
    np.testing.assert_array_equal(now, safety._motion.stop(reference).along())
    assert known.shape == now.shape == (3, robot.n)
    q, dq = robot.home.copy(), zero.copy()
    q[0], dq[0] = safety.limits.q_max[0] - 0.05, 1.8  # too fast for its limit: the first tick of the stop replaces the step, and the way is that one's
    after, acted = safety.step(Reference(q=q, dq=dq, ddq=zero), 2 * dq, zero)
    assert acted["stopping_distance"] > 0
    np.testing.assert_allclose(seen[-1][0], safety._motion.stop(after).along(), rtol=0, atol=1e-12)


def test_close_to_a_wall_every_tick_looks_for_itself(robot: RobotConfig, keep_out: KeepOut, counted: type[Counted]) -> None:
    """No memo says clear where a margin is not kept."""
    near = dataclasses.replace(keep_out, high=np.array([*keep_out.high[:2], 0.2]))
    safety = filter_with(robot, counted, near)
    reference, zero = Reference.at_rest(robot.home), np.zeros(robot.n)
    for tick in range(3):
        safety.step(reference, zero, zero)
        safety.look_ahead(reference)
        assert counted.looks > 2 * tick


def test_a_filter_without_geometry_has_nothing_to_look_at(robot: RobotConfig) -> None:
    SafetyFilter(robot, DT).look_ahead(Reference.at_rest(robot.home))


def test_what_is_no_number_is_never_clear(robot: RobotConfig, keep_out: KeepOut) -> None:
    """A least value passes NaN over, in machine code as in Python's min: no clearance and no bound may come of it."""
    q = np.tile(robot.home, (2, 1))
    q[1, 3] = np.nan
    clear, none = keep_out.distances(q).T
    assert (clear > 0).all()
    assert (none < 0).all()
    assert keep_out.change(q[:1], q[1:]) == np.inf
    assert keep_out.change(q[:1], q[:1]) == 0.0
