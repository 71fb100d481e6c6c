"""The tracker follows fresh plans, holds without them, and stops when told; the driver's core on the simulated arm."""

from __future__ import annotations

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.following import Signals
from taustack.controllers.plan import Plan
from taustack.controllers.tracker import Tracker
from taustack.layout import RobotState
from taustack.sim.plant import MujocoPlant

DT = 0.002


def plan_at(t: float, seq: int, n: int = 7, speed: float = 0.3, **changes: object) -> Plan:
    """A plan of constant speed from the state at t, in effect 20 ms later."""
    values: dict[str, object] = {
        "seq": seq, "state_seq": seq, "epoch": 0, "state_t": t, "effective_t": t + 0.02, "dt": 0.02,
        "actions": np.full((25, n), speed), "states": np.zeros((26, 4 * n)),
    }  # fmt: skip
    return Plan(**(values | changes))  # type: ignore[arg-type]


class Rig:
    """A tracker on a robot that follows its reference perfectly."""

    def __init__(self, robot: RobotConfig, q: np.ndarray | None = None) -> None:
        self.robot, self.tracker = robot, Tracker(robot)
        self.q = robot.home if q is None else q
        self.dq = np.zeros(robot.n)
        self.t, self.offset = 0.0, np.zeros(robot.n)
        self.signals = Signals()

    def sample(self) -> RobotState:
        zero = np.zeros(self.robot.n)
        # A few bits of motion: a real sensor never repeats itself exactly.
        q = self.q + self.offset + 1e-9 * np.sin(1e3 * self.t)
        return RobotState(t=self.t, q=q, dq=self.dq, q_ref=self.q, dq_ref=self.dq, torque=zero, ee=np.zeros(3))

    def run(self, seconds: float, **changes: object) -> Tracker:
        for _ in range(round(seconds / DT)):
            sample = self.sample()._replace(**changes)  # type: ignore[arg-type]
            reference = self.tracker.step(self.t, sample, self.signals)
            self.q, self.dq = reference.q, reference.dq
            self.t += DT
        return self.tracker

    def ready(self) -> Rig:
        self.run(DT)
        return self

    def moving(self, speed: float = 0.3) -> Rig:
        """In the middle of a plan."""
        self.ready()
        assert self.tracker.offer(plan_at(self.t, 1, speed=speed), self.t)
        self.run(0.1)
        assert self.tracker.state == "running"
        return self


@pytest.fixture
def rig(robot: RobotConfig) -> Rig:
    return Rig(robot)


def test_a_fresh_plan_is_followed(rig: Rig) -> None:
    np.testing.assert_allclose(rig.moving().tracker.reference.dq, 0.3, atol=0.01)
    assert rig.tracker.plan_seq == 1
    assert [change.after for change in rig.tracker.journal] == ["ready", "running"]


