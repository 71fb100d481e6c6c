"""The tracker of a robot on legs and the simulated robot, as processes tick by tick on a clock of the test's own, over real shared memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest

from taustack.controllers.base_state import ImuSample
from taustack.controllers.leg_monitors import LegSensorMonitor
from taustack.controllers.leg_wire import LegCommand, unpack_measurement, unpack_tracker_state
from taustack.controllers.leg_wire import pack_measurement as packed
from taustack.controllers.plan import Plan
from taustack.controllers.walk_tracker_process import WalkTrackerProcess
from taustack.controllers.wire import Request, pack_plan, pack_request, reader, unpack_status, writer
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.leg_simulation import LegSimulation
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.plant_process import PlantProcess

DT = 0.002
WALK = np.array([0.5, 0.0, 0.0, 0.0, 0.0])
Change = Callable[[ImuSample], ImuSample]


@pytest.fixture(scope="module")
def go2() -> LeggedConfig:
    return load_legged("go2")


class Sensed(LegSimulation):
    """A robot whose sensors may say something else."""

    change: Change | None = None

    def measured(self, deadline: float) -> bytes:
        true = unpack_measurement(super().measured(deadline), self.robot.n)
        return packed(replace(true, sample=self.change(true.sample)) if self.change else true)


class Pair:
    """Robot and tracker over channels in a folder, and the writers of bridge and planner."""

    def __init__(self, robot: LeggedConfig, folder: Path) -> None:
        self.robot, self.t, self.seq = robot, 100.0, 0
        self.simulation = Sensed(robot, LeggedScenario())
        self.process: PlantProcess[LegCommand] = PlantProcess(self.simulation, folder)
        self.process.step(self.t)
        self.tracker = WalkTrackerProcess(robot, folder, lambda: self.t)
        self.tracker.look()
        self.plans, self.requests = writer(folder, "plan"), writer(folder, "request")
        self.states, self.status = reader(folder, "state"), reader(folder, "status")
        self.ask: Request | None = Request(t=0.0)

    def run(self, seconds: float, u: np.ndarray | None = None, tracker: bool = True) -> None:
        for tick in range(round(seconds / DT)):
            if self.ask is not None:
                self.requests.write(pack_request(self.ask._replace(t=self.t)))
            if u is not None and tick % 10 == 0:
                self.seq += 1
                plan = Plan(
                    seq=self.seq, state_seq=0, epoch=self.following.epoch, state_t=self.t, effective_t=self.t + 0.02, dt=0.02,
                    actions=np.tile(u, (25, 1)), states=np.zeros((0, 0)),
                )  # fmt: skip
                self.plans.write(pack_plan(plan))
            if tracker:
                self.tracker.tick()
            self.process.step(self.t)
            self.t += DT

    @property
    def following(self):  # type: ignore[no-untyped-def]
        return self.tracker.tracker.following

    @property
    def plant(self):  # type: ignore[no-untyped-def]
        return self.simulation.plant

    def stands(self) -> bool:
        return not self.plant.fallen and float(np.abs(self.plant.joints()[1]).max()) < 0.3

    def close(self) -> None:
        self.tracker.close()
        self.process.close()
        for channel in (self.plans, self.requests, self.states, self.status):
            channel.close()


@pytest.fixture
def pair(go2: LeggedConfig, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(go2, tmp_path)
    yield made
    made.close()


def up_and_walking(pair: Pair) -> None:
    pair.run(1.0)
    assert (pair.following.state, pair.following.reason) == ("ready", "measurements are trusted")
    assert pair.stands()
    pair.run(2.0, WALK)
    assert pair.following.state == "running"


@pytest.mark.parametrize(
    "change",
    [
        lambda sample: sample._replace(q=np.where(np.arange(len(sample.q)) == 0, np.nan, sample.q)),
        lambda sample: sample._replace(t=sample.t - 3600.0),
    ],
    ids=["no number", "a clock set back for a while"],
)
def test_after_a_gap_the_estimate_is_right_at_once(pair: Pair, change: Change) -> None:
    """Believed on, the velocity of before contradicted all feet, which then counted as slipping: a robot that stood was estimated at 1 m/s, and fell."""
    up_and_walking(pair)
    pair.run(1.5, 1.8 * WALK)
    pair.simulation.change = change
    pair.run(0.4, 1.8 * WALK)
    pair.simulation.change = None
    pair.run(0.24, WALK)
    missed = []
    for _ in range(60):
        pair.run(0.04, WALK)
        missed.append(np.hypot(*(pair.tracker.tracker.state.base.velocity - pair.plant.truth().velocity)[:2]))
    assert pair.following.state == "running"
    assert max(missed) < 0.15


def test_it_stands_walks_by_plans_and_stands_again_when_they_end(pair: Pair) -> None:
    up_and_walking(pair)
    before = pair.plant.truth().position[0]
    pair.run(2.0, WALK)
    assert pair.plant.truth().position[0] - before == pytest.approx(1.0, abs=0.15)
    newest = unpack_tracker_state(pair.states.newest_message(), 12, 4)
    np.testing.assert_allclose(newest.walk.base.position[:2], pair.plant.truth().position[:2], atol=0.08)
    assert newest.plan_seq in (pair.seq - 1, pair.seq)  # the last one has not taken effect yet
    pair.run(1.5)
    assert (pair.following.state, pair.following.reason) == ("holding", "plan is stale")
    assert pair.stands()
    assert pair.tracker.at_rest


def test_an_estop_ends_the_walk_on_its_feet_and_nothing_moves_before_it_is_reset(pair: Pair) -> None:
    up_and_walking(pair)
    pair.ask = Request(t=0.0, estop=True)
    pair.run(1.0, WALK)
    assert (pair.following.state, pair.following.reason) == ("holding", "e-stop: pressed by the ROS graph")
    assert pair.stands()
    place = pair.plant.truth().position[:2].copy()
    pair.ask = Request(t=0.0)
    pair.run(0.5, WALK)
    np.testing.assert_allclose(pair.plant.truth().position[:2], place, atol=0.02)
    pair.ask = Request(t=0.0, resets=1)
    pair.run(0.1)
    assert (pair.following.state, pair.following.epoch) == ("ready", 1)
    pair.run(1.0, WALK)
    assert pair.following.state == "running"


def test_the_bridges_silence_is_a_hold(pair: Pair) -> None:
    up_and_walking(pair)
    pair.ask = None
    pair.run(0.15, WALK)
    assert (pair.following.state, pair.following.reason) == ("holding", "no sign of life from the driver node")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s._replace(gyro=s.gyro + [0, np.nan, 0]), "impossible: gyro of axis y is nan"),
        (lambda s: s._replace(acceleration=s.acceleration + [0, 0, 1e4]), "impossible: acceleration of axis z is 1.001e+04"),
        (lambda s: s._replace(q=np.where(np.arange(12) == 4, np.inf, s.q)), "impossible: q of FR_thigh_joint is inf"),
        (lambda s: s._replace(q=s.q + 0.5), "position jump: "),
        (lambda s: s._replace(t=s.t - 0.1), "clock went back: by 0.0"),
        (lambda s: s._replace(t=s.t + 0.1), "from the future: by 0.09"),
    ],
    ids=["gyro", "acceleration", "joint", "jump", "back", "future"],
)
def test_a_measurement_that_cannot_be_ends_the_walk_on_its_feet(pair: Pair, change: Change, said: str) -> None:
    up_and_walking(pair)
    pair.simulation.change = change
    pair.run(0.024, WALK)  # what is a little late is no clock that went back
    assert pair.following.state == "holding"
    assert pair.following.journal[-1].reason.startswith(f"measurement {said}")
    pair.run(0.6, WALK)
    assert not pair.plant.fallen
    pair.simulation.change = None
    pair.run(1.0)
    pair.run(0.5, WALK)
    assert pair.following.state == "running"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s._replace(gyro=np.zeros(3), acceleration=np.array([0.0, 0.0, 9.81])), "frozen: gyro and accelerometer"),
        (lambda s: s._replace(q=np.where(np.arange(12) == 4, 0.7, s.q)), "frozen: FR_thigh_joint"),
    ],
    ids=["imu", "joint"],
)
def test_a_measurement_that_says_the_same_bit_for_bit_is_frozen(pair: Pair, change: Change, said: str) -> None:
    up_and_walking(pair)
    pair.simulation.change = change
    pair.run(0.13, WALK)
    assert (pair.following.state, pair.following.reason) == ("holding", f"measurement {said}")
    assert not pair.plant.fallen


def test_a_robot_that_is_blind_for_too_long_is_damped(pair: Pair) -> None:
    up_and_walking(pair)
    pair.simulation.change = lambda s: s._replace(q=s.q * np.nan)
    pair.run(1.0, WALK)
    assert pair.following.state == "holding"
    pair.run(0.01, WALK)
    assert pair.following.state == "damped"
    assert pair.following.reason.startswith("no measurement to be trusted for 1.0 s: impossible: q of")


def test_the_gaits_clock_does_not_wait_for_ticks_that_were_missed(pair: Pair) -> None:
    """One tick in eight: a gait that counts ticks would walk at an eighth of its pace, with feet that hang in the air, and fall."""
    up_and_walking(pair)
    phase = pair.tracker.tracker.gait.state.phase
    for tick in range(400):
        pair.run(DT, WALK, tracker=tick % 8 == 0)
    strides = 0.8 * pair.robot.gait.frequency
    assert (pair.tracker.tracker.gait.state.phase - phase - strides + 0.5) % 1.0 == pytest.approx(0.5, abs=0.06)
    assert pair.following.state == "running"
    assert not pair.plant.fallen


def test_ticks_that_come_late_do_not_make_the_gait_run_ahead(pair: Pair) -> None:
    """Every other tick late by more than half a period, as on a busy machine: the clock of the gait is that of the wall."""
    up_and_walking(pair)
    begun, phase = pair.t, pair.tracker.tracker.gait.state.phase
    for tick in range(200):
        pair.t = begun + DT * tick + (0.0012 if tick % 2 else 0.0)
        pair.run(DT, WALK)
    strides = 0.4 * pair.robot.gait.frequency
    assert (pair.tracker.tracker.gait.state.phase - phase - strides + 0.5) % 1.0 == pytest.approx(0.5, abs=0.02)


def test_a_measurement_that_stays_away_is_too_old(pair: Pair) -> None:
    up_and_walking(pair)
    for _ in range(15):
        pair.requests.write(pack_request(Request(t=pair.t)))
        pair.tracker.tick()
        pair.t += DT
    assert pair.following.reason.startswith("measurement too old: 0.03")


def test_a_robot_that_fell_is_damped_and_stands_up_once_it_was_reset(pair: Pair) -> None:
    up_and_walking(pair)
    pair.plant.kick(np.array([0.0, 4.0, 0.0]))
    pair.run(1.5, WALK)
    assert pair.following.state == "damped"
    assert pair.following.reason.startswith(("fallen: ", "FL", "FR", "RL", "RR"))
    assert pair.simulation.self_stop.damped
    pair.run(1.5, WALK)
    assert float(np.abs(pair.plant.joints()[1]).max()) < 0.3
    # Somebody puts it on its belly, legs folded; then it is reset.
    pair.plant.data.qpos[3:7] = [1, 0, 0, 0]
    pair.plant.data.qpos[7:] = np.tile([0.0, 1.4, -2.6], 4)
    pair.plant.data.qpos[2], pair.plant.data.qvel[:] = 0.1, 0
    pair.run(1.0)
    pair.ask = Request(t=0.0, resets=1)
    pair.run(0.3)
    assert pair.following.state == "ready"
    pair.run(3.0, WALK)
    assert pair.following.state == "running"
    assert not pair.plant.fallen


def test_a_robot_that_fell_on_its_side_is_not_stood_up_by_a_reset(pair: Pair) -> None:
    """What the accelerometer said before the fall must not count."""
    up_and_walking(pair)
    pair.plant.kick(np.array([0.0, 4.0, 0.0]))
    pair.run(1.5, WALK)
    assert pair.following.state == "damped"
    pair.plant.data.qpos[2:7], pair.plant.data.qvel[:] = [0.2, np.cos(np.pi / 4), np.sin(np.pi / 4), 0, 0], 0
    pair.run(1.5)
    pair.ask = Request(t=0.0, resets=1)
    pair.run(1.0, WALK)
    assert pair.following.state == "idle"
    assert "the base is tilted by" in pair.following.reason
    assert "set it on its feet by hand" in pair.following.reason


def test_an_estop_stops_it_in_the_middle_of_standing_up(go2: LeggedConfig, tmp_path: Path) -> None:
    pair = Pair(go2, tmp_path)
    pair.plant.data.qpos[7:], pair.plant.data.qpos[2] = np.tile([0.0, 1.4, -2.6], 4), 0.1
    pair.plant.damp()
    while pair.following.state == "idle":
        pair.run(DT)
    pair.run(0.4)
    pair.ask = Request(t=0.0, estop=True)
    pair.run(0.5, WALK)
    stopped = pair.plant.joints()[0].copy()
    pair.run(2.0, WALK)
    assert pair.following.reason == "e-stop: pressed by the ROS graph"
    np.testing.assert_allclose(pair.plant.joints()[0], stopped, atol=0.02)
    assert np.abs(stopped - go2.of_joints("home")).max() > 0.3
    pair.ask = Request(t=0.0, resets=1)
    pair.run(3.0)
    assert pair.following.state == "ready"
    assert np.abs(pair.plant.joints()[0] - go2.of_joints("home")).max() < 0.15
    pair.run(1.0, WALK)
    assert pair.following.state == "running"
    pair.close()


def test_a_robot_on_its_side_is_not_stood_up(go2: LeggedConfig, tmp_path: Path) -> None:
    pair = Pair(go2, tmp_path)
    pair.plant.data.qpos[2:7] = [0.2, np.cos(np.pi / 4), np.sin(np.pi / 4), 0, 0]
    mujoco.mj_forward(pair.plant.model, pair.plant.data)
    pair.run(2.0, WALK)
    assert pair.following.state == "idle"
    assert "set it on its feet by hand" in pair.following.reason
    pair.close()


def test_a_robot_that_lies_is_not_stood_up_where_its_file_says_so(go2: LeggedConfig, tmp_path: Path) -> None:
    waits = go2.model_copy(update={"safety": go2.safety.model_copy(update={"stands_up": False})})
    pair = Pair(waits, tmp_path)
    pair.plant.data.qpos[7:], pair.plant.data.qpos[2] = np.tile([0.0, 1.4, -2.6], 4), 0.1
    pair.plant.damp()
    pair.run(1.5)
    assert pair.following.state == "idle"
    assert "over the floor, and `safety.stands_up` is off: set it on its feet by hand" in pair.following.reason
    pair.close()


def test_a_silent_tracker_is_noticed_by_the_robot_itself_which_sinks_down(pair: Pair) -> None:
    up_and_walking(pair)
    pair.run(pair.robot.safety.command_timeout_s - DT, tracker=False)
    assert not pair.simulation.self_stop.stopped
    pair.run(2 * DT, tracker=False)
    assert pair.simulation.self_stop.stopped
    pair.run(3.0, tracker=False)  # it sinks slowly: only one that rests is set up again
    assert float(np.abs(pair.plant.joints()[1]).max()) < 1.0
    assert pair.plant.truth().position[2] < 0.15
    pair.run(0.1, WALK)
    assert (pair.following.state, pair.following.reason) == ("damped", "the robot stopped by itself")
    pair.ask = Request(t=0.0, resets=1)
    pair.run(0.3)
    pair.run(3.0, WALK)
    assert pair.following.state == "running"
    trace = pair.simulation.trace.columns()
    assert (np.abs(trace["torque"]) <= pair.robot.of_joints("torque") * (1 + 1e-9)).all()


def test_a_leg_that_does_not_follow_is_told_by_name(pair: Pair) -> None:
    up_and_walking(pair)
    pair.plant._limit[5] = 0.0  # the motor of the right front calf is dead
    pair.run(3.0, WALK)
    assert pair.following.state == "damped"
    assert pair.following.reason.startswith(("FR_calf_joint is ", "fallen: "))


def test_no_walk_in_the_air(pair: Pair) -> None:
    up_and_walking(pair)
    for _ in range(800):
        pair.plant.data.qpos[2], pair.plant.data.qvel[:6] = 1.0, 0
        pair.run(DT, WALK)
    assert pair.following.state == "holding"
    assert pair.following.reason.startswith("no foot has touched the floor for 1.")


def test_plans_that_are_none_are_dropped_and_those_beyond_the_strides_are_clipped_and_counted(pair: Pair, go2: LeggedConfig) -> None:
    pair.run(1.0)
    for u in (np.zeros(7), np.full(5, np.nan), np.array([9.0, 0, 0, 0, 0])):
        pair.run(0.1, u)
    assert dict(pair.following.dropped) == {"wrong_size": 5, "not_finite": 5, "jump": 5}
    assert pair.following.state == "ready"
    beyond = np.array([1.5 * go2.gait.velocity[0], 0, 0, 0, 0])
    pair.run(0.3, beyond)
    assert set(pair.tracker.tracker.acted) == {"velocity"}
    assert pair.tracker.tracker.acted_most["velocity"] == pytest.approx(0.5 * go2.gait.velocity[0])
    assert np.abs(pair.tracker.tracker.gait.state.velocity[0]) <= go2.gait.velocity[0]
    status = unpack_status(pair.status.newest_message())
    assert status["accepted"] > 0
    assert {"lateness_ms", "work_ms", "state_age_ms", "dropped", "acted_most", "estop", "epoch"} <= set(status)


def test_messages_of_another_size_are_counted_and_passed_over(pair: Pair) -> None:
    pair.run(0.5)
    pair.process._measurements.write(b"garbage")
    pair.plans.write(b"garbage")
    pair.tracker.tick()
    assert pair.tracker.status()["unreadable"] == 2
    with pytest.raises(ValueError, match="7 bytes, expected"):
        unpack_tracker_state(b"garbage", 12, 4)


def test_sizes_are_told(go2: LeggedConfig) -> None:
    three = np.zeros(3)
    sample = ImuSample(t=0.0, q=np.zeros(11), dq=np.zeros(12), torque=np.zeros(12), gyro=three, acceleration=three)
    assert LegSensorMonitor(go2).look(sample, 0.0, np.zeros(12)) == "wrong size: q (11,)"
