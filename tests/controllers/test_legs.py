"""Kinematics of the legs against MuJoCo and finite differences; the gait's feet; the laws' arithmetic."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from taustack.controllers.attitude import cross_matrix, rotation, upright, yaw_of
from taustack.controllers.base_state import BaseEstimate
from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import GaitCommand, GaitState
from taustack.controllers.leg_monitors import Level
from taustack.controllers.leg_watchdog import LegSelfStop
from taustack.controllers.leg_wire import LegCommand
from taustack.controllers.legs import Legs
from taustack.controllers.walk_laws import Feedback, FeedForward, StrideMap, make_walk_law, towards
from taustack.controllers.walk_state import WalkState
from taustack.errors import UnknownName
from taustack.legged import LeggedConfig, load_legged
from taustack.legged_layout import layout, state_size
from taustack.sim.legged_plant import compile_legged

DT = 0.002
FOOT_M = 0.003  # the published foot sits 2 mm off the calf's axis


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


def state(
    position: tuple[float, float] = (0.0, 0.0),
    yaw: float = 0.0,
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0),
    strides: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> WalkState:
    c, s = np.cos(yaw), np.sin(yaw)
    vx, vy, turn = velocity
    base = BaseEstimate(
        position=np.array([*position, 0.3]), velocity=np.array([c * vx - s * vy, s * vx + c * vy, 0.0]), turn_rate=np.array([0.0, 0.0, turn]),
        quaternion=np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]), covariance=np.eye(6), slipping=np.zeros(4, dtype=bool),
    )  # fmt: skip
    gait = GaitState(phase=0.25, velocity=np.array(strides), landing=np.zeros(2), walks=True, feet=np.zeros((4, 2)), lifted=np.zeros((4, 2)))
    return WalkState(t=0.0, base=base, q=np.arange(12.0), dq=np.zeros(12), gait=gait)


def test_feet_are_where_mujoco_has_them(go2: LeggedConfig) -> None:
    model, legs, rng = compile_legged(go2), Legs(go2), np.random.default_rng(0)
    data = mujoco.MjData(model)
    for _ in range(50):
        q = rng.uniform(go2.q_min, go2.q_max)
        data.qpos[:7], data.qpos[7:] = [0, 0, 0, 1, 0, 0, 0], q
        mujoco.mj_kinematics(model, data)
        places = np.array([data.geom(leg.foot).xpos for leg in go2.legs])
        assert np.abs(places - legs.feet(q)).max() < FOOT_M


def test_jacobians_are_the_derivatives_of_the_feet(go2: LeggedConfig) -> None:
    legs, rng = Legs(go2), np.random.default_rng(1)
    for _ in range(20):
        q = rng.uniform(go2.q_min, go2.q_max)
        by_hand = np.zeros((4, 3, 3))
        for joint in range(12):
            step = np.zeros(12)
            step[joint] = 1e-6
            by_hand[joint // 3, :, joint % 3] = ((legs.feet(q + step) - legs.feet(q - step)) / 2e-6)[joint // 3]
        np.testing.assert_allclose(legs.jacobians(q), by_hand, atol=1e-6)


def test_joints_bring_the_feet_where_they_are_asked(go2: LeggedConfig) -> None:
    legs, rng = Legs(go2), np.random.default_rng(2)
    for _ in range(200):
        feet = legs.below + np.array([0, 0, -0.27]) + rng.uniform(-1, 1, (4, 3)) * [0.12, 0.08, 0.07]
        q = legs.joints(feet)
        assert ((q >= go2.q_min) & (q <= go2.q_max)).all()
        np.testing.assert_allclose(legs.feet(q), feet, atol=1e-9)


def test_out_of_reach_a_leg_stretches_towards_it_and_stays_within_its_limits(go2: LeggedConfig) -> None:
    legs = Legs(go2)
    far = legs.below + np.array([0.5, 0.0, -0.9])
    q = legs.joints(far)
    assert np.isfinite(q).all()
    assert ((q >= go2.q_min) & (q <= go2.q_max)).all()
    way, wanted = legs.feet(q) - legs.below, far - legs.below
    assert ((way * wanted).sum(1) / np.linalg.norm(way, axis=1) / np.linalg.norm(wanted, axis=1) > 0.98).all()


def walked(gait: Gait, velocity: list[float], ticks: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """q (T, 12), dq (T, 12), stance (T, 4)."""
    rows = [gait.step(GaitCommand(velocity=np.array(velocity))) for _ in range(ticks)]
    return np.array([r.q for r in rows]), np.array([r.dq for r in rows]), np.array([r.stance for r in rows])


def test_without_a_command_all_feet_stay_on_the_floor(go2: LeggedConfig) -> None:
    q, dq, stance = walked(Gait(go2, DT), [0.0, 0.0, 0.0], 500)
    assert stance.all()
    assert np.abs(dq).max() == 0
    assert np.ptp(q, axis=0).max() == 0


def test_a_foot_on_the_floor_goes_back_as_fast_as_the_base_shall_go_ahead(go2: LeggedConfig) -> None:
    gait = Gait(go2, DT)
    q, _, stance = walked(gait, [0.5, 0.1, 0.4], 400)
    feet = np.array([gait.legs.feet(row) for row in q])
    both = stance[1:] & stance[:-1]
    speed = np.diff(feet, axis=0) / DT
    at = gait.legs.below + [go2.gait.foot_offset, 0, 0]
    for leg in range(4):
        expected = -np.array([0.5 - 0.4 * at[leg, 1], 0.1 + 0.4 * at[leg, 0]])
        np.testing.assert_allclose(np.median(speed[both[:, leg], leg, :2], axis=0), expected, atol=0.02)


def test_a_trot_has_half_of_its_feet_on_the_floor_and_lifts_the_others(go2: LeggedConfig) -> None:
    gait = Gait(go2, DT)
    q, dq, stance = walked(gait, [0.5, 0.0, 0.0], 1000)
    assert (stance.sum(1) == 2).mean() > 0.95
    height = np.array([gait.legs.feet(row)[:, 2] for row in q])
    assert height.max() - height.min() == pytest.approx(go2.gait.swing_height, abs=0.01)
    assert (np.abs(dq[2:]) < go2.of_joints("velocity")).all()


def test_the_fastest_strides_stay_within_what_the_joints_can(go2: LeggedConfig) -> None:
    rng, gait = np.random.default_rng(3), Gait(go2, DT)
    for _ in range(30):
        command = rng.uniform(-3, 3, 3)
        q, dq, _ = walked(gait, command.tolist(), 200)
        assert ((q >= go2.q_min) & (q <= go2.q_max)).all()
        assert (np.abs(dq[1:]) < go2.of_joints("velocity")).all()


def test_a_walk_that_ends_brings_the_feet_together(go2: LeggedConfig) -> None:
    gait = Gait(go2, DT)
    walked(gait, [0.8, 0.0, 0.3], 333)
    q, _, stance = walked(gait, [0.0, 0.0, 0.0], 400)
    assert stance[-1].all()
    np.testing.assert_allclose(gait.legs.feet(q[-1])[:, 2], -go2.gait.height, atol=1e-9)


def test_residuals_move_the_joints_and_are_kept_within_the_limits(go2: LeggedConfig) -> None:
    plain, moved = Gait(go2, DT).step(GaitCommand(velocity=np.zeros(3))), Gait(go2, DT)
    small = moved.step(GaitCommand(velocity=np.zeros(3), residual=np.full(12, 0.05)))
    np.testing.assert_allclose(small.q - plain.q, 0.05)
    large = moved.step(GaitCommand(velocity=np.zeros(3), residual=np.full(12, 9.0)))
    assert (large.q <= go2.q_max).all()


def test_a_map_of_strides_is_found_and_inverted() -> None:
    rng = np.random.default_rng(4)
    gain, offset = np.diag([0.6, 0.7, 0.8]) + 0.05 * rng.normal(size=(3, 3)), np.array([-0.1, 0.02, 0.01])
    commands = rng.uniform(-1, 1, (50, 3))
    strides = StrideMap.fitted(commands, commands @ gain.T + offset + 1e-3 * rng.normal(size=(50, 3)))
    np.testing.assert_allclose(strides.gain, gain, atol=2e-3)
    wanted = np.array([0.4, -0.1, 0.3])
    np.testing.assert_allclose(gain @ FeedForward(strides).command(wanted, state()).velocity + offset, wanted, atol=5e-3)
    assert not FeedForward(strides).command(np.zeros(3), state()).velocity.any()


def test_feedback_counts_on_what_it_missed_and_stands_when_told_to() -> None:
    law = Feedback(StrideMap(gain=np.eye(3), offset=np.zeros(3)), 0.02)
    slow = state(velocity=(0.3, 0.0, 0.0), strides=(0.5, 0.0, 0.0))
    for _ in range(300):
        command = law.command(np.array([0.5, 0.0, 0.0]), slow)
    assert command.velocity[0] == pytest.approx(0.7, abs=0.01)
    assert command.landing[0] == pytest.approx(-0.12 * 0.2, abs=1e-3)  # behind its strides: feet land further back
    for _ in range(300):
        command = law.command(np.zeros(3), state())
    assert not command.velocity.any()
    assert np.abs(command.landing).max() < 1e-3


def test_a_change_of_the_command_is_no_disturbance_to_the_feedback() -> None:
    """A robot that follows its strides with the lag that the law counts on: the strides stay those of the feed-forward."""
    law, velocity, strides, seen = Feedback(StrideMap(gain=np.eye(3), offset=np.zeros(3)), 0.02), 0.0, 0.0, []
    for _ in range(100):
        strides = law.command(np.array([0.5, 0.0, 0.0]), state(velocity=(velocity, 0.0, 0.0), strides=(strides, 0.0, 0.0))).velocity[0]
        seen.append(strides)
        velocity += (strides - velocity) * (1 - np.exp(-0.02 / 0.15))
    assert np.ptp(seen) < 0.02


def test_feet_land_further_off_where_a_landing_says_so_and_do_not_jump(go2: LeggedConfig) -> None:
    gait, feet = Gait(go2, DT), []
    for tick in range(1000):
        landing = np.array([0.0, 0.1]) if tick >= 500 else np.zeros(2)
        feet.append(gait.legs.feet(gait.step(GaitCommand(velocity=np.array([0.4, 0.0, 0.0]), landing=landing)).q))
    path = np.array(feet)
    assert np.abs(np.diff(path, axis=0)).max() < 0.01
    np.testing.assert_allclose(path[700:, :, 1].mean(0) - path[100:500, :, 1].mean(0), 0.1, atol=0.01)


def test_feet_on_the_floor_carry_the_robot(go2: LeggedConfig) -> None:
    gait = Gait(go2, DT)
    for velocity in (np.zeros(3), np.array([0.5, 0.0, 0.0])):
        targets = gait.step(GaitCommand(velocity=velocity))
        down = [np.linalg.solve(j.T, t)[2] for j, t in zip(gait.legs.jacobians(targets.q), targets.torque.reshape(4, 3), strict=True)]
        assert sum(down) == pytest.approx(-go2.mass * 9.81)
        assert (np.array(down)[~targets.stance] == 0).all()


def test_the_state_of_a_model_is_laid_out_as_said(go2: LeggedConfig) -> None:
    moving, parts = state(yaw=0.4, velocity=(0.3, -0.1, 0.2), strides=(0.5, 0.0, 0.1)), layout(12)
    x = moving.x()
    assert x.shape == (state_size(12),)
    np.testing.assert_allclose(x[parts["up"]], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(x[parts["velocity"]], [0.3, -0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(x[parts["q"]], np.arange(12.0))
    np.testing.assert_allclose(x[parts["strides"]], [0.5, 0.0, 0.1, 0.0, 0.0])
    np.testing.assert_allclose(x[parts["clock"]], [1.0, 0.0], atol=1e-12)


@pytest.mark.parametrize(("goal", "signs"), [((3.0, 0.0), (1, 0, 0)), ((0.0, 3.0), (0, 1, 1)), ((-3.0, -0.1), (-1, -1, -1))])
def test_towards_a_goal_it_turns_to_it_and_walks(goal: tuple[float, float], signs: tuple[int, int, int]) -> None:
    velocity = towards(np.array(goal), state(), np.array([0.8, 0.3, 1.0]))
    assert tuple(np.sign(np.round(velocity, 6)).astype(int)) == signs


def test_what_is_asked_at_once_keeps_to_the_ellipsoid_of_what_is_asked_alone() -> None:
    most = np.array([0.8, 0.3, 1.0])
    for bearing in np.linspace(-np.pi, np.pi, 25):
        assert np.linalg.norm(towards(3 * np.array([np.cos(bearing), np.sin(bearing)]), state(), most) / most) <= 1 + 1e-9
    np.testing.assert_allclose(towards(np.array([3.0, 0.0]), state(), most), [0.8, 0.0, 0.0], atol=1e-9)


def test_at_the_goal_it_stands() -> None:
    assert not towards(np.array([1.0, 1.0]), state(position=(0.95, 1.02)), np.array([0.8, 0.3, 1.0])).any()


def test_an_unknown_law_names_the_choices() -> None:
    with pytest.raises(UnknownName, match="open_loop"):
        make_walk_law("trot", load_legged("go2"))


def test_the_vertical_and_the_heading_make_an_orientation() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        up, yaw = rng.normal(size=3) + [0, 0, 2], rng.uniform(-3, 3)
        quaternion = upright(yaw, up)
        np.testing.assert_allclose(rotation(quaternion)[2], up / np.linalg.norm(up), atol=1e-12)
        assert yaw_of(quaternion) == pytest.approx(yaw)
        other = rng.normal(size=3)
        np.testing.assert_allclose(cross_matrix(up) @ other, np.cross(up, other))


def test_up_is_told_by_a_robot_at_rest_and_by_no_other() -> None:
    rng, level = np.random.default_rng(0), Level()
    tilted = 9.81 * np.array([0.0, np.sin(0.2), np.cos(0.2)])
    said = [level.look(tilted + rng.normal(0, 0.3, 3)) for _ in range(60)]
    assert all(up is None for up in said[:49])
    assert said[-1] is not None
    np.testing.assert_allclose(said[-1], tilted / 9.81, atol=0.02)
    falling = [level.look(np.zeros(3)) for _ in range(60)]
    assert falling[-1] is None


def test_the_robots_own_watchdog_takes_commands_again_only_where_its_joints_are(go2: LeggedConfig) -> None:
    home, still = go2.of_joints("home"), np.zeros(12)
    stop = LegSelfStop(go2, 0.002)
    assert not any(stop.step() for _ in range(100))  # before the first command it stands as it does by itself

    def command(q: np.ndarray, damped: bool = False) -> bool:
        return stop.command(LegCommand(t=0.0, damped=damped, q=q, dq=still, torque=still), home)

    assert not command(np.full(12, np.nan))
    assert not command(np.zeros(3))
    assert command(home)
    silent = round(go2.safety.command_timeout_s / 0.002)
    assert [stop.step() for _ in range(silent + 2)] == [False] * silent + [True] * 2
    assert stop.stopped
    assert not command(home + 0.5)
    assert stop.step()
    assert command(home + 0.1)
    assert not stop.step()
    assert command(home, damped=True)
    assert stop.step()
    assert not stop.stopped
    assert not command(home + 0.5)
    assert stop.refused == 4