def test_plans_that_come_before_the_last_took_effect_wait_in_line(rig: Rig) -> None:
    """Plans come every 16 ms and take effect after 20: each must still get its turn."""
    rig.ready()
    followed = set()
    for tick in range(200):
        if tick % 8 == 0:
            rig.tracker.offer(plan_at(rig.t, tick // 8 + 1), rig.t)
        followed.add(rig.run(DT).plan_seq)
    assert len(followed) >= 20
    assert rig.tracker.state == "running"


def test_a_plan_replaced_at_the_very_time_it_takes_effect_still_moves_the_arm(rig: Rig) -> None:
    """In lockstep a new plan comes exactly when the one before takes effect; rounding must not starve the tracker."""
    rig.ready()
    for step in range(50):
        rig.tracker.offer(plan_at(rig.t * (1 - 1e-15), step + 1), rig.t)
        rig.run(0.02)
    assert (rig.tracker.reference.dq > 0.25).all()


def test_a_stale_plan_ends_in_a_hold_within_the_limits(rig: Rig) -> None:
    rig.ready()
    rig.tracker.offer(plan_at(0.0, 1, speed=0.4), rig.t)
    assert rig.run(0.116).state == "running"
    rig.run(0.6)
    assert rig.tracker.state == "holding"
    assert rig.tracker.reason == "plan is stale"
    assert rig.tracker.reference.rests


def test_a_hold_begins_within_two_ticks_of_the_plans_end(rig: Rig) -> None:
    rig.ready()
    rig.tracker.offer(plan_at(rig.t, 1, actions=np.full((3, 7), 0.3)), rig.t)
    end = rig.t + 0.02 + 3 * 0.02
    while rig.tracker.state != "holding":
        rig.run(DT)
    assert rig.t - end <= 2 * DT + 1e-9


@pytest.mark.parametrize(
    ("signals", "reason"),
    [
        (Signals(hold="the bridge is silent"), "the bridge is silent"),
        (Signals(estop={"button": True}), "e-stop: pressed by button"),
        (Signals(self_stopped=True), "the robot stopped by itself"),
    ],
)
def test_what_others_ask_is_a_hold_with_its_reason(rig: Rig, signals: Signals, reason: str) -> None:
    rig.moving().signals = signals
    assert not rig.run(0.5).offer(plan_at(rig.t, 9), rig.t)
    assert rig.tracker.state == "holding"
    assert rig.tracker.reason == reason
    assert rig.tracker.reference.rests
    assert rig.tracker.dropped == {"not_now": 1}


def test_an_estop_sets_the_reference_on_its_way_to_rest_in_the_same_tick(rig: Rig) -> None:
    rig.moving(0.4).signals = Signals(estop={"button": True})
    before = rig.tracker.reference.dq
    rig.run(DT)
    assert (rig.tracker.reference.dq < before).all()


def test_an_estop_stays_until_a_reset_which_is_refused_while_it_is_pressed(rig: Rig) -> None:
    rig.moving().signals = Signals(estop={"button": True})
    rig.run(0.3)
    rig.signals = Signals(estop={"button": True}, reset=True)
    assert rig.run(DT).estop.latched == "pressed by button"
    rig.signals = Signals(estop={"button": False})
    assert rig.run(0.1).state == "holding"
    rig.signals = Signals(estop={"button": False}, reset=True)
    assert rig.run(DT).epoch == 1
    rig.signals = Signals(estop={"button": False})
    assert rig.run(DT).state == "ready"
    assert not rig.tracker.offer(plan_at(rig.t, 50), rig.t)
    assert rig.tracker.gate.dropped["wrong_epoch"] == 1
    assert rig.tracker.offer(plan_at(rig.t, 1, epoch=1), rig.t)
    assert rig.run(0.1).state == "running"


def test_a_reset_while_the_reference_moves_is_refused(rig: Rig) -> None:
    rig.moving().signals = Signals(reset=True)
    rig.run(DT)
    assert rig.tracker.epoch == 0
    assert rig.tracker.dropped["reset"] == 1
    assert rig.tracker.state == "running"


def test_a_reset_while_the_arm_still_brakes_keeps_the_latch(rig: Rig) -> None:
    rig.moving(0.4).signals = Signals(estop={"button": True})
    rig.run(2 * DT)
    rig.signals = Signals(estop={"button": False}, reset=True)
    rig.run(DT)
    assert rig.tracker.estop.latched == "pressed by button"
    assert rig.tracker.epoch == 0
    rig.signals = Signals(estop={"button": False})
    rig.run(0.2)
    assert rig.tracker.state == "holding"


def test_a_bad_measurement_is_a_hold_and_plans_are_followed_again_after_it_cleared(rig: Rig) -> None:
    rig.moving()
    rig.run(0.2, q=np.full(7, np.nan))
    assert rig.tracker.state == "holding"
    assert rig.tracker.reason == "measurement not finite"
    assert rig.tracker.reference.rests
    rig.run(0.15)
    assert not rig.tracker.offer(plan_at(rig.t, 2), rig.t)
    rig.run(0.1)
    assert rig.tracker.offer(plan_at(rig.t, 3), rig.t)
    assert rig.run(0.1).state == "running"


def test_a_robot_that_does_not_follow_is_damped_until_a_reset(rig: Rig) -> None:
    rig.moving()
    for i in range(60):
        rig.offset = np.full(7, -0.004 * i)
        rig.run(DT)
    assert rig.tracker.state == "damped"
    assert rig.tracker.damped
    assert not rig.tracker.offer(plan_at(rig.t, 2), rig.t)
    rig.run(0.2)
    rig.signals, rig.offset = Signals(reset=True), np.zeros(7)
    rig.run(DT)
    rig.signals = Signals()
    assert rig.run(DT).state == "idle"
    assert rig.run(0.3).state == "ready"


def test_a_robot_that_holds_for_long_is_damped_if_its_maker_wants_that(robot: RobotConfig) -> None:
    rig = Rig(robot.model_copy(update={"safety": robot.safety.model_copy(update={"damp_after_s": 0.5})}))
    rig.moving()
    rig.run(0.45)
    assert rig.tracker.state == "holding"
    rig.run(0.3)
    assert rig.tracker.state == "damped"
    assert rig.tracker.reason == "held for 0.5 s"


def test_an_estop_damps_such_a_robot_too(robot: RobotConfig) -> None:
    rig = Rig(robot.model_copy(update={"safety": robot.safety.model_copy(update={"damp_after_s": 0.5})}))
    rig.moving().signals = Signals(estop={"button": True})
    assert rig.run(0.4).state == "holding"
    assert rig.run(0.2).state == "damped"
    assert rig.tracker.estop.latched is not None


@pytest.mark.parametrize(("beyond", "state"), [(5e-4, "ready"), (0.01, "idle")])
def test_a_start_outside_the_limits_stays_idle_and_names_the_joint(robot: RobotConfig, beyond: float, state: str) -> None:
    q = robot.home.copy()
    q[3] = robot.q_max[3] + beyond
    rig = Rig(robot, q)
    rig.run(0.1)
    assert rig.tracker.state == state
    if state == "idle":
        assert "panda_joint4 stands at -0.060, outside its limits [-3.0718, -0.0698]" in rig.tracker.reason
        assert not rig.tracker.offer(plan_at(rig.t, 1), rig.t)
        np.testing.assert_allclose(rig.tracker.reference.q, q, atol=1e-6)


def test_a_robot_that_stopped_by_itself_is_taken_over_where_it_stands(rig: Rig, robot: RobotConfig) -> None:
    rig.moving().signals = Signals(self_stopped=True)
    elsewhere = robot.home + 0.05
    rig.run(0.05, q_ref=elsewhere)
    np.testing.assert_allclose(rig.tracker.reference.q, elsewhere)
    assert rig.tracker.reference.rests


def test_a_robot_that_still_brakes_by_itself_is_not_overloaded(rig: Rig) -> None:
    rig.moving().signals = Signals(self_stopped=True)
    rig.run(0.3, dq=np.full(7, 1.5))
    assert rig.tracker.state == "holding"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"actions": np.zeros((25, 6))}, "wrong_size"),
        ({"actions": np.zeros((0, 7))}, "wrong_size"),
        ({"actions": np.zeros(7)}, "wrong_size"),
        ({"actions": np.zeros((1000, 7))}, "wrong_size"),
        ({"actions": np.zeros((25, 7), dtype=np.float32)}, "wrong_type"),
        ({"actions": np.full((25, 7), np.nan)}, "not_finite"),
        ({"dt": 0.0}, "not_finite"),
        ({"dt": float("nan")}, "not_finite"),
        ({"state_t": float("nan")}, "not_finite"),
        ({"effective_t": float("inf")}, "not_finite"),
        ({"epoch": 3}, "wrong_epoch"),
        ({"seq": 5}, "out_of_order"),
        ({"state_t": 0.5}, "stale"),
        ({"state_t": 2.0}, "from_the_future"),
        ({"effective_t": 4.0}, "from_the_future"),
        ({"actions": np.full((25, 7), 1.1)}, "jump"),
        ({"actions": np.full((25, 7), -1.3)}, "jump"),
    ],
)
def test_a_bad_plan_is_dropped_counted_and_not_followed(rig: Rig, change: dict[str, object], reason: str) -> None:
    rig.t = 1.0
    rig.ready()
    assert rig.tracker.offer(plan_at(1.0, 5, speed=0.0), rig.t)
    bad = plan_at(1.0, 6, **change) if "seq" not in change else plan_at(1.0, 5)
    assert not rig.tracker.offer(bad, rig.t)
    assert rig.tracker.dropped == {reason: 1}
    rig.run(0.1)
    assert rig.tracker.plan_seq == 5
    assert (rig.tracker.reference.dq == 0.0).all()


