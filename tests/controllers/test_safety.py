"""The safety filter keeps every limit whatever it is asked for, and a stop within the limits is possible at every tick."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from taustack.config import JointConfig, RobotConfig, load_robot
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.reference import Reference
from taustack.controllers.safety import RULES, SafetyFilter
from taustack.kinematics import ChainJoint
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
DT = 0.002
EXACT = 1 + 1e-9
SLACK = 1e-6  # [rad or m] of rounding, of a margin of 0.03


@pytest.fixture(scope="module")
def keep_out(robot: RobotConfig) -> KeepOut:
    return keep_out_from_model(MujocoPlant(robot).nominal, robot)


def changed(robot: RobotConfig, **changes: Any) -> RobotConfig:
    """A robot built anew with some fields changed."""
    return RobotConfig(**{name: getattr(robot, name) for name in RobotConfig.model_fields} | changes)


def with_jerk(robot: RobotConfig, scale: float) -> RobotConfig:
    return changed(robot, joints=tuple(joint.model_copy(update={"jerk": scale * joint.jerk}) for joint in robot.joints))


class Watch:
    """Follows a filter and asserts its promises at every tick."""

    def __init__(self, safety: SafetyFilter, start: Reference) -> None:
        self.safety, self.reference, self.limits = safety, start, safety.limits
        self.acted: dict[str, float] = {}
        self._mean = start.ddq
        self.rows: list[Reference] = []

    def step(self, dq: FloatArray, ddq: FloatArray | None = None, **measured: FloatArray) -> Reference:
        after, self.acted = self.safety.step(self.reference, dq, np.zeros_like(dq) if ddq is None else ddq, **measured)
        return self._check(after)

    def stop(self) -> Reference:
        return self._check(self.safety.stop(self.reference))

    def _check(self, after: Reference) -> Reference:
        limits, dt = self.limits, self.safety.dt
        mean = (after.dq - self.reference.dq) / dt
        assert np.isfinite(after.q).all()
        assert np.isfinite(after.dq).all()
        assert (np.abs(after.dq) <= limits.velocity * EXACT).all()
        assert (np.abs(mean) <= limits.acceleration * EXACT + 1e-9).all()
        assert (np.abs(mean - self._mean) <= limits.jerk * dt * EXACT + 1e-6).all()
        assert (after.q <= limits.q_max + SLACK).all()
        assert (after.q >= limits.q_min - SLACK).all()
        stop = self.safety._motion.stop(after)
        assert (stop.highest <= limits.q_max + SLACK).all()
        assert (stop.lowest >= limits.q_min - SLACK).all()
        self.reference, self._mean = after, mean
        self.rows.append(after)
        return after


def corner(tick: int, n: int) -> FloatArray:
    """Every combination of extremes in turn."""
    return np.where((tick // 7 >> np.arange(n)) & 1, 10.0, -10.0)


def adversary(kind: str, rng: np.random.Generator, n: int) -> Callable[[int], FloatArray]:
    """Commands that try to break a limit: (tick) -> (n,)."""
    wanted = np.zeros(n)

    def random(tick: int) -> FloatArray:
        nonlocal wanted
        if tick % 37 == 0:
            wanted = rng.uniform(-4, 4, n) * (rng.random(n) < 0.8)
        return wanted

    def noise(_: int) -> FloatArray:
        return rng.normal(0, 5, n)

    def bang(tick: int) -> FloatArray:
        return np.full(n, 3.0 if tick // 10 % 2 else -3.0)

    def push(tick: int) -> FloatArray:
        return np.sign(np.sin(tick * 1e-3 * np.arange(1, n + 1))) * 1e6

    def broken(tick: int) -> FloatArray:
        out = rng.uniform(-3, 3, n)
        out[int(rng.integers(n))] = [np.nan, np.inf, -np.inf][tick % 3]
        return out if tick % 5 else rng.uniform(-3, 3, n)

    return {"random": random, "noise": noise, "bang": bang, "push": push, "broken": broken, "corners": lambda tick: corner(tick, n)}[kind]


KINDS = ("random", "noise", "bang", "push", "broken", "corners")


@pytest.mark.parametrize("jerk_scale", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("kind", KINDS)
def test_no_command_breaks_a_limit(robot: RobotConfig, jerk_scale: float, kind: str) -> None:
    rng = np.random.default_rng(3)
    watch, command = Watch(SafetyFilter(with_jerk(robot, jerk_scale), DT), Reference.at_rest(robot.home)), adversary(kind, rng, robot.n)
    for tick in range(1_500):
        if tick % 400 < 380:
            watch.step(command(tick), rng.uniform(-30, 30, robot.n))
        else:
            watch.stop()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [120_000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_no_command_breaks_a_limit_and_each_leaves_a_stop_that_touches_nothing(robot: RobotConfig, keep_out: KeepOut, kind: str, count: int) -> None:
    """So many over all kinds, with the arm's parts and its cell; every thousandth stop is gone through in the plant's own geometry."""
    rng = np.random.default_rng(KINDS.index(kind))
    safety, plant = SafetyFilter(robot, DT, keep_out), MujocoPlant(robot)
    command = adversary(kind, rng, robot.n)
    watch = Watch(safety, Reference.at_rest(robot.home))
    for tick in range(count // len(KINDS) + 1):
        watch.step(command(tick), rng.uniform(-30, 30, robot.n))
        if tick % 1000 == 999:
            watch.rows.clear()
            stop = safety._motion.stop(watch.reference)
            for share in np.linspace(0, 1, 12):
                assert not plant.in_collision(stop.at(share * stop.duration).q), f"tick {tick}"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    start=st.lists(st.floats(0, 1), min_size=7, max_size=7),
    commands=st.lists(st.lists(st.floats(-20, 20, width=32), min_size=7, max_size=7), min_size=1, max_size=40),
    hold=st.integers(1, 25),
)
def test_any_sequence_from_any_start_keeps_the_limits(start: list[float], commands: list[list[float]], hold: int) -> None:
    robot = load_robot("panda")
    safety = SafetyFilter(robot, DT)
    limits = safety.limits
    watch = Watch(safety, Reference.at_rest(limits.q_min + np.array(start) * (limits.q_max - limits.q_min)))
    for command in commands:
        for _ in range(hold):
            watch.step(np.array(command))


@pytest.mark.parametrize("seed", range(4))
def test_the_arm_never_touches_itself_or_leaves_its_cell(robot: RobotConfig, keep_out: KeepOut, seed: int) -> None:
    """Judged by MuJoCo's own contacts, not by the filter's spheres."""
    rng, plant = np.random.default_rng(seed), MujocoPlant(robot)
    watch = Watch(SafetyFilter(robot, DT, keep_out), Reference.at_rest(robot.home))
    acted = 0
    wanted = np.zeros(robot.n)
    for tick in range(4_000):
        if tick % 150 == 0:
            wanted = rng.uniform(-2, 2, robot.n)
        watch.step(wanted)
        acted += bool({"box", "self_collision"} & set(watch.acted))
        assert not plant.in_collision(watch.reference.q)
    assert acted > 20
    centres = keep_out.centres(np.array([row.q for row in watch.rows[::20]]))
    moving = keep_out.link >= 0
    assert (centres[:, moving] - keep_out.radius[moving, None] >= keep_out.low - 1e-6).all()
    assert (centres[:, moving] + keep_out.radius[moving, None] <= keep_out.high + 1e-6).all()


def test_the_way_back_from_a_wall_is_free(robot: RobotConfig, keep_out: KeepOut) -> None:
    watch = Watch(SafetyFilter(robot, DT, keep_out), Reference.at_rest(robot.home))
    down = np.array([0.0, 1.5, 0, 0, 0, 0, 0])
    for _ in range(2_000):
        watch.step(down)
    assert "box" in watch.acted
    assert np.abs(watch.reference.dq).max() < 0.05
    low = watch.reference.q[1]
    for _ in range(200):
        watch.step(-down)
    assert watch.reference.q[1] < low - 0.1


def test_full_speed_into_a_position_limit_stops_just_before_it(robot: RobotConfig) -> None:
    watch = Watch(SafetyFilter(robot, DT), Reference.at_rest(robot.home))
    for _ in range(5_000):
        watch.step(np.full(robot.n, 10.0))
    assert watch.reference.rests
    gap = robot.q_max - watch.reference.q
    assert (gap >= robot.safety.position_margin - SLACK).all()
    assert (gap < robot.safety.position_margin + 0.02).all()
    assert watch.acted["velocity"] == pytest.approx(10.0, abs=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["velocity", "slope"])
def test_a_command_that_is_not_finite_is_a_stop(robot: RobotConfig, bad: float, where: str) -> None:
    watch = Watch(SafetyFilter(robot, DT), Reference.at_rest(robot.home))
    for _ in range(100):
        watch.step(np.full(robot.n, 0.5))
    command = np.full(robot.n, 0.5)
    spoilt = command.copy()
    spoilt[3] = bad
    for _ in range(500):
        watch.step(spoilt if where == "velocity" else command, spoilt if where == "slope" else None)
        assert watch.acted["finite"] == 1.0
    assert watch.reference.rests


def test_a_feasible_ramp_is_followed_exactly_and_no_rule_acts(robot: RobotConfig) -> None:
    watch, slope = Watch(SafetyFilter(robot, DT), Reference.at_rest(robot.home)), np.full(robot.n, 2.0)
    for tick in range(100):
        watch.step((tick + 1) * DT * slope, slope)
        if tick:
            assert watch.acted == {}
    np.testing.assert_allclose(watch.reference.dq, 100 * DT * slope, atol=1e-9)
    np.testing.assert_allclose(watch.reference.q, robot.home + 0.5 * slope * (100 * DT) ** 2, atol=1e-4)


def test_the_stop_is_the_fastest_within_the_limits(robot: RobotConfig) -> None:
    """Against v / a + a / j, the time of a jerk-limited stop that reaches the full deceleration (Berscheid and Kroeger 2021)."""
    watch = Watch(SafetyFilter(robot, DT), Reference.at_rest(robot.home))
    for _ in range(200):
        watch.step(np.full(robot.n, 1.0))
    speed, limits = watch.reference.dq, watch.limits
    expected = (speed / limits.acceleration + limits.acceleration / limits.jerk).max()
    ticks = 0
    while not watch.reference.rests:
        watch.stop()
        ticks += 1
    assert ticks * DT == pytest.approx(expected, abs=2.5 * DT)


def test_a_steady_speed_is_stopped_too(robot: RobotConfig) -> None:
    """No acceleration is no rest."""
    steady = Reference.at_rest(robot.home)._replace(dq=np.full(robot.n, 0.3))
    after = SafetyFilter(robot, DT).stop(steady)
    assert (after.dq < 0.3).all()
    assert (after.q > robot.home).all()


def test_a_reference_that_rests_is_left_alone(robot: RobotConfig) -> None:
    start = Reference.at_rest(robot.home)
    assert SafetyFilter(robot, DT).stop(start) is start


def test_a_start_outside_the_limits_may_only_move_back(robot: RobotConfig) -> None:
    safety, outside = SafetyFilter(robot, DT), robot.home.copy()
    outside[0] = robot.q_max[0] + 0.1
    reference = Reference.at_rest(outside)
    for _ in range(300):
        reference, _ = safety.step(reference, np.full(robot.n, 0.5), np.zeros(robot.n))
    assert reference.q[0] <= outside[0] + 1e-9
    for _ in range(1500):
        reference, acted = safety.step(reference, np.array([-0.5, *np.zeros(robot.n - 1)]), np.zeros(robot.n))
    assert reference.q[0] < robot.q_max[0]
    assert "stopping_distance" not in acted


def test_a_joint_at_its_torque_limit_does_not_pull_further(robot: RobotConfig) -> None:
    safety, reference = SafetyFilter(robot, DT), Reference.at_rest(robot.home)
    gives = 0.05 * np.array([joint.stiffness for joint in robot.joints])  # 0.05 rad behind its reference: more than the torque limit
    zero = np.zeros(robot.n)
    for _ in range(100):
        reference, acted = safety.step(reference, np.full(robot.n, 0.5), zero, torque=gives)
    most = max(joint.stiffness * 0.05 - joint.torque for joint in robot.joints)
    assert acted["torque"] == pytest.approx(most, rel=0.2)
    np.testing.assert_allclose(reference.q, robot.home, atol=1e-6)
    back, acted = safety.step(reference, np.full(robot.n, -0.5), zero, torque=gives)
    assert "torque" not in acted
    assert (back.dq < 0).all()


def test_a_joint_at_its_torque_limit_follows_neither_a_creeping_speed_nor_a_slope(robot: RobotConfig) -> None:
    safety, start, zero = SafetyFilter(robot, DT), Reference.at_rest(robot.home), np.zeros(robot.n)
    after, acted = safety.step(start, np.full(robot.n, 1e-4), np.full(robot.n, 5.0), torque=1.001 * robot.limits("torque"))
    assert "torque" in acted
    np.testing.assert_array_equal(after.dq, zero)


@pytest.mark.parametrize(("share", "acts"), [(0.999, False), (1.001, True)])
def test_the_torque_rule_begins_at_the_limit(robot: RobotConfig, share: float, acts: bool) -> None:
    torque = np.zeros(robot.n)
    torque[2] = share * robot.joints[2].torque
    _, acted = SafetyFilter(robot, DT).step(Reference.at_rest(robot.home), np.full(robot.n, 0.3), np.zeros(robot.n), torque=torque)
    assert ("torque" in acted) is acts


def test_every_rule_says_by_how_much_it_acted(robot: RobotConfig, keep_out: KeepOut) -> None:
    """All rules but the last resort of the stopping distance, which the braking curve leaves nothing to do."""
    safety = SafetyFilter(robot, DT, keep_out)
    start, zero, told = Reference.at_rest(robot.home), np.zeros(robot.n), {}
    limits = safety.limits
    told |= safety.step(start, np.full(robot.n, np.nan), zero)[1]
    told |= safety.step(start, 2 * limits.velocity, zero)[1]
    near = start._replace(q=np.append(robot.q_max[0] - 0.031, robot.home[1:]))
    told |= SafetyFilter(robot, DT).step(near, np.full(robot.n, 1.0), zero)[1]
    told |= safety.step(start, np.full(robot.n, 0.5), zero, torque=3 * robot.limits("torque"))[1]
    told |= safety.step(start, limits.acceleration * DT * 0.9, limits.acceleration)[1]
    for command in (np.array([0.0, 1.5, 0, 0, 0, 0, 0]), np.array([0.0, 0.0, 0, -1.0, 0, -1.0, 0])):
        reference = start
        for _ in range(1_500):
            reference, acted = safety.step(reference, command, zero)
            told |= acted
    assert set(RULES) - set(told) <= {"stopping_distance"}
    assert all(amount > 0 for amount in told.values())


LINEAR = JointConfig(
    name="slide", kind="prismatic", position=(-1.0, 1.0), velocity=1.0, acceleration=2.0, jerk=10.0, torque=10.0, stiffness=100.0, damping=10.0, home=0.0,
)  # fmt: skip


@pytest.fixture
def slide(robot: RobotConfig) -> RobotConfig:
    """One prismatic joint with little jerk: what takes long to stop."""
    safety = robot.safety.model_copy(update={"position_margin": 0.1, "margin": 0.05})
    return changed(robot, joints=(LINEAR,), limit_fraction=1.0, safety=safety)


def test_a_sluggish_joint_stops_before_its_limit_from_every_speed(slide: RobotConfig) -> None:
    watch = Watch(SafetyFilter(slide, DT), Reference.at_rest(np.zeros(1)))
    for tick in range(6_000):
        watch.step(np.array([9.0 if tick < 3000 else -9.0]), np.array([2.0]))
    assert watch.reference.q[0] == pytest.approx(-0.9, abs=0.03)
    assert max(row.q[0] for row in watch.rows) == pytest.approx(0.9, abs=0.03)


def test_the_box_holds_a_slide_at_its_wall_less_radius_and_margin(slide: RobotConfig) -> None:
    joint = ChainJoint(kind="prismatic", rotation=np.eye(3), offset=np.array([0.0, 0.0, 0.2]))
    wall = KeepOut(
        joints=(joint,), link=np.array([0]), centre=np.array([[0.0, 0.0, 0.1]]), radius=np.array([0.1]), first=np.array([], dtype=int),
        second=np.array([], dtype=int), low=np.full(3, -5.0), high=np.array([5.0, 5.0, 0.8]),
    )  # fmt: skip
    watch = Watch(SafetyFilter(slide, DT, wall), Reference.at_rest(np.zeros(1)))
    for _ in range(4_000):
        watch.step(np.array([1.0]))
    assert watch.reference.q[0] == pytest.approx(0.8 - 0.1 - 0.05 - 0.3, abs=0.01)
    assert watch.reference.q[0] <= 0.35 + 1e-6


def test_two_slides_do_not_run_into_each_other(slide: RobotConfig) -> None:
    """Pairs of spheres on different links: the second slide moves on the first, towards the base's own sphere."""
    two = changed(slide, joints=(LINEAR, LINEAR.model_copy(update={"name": "second"})))
    joint = ChainJoint(kind="prismatic", rotation=np.eye(3), offset=np.zeros(3))
    parts = KeepOut(
        joints=(joint, joint), link=np.array([-1, 1]), centre=np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), radius=np.array([0.1, 0.1]),
        first=np.array([0]), second=np.array([1]), low=np.full(3, -5.0), high=np.full(3, 5.0),
    )  # fmt: skip
    watch = Watch(SafetyFilter(two, DT, parts), Reference.at_rest(np.zeros(2)))
    for _ in range(4_000):
        watch.step(np.array([0.5, 0.5]))
    assert watch.reference.q.sum() == pytest.approx(1.0 - 0.2 - 0.05, abs=0.01)
    assert "self_collision" in watch.acted
