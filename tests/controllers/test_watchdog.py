"""The robot's own watchdog, the spheres around its parts, what passes through shared memory, and the planner of last resort."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.fallback import SPEED, ResolvedRate
from taustack.controllers.plan import Plan
from taustack.controllers.watchdog import SelfStop
from taustack.controllers.wire import (
    CommandOut,
    Measurement,
    Request,
    TrackerState,
    pack_command,
    pack_measurement,
    pack_plan,
    pack_request,
    pack_tracker_state,
    unpack_command,
    unpack_measurement,
    unpack_plan,
    unpack_request,
    unpack_tracker_state,
)  # fmt: skip
from taustack.errors import PlanFailed, WayBlocked
from taustack.kinematics import KinematicChain
from taustack.layout import Measured, RobotState
from taustack.obstacles import Obstacle, capsule_distances, obstacle_rows
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant

DT = 0.001


def moving(robot: RobotConfig, speed: float = 0.5) -> SelfStop:
    """A robot that was commanded a steady speed until now."""
    robot_side = SelfStop(robot, robot.home, DT)
    for tick in range(100):
        robot_side.command(robot.home + tick * DT * speed, np.full(robot.n, speed))
        robot_side.step(robot.home)
    return robot_side


def test_without_commands_for_the_timeout_it_stops_within_the_limits(robot: RobotConfig) -> None:
    side = moving(robot)
    silent, references = 0, []
    while not side.stopped:
        references.append(side.step(robot.home))
        silent += 1
    assert silent * DT == pytest.approx(robot.safety.command_timeout_s, abs=2 * DT)
    references += [side.step(robot.home) for _ in range(100)]
    assert side.reference.rests
    accelerations = np.diff([r.dq for r in references], axis=0) / DT
    assert (np.abs(accelerations) <= robot.limits("acceleration") * (1 + 1e-6)).all()
    assert (np.abs(np.diff(accelerations, axis=0)) / DT <= robot.limits("jerk") * (1 + 1e-6)).all()


def test_a_stopped_robot_takes_commands_again_only_from_rest_where_it_stands(robot: RobotConfig) -> None:
    side = moving(robot)
    for _ in range(200):
        side.step(robot.home)
    stands = side.reference.q.copy()
    zero = np.zeros(robot.n)
    assert not side.command(stands + 0.01, zero)
    assert not side.command(stands, zero + 0.5)
    assert side.stopped
    assert side.refused == 2
    assert side.command(stands + 5e-4, zero)
    assert not side.stopped


def test_a_leap_is_refused_and_ends_in_a_stop(robot: RobotConfig) -> None:
    side = moving(robot)
    at = side.reference.q.copy()
    assert side.command(at + 2.9 * DT * robot.limits("velocity"), side.reference.dq)
    at = side.reference.q.copy()
    for _ in range(30):
        assert not side.command(at + 0.2, side.reference.dq)
        side.step(robot.home)
    assert side.stopped


def test_a_robot_that_is_still_stopping_takes_no_command(robot: RobotConfig) -> None:
    side = moving(robot)
    while not side.stopped:
        side.step(robot.home)
    assert not side.command(side.reference.q, side.reference.dq)


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), np.full(7, np.inf)])
def test_a_command_that_is_none_counts_as_silence(robot: RobotConfig, bad: np.ndarray) -> None:
    side = moving(robot)
    for _ in range(30):
        assert not side.command(bad, np.zeros(robot.n))
        side.step(robot.home)
    assert side.stopped


def test_a_damped_robot_follows_its_joints(robot: RobotConfig) -> None:
    side = moving(robot)
    side.damp()
    q = robot.home + 0.3
    assert side.damped
    np.testing.assert_array_equal(side.step(q).q, q)
    for _ in range(100):
        side.step(q)
    assert not side.stopped
    assert side.command(q, np.zeros(robot.n))
    assert not side.damped


def test_the_spheres_cover_all_that_mujoco_can_touch(robot: RobotConfig) -> None:
    plant, rng = MujocoPlant(robot), np.random.default_rng(0)
    keep_out = keep_out_from_model(plant.nominal, robot)
    free, alarms = 0, 0
    for _ in range(2_000):
        q = rng.uniform(robot.q_min, robot.q_max)
        near = keep_out.distances(q[None]).min() <= 0
        touches = plant.in_collision(q)
        assert near or not touches
        free, alarms = free + (not touches), alarms + (near and not touches)
    assert alarms < 0.05 * free


def test_the_spheres_go_with_the_links(robot: RobotConfig) -> None:
    plant = MujocoPlant(robot)
    keep_out, rng = keep_out_from_model(plant.nominal, robot), np.random.default_rng(1)
    q = rng.uniform(robot.q_min, robot.q_max, (5, robot.n))
    centres = keep_out.centres(q)
    for row, at in zip(q, centres, strict=True):
        plant.reset(row)
        for sphere, radius in zip(at, keep_out.radius, strict=True):
            gaps = np.linalg.norm(plant.data.geom_xpos - sphere, axis=1) - plant.model.geom_rbound - radius
            assert gaps[plant.model.geom_rbound > 0].min() < 1e-9


def test_distances_change_by_no_more_than_the_bound(robot: RobotConfig) -> None:
    keep_out, rng = keep_out_from_model(MujocoPlant(robot).nominal, robot), np.random.default_rng(2)
    for _ in range(300):
        q = rng.uniform(robot.q_min, robot.q_max)
        step = rng.normal(0, 0.1, robot.n)
        before, after = keep_out.distances(np.stack([q, q + step])).T
        assert (np.abs(after - before) <= keep_out.change(q[None], (q + step)[None]) + 1e-9).all()


def state_at(robot: RobotConfig, t: float = 1.5) -> RobotState:
    rng = np.random.default_rng(0)
    q, dq, q_ref, dq_ref, torque = rng.normal(size=(5, robot.n))
    return RobotState(t=t, q=q, dq=dq, q_ref=q_ref, dq_ref=dq_ref, torque=torque, ee=rng.normal(size=3))


def same(a: RobotState, b: RobotState) -> bool:
    return a.t == b.t and all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("q", "dq", "q_ref", "dq_ref", "torque", "ee"))


def test_what_is_packed_is_unpacked(robot: RobotConfig) -> None:
    n, state = robot.n, state_at(robot)
    measurement = unpack_measurement(pack_measurement(Measurement(state=state, estop=True, self_stopped=False)), n)
    assert same(measurement.state, state)
    assert (measurement.estop, measurement.self_stopped) == (True, False)
    out = TrackerState(measured=Measured(state=state, seq=2**40, epoch=3), state="holding", plan_seq=2**50)
    back = unpack_tracker_state(pack_tracker_state(out), n)
    assert same(back.measured.state, state)
    assert (back.measured.seq, back.measured.epoch, back.state, back.plan_seq) == (2**40, 3, "holding", 2**50)
    command = unpack_command(pack_command(CommandOut(t=2.0, q_ref=state.q, dq_ref=state.dq, damped=True)), n)
    assert (command.t, command.damped) == (2.0, True)
    np.testing.assert_array_equal(command.dq_ref, state.dq)
    plan = Plan(seq=5, state_seq=4, epoch=2, state_t=1.0, effective_t=1.04, dt=0.02, actions=np.arange(14.0).reshape(2, 7), states=np.zeros((0, 0)))
    got = unpack_plan(pack_plan(plan))
    assert (got.seq, got.state_seq, got.epoch, got.state_t, got.effective_t, got.dt) == (5, 4, 2, 1.0, 1.04, 0.02)
    np.testing.assert_array_equal(got.actions, plan.actions)
    request = Request(t=3.0, estop=True, estop_reason="x" * 500, hold="wait", resets=7)
    assert unpack_request(pack_request(request)) == Request(t=3.0, estop=True, estop_reason="x" * 200, hold="wait", resets=7)


def test_a_measurement_in_whole_numbers_or_single_precision_arrives_as_it_was(robot: RobotConfig) -> None:
    """An adapter that counts in encoder steps must not be read as zeros."""
    state = state_at(robot)._replace(q=np.arange(robot.n), dq=np.arange(robot.n)[::-1], torque=np.full(robot.n, 0.5, np.float32))
    back = unpack_measurement(pack_measurement(Measurement(state=state)), robot.n).state
    assert back.q.dtype == float
    assert same(back, state)


@pytest.mark.parametrize("cut", [0, 1, 17, -1])
def test_bytes_of_another_robot_or_none_are_refused(robot: RobotConfig, cut: int) -> None:
    state = state_at(robot)
    data = pack_measurement(Measurement(state=state))
    for unpack in (unpack_measurement, unpack_tracker_state):
        with pytest.raises(ValueError, match="bytes"):
            unpack(data[:cut], robot.n)
        with pytest.raises(ValueError, match="bytes"):
            unpack(data, robot.n + 1)
    with pytest.raises(ValueError, match="bytes"):
        unpack_command(pack_command(CommandOut(t=0.0, q_ref=state.q, dq_ref=state.q, damped=False))[:cut], robot.n)


def test_random_bytes_never_crash_a_reader(robot: RobotConfig) -> None:
    rng = np.random.default_rng(0)
    for size in rng.integers(0, 600, 2_000):
        data = rng.bytes(int(size))
        for unpack in (unpack_plan, unpack_request, lambda d: unpack_measurement(d, robot.n), lambda d: unpack_command(d, robot.n)):
            try:
                unpack(data)
            except (ValueError, OverflowError):
                continue


def test_the_fallback_reaches_a_goal_slowly_by_kinematics_alone(robot: RobotConfig, chain: KinematicChain, tmp_path: Path) -> None:
    planner, plant = ResolvedRate(robot, chain, 25, 0.04), MujocoPlant(robot)
    goal, fastest, last = np.array([0.5, 0.2, 0.4]), 0.0, plant.read().ee
    for seq in range(1, 250):
        plan = planner.plan(Measured(state=plant.read(), seq=seq), goal, seq)
        assert (np.abs(np.diff(plan.actions, axis=0)) <= 0.5 * robot.limits("acceleration") * 0.02 + 1e-9).all()
        state = plant.read()
        q_ref = state.q_ref
        for _ in range(20):
            q_ref = q_ref + DT * plan.actions[0]
            plant.write(q_ref, plan.actions[0])
            plant.advance(DT)
        fastest, last = max(fastest, float(np.linalg.norm(plant.read().ee - last)) / 0.02), plant.read().ee
    assert np.linalg.norm(last - goal) < 0.01
    assert fastest < 1.3 * SPEED


def test_the_fallback_refuses_what_is_not_finite(robot: RobotConfig, chain: KinematicChain) -> None:
    with pytest.raises(PlanFailed):
        ResolvedRate(robot, chain, 25, 0.04).plan(Measured(state=state_at(robot)), np.full(3, np.nan), 1)


def test_the_fallback_stops_before_an_obstacle_and_may_still_go_away_from_it(robot: RobotConfig, chain: KinematicChain) -> None:
    planner, plant = ResolvedRate(robot, chain, 25, 0.04), MujocoPlant(robot)
    home = plant.read().ee
    wall = obstacle_rows([Obstacle(shape="box", position=tuple((home + [0.0, 0.3, 0.0]).tolist()), size=(0.4, 0.02, 0.4))])

    def room() -> float:
        ends = chain.of_capsules.components(plant.read().q[:, None])
        return float(capsule_distances(ends, np.array(chain.capsules), wall).min())

    def go_on() -> None:
        for seq in range(1, 250):
            plan = planner.plan(Measured(state=plant.read(), seq=seq), home + [0.0, 0.6, 0.0], seq, wall)
            q_ref = plant.read().q_ref
            for _ in range(20):
                q_ref = q_ref + DT * plan.actions[0]
                plant.write(q_ref, plan.actions[0])
                plant.advance(DT)

    with pytest.raises(WayBlocked, match="an obstacle is"):
        go_on()
    assert 0.02 < room() < 0.25
    assert len(planner.plan(Measured(state=plant.read(), seq=300), home - [0.0, 0.2, 0.0], 300, wall).actions) == 25