def test_plans_between_the_extremes_at_fifty_hertz_end_in_a_hold(rig: Rig) -> None:
    rig.moving()
    for i in range(25):
        rig.tracker.offer(plan_at(rig.t, i + 2, speed=2.0 if i % 2 else -2.0), rig.t)
        rig.run(0.02)
    assert rig.tracker.dropped["jump"] == 25
    assert rig.tracker.state == "holding"


def test_a_late_plan_counts_as_a_missed_deadline(rig: Rig) -> None:
    rig.t = 0.03
    rig.ready()
    assert rig.tracker.offer(plan_at(0.0, 1), rig.t)
    assert rig.tracker.gate.deadline_misses == 1


@pytest.fixture
def core(robot: RobotConfig) -> DriverCore:
    return DriverCore(robot, MujocoPlant(robot))


def drive(core: DriverCore, seconds: float, first_seq: int | None = None, signals: Signals | None = None, speed: float = 0.3) -> None:
    plant = core.hardware
    assert isinstance(plant, MujocoPlant)
    for tick in range(round(seconds / DT)):
        if first_seq is not None and tick % 8 == 0:
            core.offer(plan_at(plant.data.time, first_seq + tick, speed=speed))
        core.tick(plant.data.time, signals or Signals())
        plant.advance(DT)


def test_the_driver_moves_the_simulated_arm_and_brings_it_to_rest(core: DriverCore) -> None:
    drive(core, DT)
    drive(core, 0.2, first_seq=1)
    assert core.newest is not None
    assert (np.abs(core.newest.state.dq) > 0.1).all()
    drive(core, 1.0, signals=Signals(hold="test"))
    assert core.at_rest
    assert np.abs(core.newest.state.dq).max() < 1e-2
    assert core.state_age.total > 50


def test_a_robot_whose_first_measurement_is_none_gets_no_command(robot: RobotConfig) -> None:
    """The reference is where the robot is, never where it should be: without a measurement there is none."""
    plant = MujocoPlant(robot)
    plant.reset(robot.home + 0.4)
    core = DriverCore(robot, plant)
    truth = plant.truth
    plant.read = lambda: truth()._replace(q=np.full(robot.n, np.nan))  # type: ignore[method-assign]
    for _ in range(100):
        core.tick(plant.data.time)
        plant.advance(DT)
    assert core.tracker.state == "idle"
    assert plant.self_stopped
    np.testing.assert_allclose(plant.truth().q, robot.home + 0.4, atol=1e-2)
    del plant.read
    drive(core, 0.5)
    assert core.tracker.state == "ready"
    np.testing.assert_allclose(plant.truth().q, robot.home + 0.4, atol=1e-2)


def test_the_robots_own_button_is_an_estop(core: DriverCore) -> None:
    drive(core, DT)
    drive(core, 0.1, first_seq=1)
    core.hardware.estop_pressed = True  # type: ignore[misc]
    drive(core, 0.3, first_seq=100)
    assert core.tracker.estop.latched == "pressed by the robot"
    assert core.at_rest


def test_a_damped_arm_sinks_slowly_and_takes_no_reference(core: DriverCore) -> None:
    drive(core, DT)
    plant = core.hardware
    assert isinstance(plant, MujocoPlant)
    core.tracker.following.state = "damped"
    drive(core, 1.0, first_seq=1)
    assert plant.self_stop.damped
    assert np.abs(plant.truth().dq).max() < 0.05


def test_an_arm_whose_driver_died_stops_by_itself_and_is_taken_over_without_a_jerk(core: DriverCore) -> None:
    drive(core, DT)
    drive(core, 0.2, first_seq=1)
    plant = core.hardware
    assert isinstance(plant, MujocoPlant)
    plant.advance(0.3)
    assert plant.self_stopped
    assert plant.self_stop.reference.rests
    stands = plant.self_stop.reference.q.copy()
    drive(core, 0.1)
    assert not plant.self_stopped
    np.testing.assert_allclose(plant.self_stop.reference.q, stands, atol=1e-3)
    drive(core, 0.2, first_seq=500)
    assert core.tracker.state == "running"
