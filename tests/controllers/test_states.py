"""Every pair of state and event, against a table written by hand; the e-stop's latch; the monitors; the ladder."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.degrade import DOWN_AT, FORGIVE_AFTER, MOST_PATIENT, STEPS, UP_AFTER, Ladder, Outcome
from taustack.controllers.estop import EStop
from taustack.controllers.monitors import OverloadMonitor, SensorMonitor
from taustack.controllers.states import EVENTS, next_state
from taustack.layout import STATES, RobotState, State

# rows: states; columns: what each event makes of them. A dot: it stays.
TABLE = """
          trusted  plan     no_plan  hold     sensor_fault  estop    overload  held_long  reset
idle      ready    .        .        .        .             .        .         .          .
ready     .        running  .        holding  holding       holding  damped    .          .
running   .        .        holding  holding  holding       holding  damped    .          .
holding   .        running  .        .        .             .        damped    damped     ready
damped    .        .        .        .        .             .        .         .          idle
"""


def expected() -> dict[tuple[str, str], str]:
    head, *rows = TABLE.strip().splitlines()
    events = head.split()
    return {(row.split()[0], event): row.split()[0] if cell == "." else cell for row in rows for event, cell in zip(events, row.split()[1:], strict=True)}


def test_the_table_names_every_state_and_event() -> None:
    assert {state for state, _ in expected()} == set(STATES)
    assert {event for _, event in expected()} == set(EVENTS)


@pytest.mark.parametrize(("pair", "after"), expected().items(), ids=lambda v: "-".join(v) if isinstance(v, tuple) else v)
def test_each_transition(pair: tuple[State, str], after: str) -> None:
    assert next_state(pair[0], pair[1]) == after  # type: ignore[arg-type]


def test_only_a_reset_leaves_damped_and_only_a_plan_starts_motion() -> None:
    assert {event for event in EVENTS if next_state("damped", event) != "damped"} == {"reset"}
    assert {event for state in STATES for event in EVENTS if next_state(state, event) == "running" != state} == {"plan"}


def test_an_estop_latches_until_it_is_reset_with_nothing_pressed() -> None:
    estop = EStop(timeout_s=0.25)
    estop.hear("a", False, 0.0)
    assert estop.look(0.0) is None
    estop.hear("a", True, 0.1)
    assert estop.latched == "pressed by a"
    assert estop.reset(0.1) == "pressed by a"
    assert estop.latched == "pressed by a"
    estop.hear("a", False, 0.2)
    assert estop.look(0.2) == "pressed by a"
    assert estop.reset(0.2) is None
    assert estop.latched is None


def test_the_first_cause_stays_and_all_must_let_go() -> None:
    estop = EStop(timeout_s=0.25)
    estop.hear("a", True, 0.0)
    estop.hear("b", True, 0.0)
    estop.hear("a", False, 0.1)
    assert estop.latched == "pressed by a"
    assert estop.reset(0.1) == "pressed by b"
    estop.hear("b", False, 0.1)
    assert estop.reset(0.1) is None


@pytest.mark.parametrize(("silent_s", "pressed"), [(0.24, False), (0.25, False), (0.26, True)])
def test_silence_is_pressed(silent_s: float, pressed: bool) -> None:
    estop = EStop(timeout_s=0.25)
    estop.hear("a", False, 1.0)
    assert estop.look(1.0 + silent_s) == ("a is silent" if pressed else None)
    assert estop.reset(1.0 + silent_s) == ("a is silent" if pressed else None)


def test_after_a_stall_of_ones_own_all_are_heard_before_any_is_missed() -> None:
    estop = EStop(timeout_s=0.25)
    for source in ("a", "b"):
        estop.hear(source, False, 0.0)
    for source in ("a", "b"):
        estop.hear(source, False, 1.0)
    assert estop.look(1.0) is None


def test_a_press_between_two_looks_is_not_lost() -> None:
    estop = EStop(timeout_s=0.25)
    estop.hear("a", True, 0.0)
    estop.hear("a", False, 0.0)
    assert estop.look(0.0) == "pressed by a"


def test_a_source_may_leave_unless_it_presses_or_is_required() -> None:
    estop = EStop(timeout_s=0.25, required=("needed",))
    for source, pressed in (("guest", False), ("needed", False), ("presser", True)):
        estop.hear(source, pressed, 0.0)
        estop.leave(source)
    estop.latched = None
    assert estop.cause(0.0) == "pressed by presser"
    estop.hear("presser", False, 0.0)
    estop.leave("presser")
    assert estop.cause(1.0) == "needed is silent"
    estop.leave("nobody")


def test_a_required_source_is_missed_until_it_is_heard() -> None:
    estop = EStop(timeout_s=0.25, required=("a", "b"))
    assert estop.missing == ("a", "b")
    estop.hear("b", False, 0.0)
    assert estop.missing == ("a",)
    assert estop.cause(0.1) is None


def sample(robot: RobotConfig, t: float, **changes: object) -> RobotState:
    zero = np.zeros(robot.n)
    values = {"t": t, "q": robot.home, "dq": zero, "q_ref": robot.home, "dq_ref": zero, "torque": zero, "ee": np.zeros(3)}
    return RobotState(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"q": np.zeros(6)}, "wrong size"),
        ({"dq": np.zeros(14)}, "wrong size"),
        ({"q": np.full(7, np.nan)}, "not finite"),
        ({"dq": np.full(7, np.inf)}, "not finite"),
        ({"t": np.nan}, "not finite"),
        ({"t": 1.1}, "from the future"),
        ({"t": 0.97}, "too old"),
    ],
)
def test_a_bad_measurement_is_named(robot: RobotConfig, change: dict[str, object], reason: str) -> None:
    monitor = SensorMonitor(robot)
    assert (monitor.look(sample(robot, **({"t": 1.0} | change)), 1.0, np.zeros(7)) or "").startswith(reason)  # type: ignore[arg-type]
    assert monitor.faults == {reason: 1}


def test_a_fault_is_remembered_until_measurements_were_clear_for_a_while(robot: RobotConfig) -> None:
    monitor, zero = SensorMonitor(robot), np.zeros(robot.n)
    assert monitor.look(sample(robot, 0.0), 0.0, zero) is None
    assert monitor.look(sample(robot, 0.01, q=np.full(7, np.nan)), 0.01, zero) == "not finite"
    assert monitor.look(sample(robot, 0.02), 0.02, zero) == "not finite"
    assert monitor.look(sample(robot, 0.2), 0.2, zero) == "not finite"
    assert monitor.look(sample(robot, 0.22), 0.22, zero) is None
    assert monitor.faults == {"not finite": 1}


def test_old_samples_are_passed_over_until_they_are_too_old(robot: RobotConfig) -> None:
    monitor, zero = SensorMonitor(robot), np.zeros(robot.n)
    monitor.look(sample(robot, 1.0), 1.0, zero)
    assert monitor.look(sample(robot, 0.99), 1.01, zero) is None
    assert monitor.look(sample(robot, 1.0), 1.019, zero) is None
    assert (monitor.look(sample(robot, 1.0), 1.021, zero) or "").startswith("too old")


def test_a_clock_set_back_is_one_fault_and_then_the_time_it_has(robot: RobotConfig) -> None:
    monitor, zero = SensorMonitor(robot), np.zeros(robot.n)
    monitor.look(sample(robot, 100.0), 100.0, zero)
    assert (monitor.look(sample(robot, 90.0), 100.03, zero) or "").startswith("clock went back: by 10.000")


def test_a_jump_is_named_with_its_joint_and_noise_is_none(robot: RobotConfig) -> None:
    monitor, zero, q = SensorMonitor(robot), np.zeros(robot.n), robot.home.copy()
    monitor.look(sample(robot, 0.0), 0.0, zero)
    q[2] += 0.009
    assert monitor.look(sample(robot, 0.002, q=q), 0.002, zero) is None
    q = q.copy()
    q[4] += 0.05
    assert monitor.look(sample(robot, 0.004, q=q), 0.004, zero) == "position jump: joint 5 by 0.050"


@pytest.mark.parametrize(("speed", "frozen"), [(0.3, True), (-0.3, True), (0.01, False)])
def test_a_sensor_that_repeats_itself_while_it_says_that_it_moves_is_frozen(robot: RobotConfig, speed: float, frozen: bool) -> None:
    monitor, dq = SensorMonitor(robot), np.zeros(robot.n)
    dq[3] = speed
    found = [monitor.look(sample(robot, 0.002 * i)._replace(dq=dq), 0.002 * i, 0 * dq) for i in range(30)]
    assert found[:25] == [None] * 25
    assert found[-1] == ("frozen: joint 4" if frozen else None)


@pytest.mark.parametrize(("speed", "frozen"), [(0.3, True), (-0.3, True), (0.01, False)])
def test_a_sensor_that_rests_while_the_reference_moves_is_frozen_once_the_robot_should_have_followed(robot: RobotConfig, speed: float, frozen: bool) -> None:
    """A robot whose drives act 80 ms late stands still, bit for bit, for the first 80 ms of every motion."""
    monitor, dq_ref = SensorMonitor(robot), np.zeros(robot.n)
    dq_ref[3] = speed
    ticks = round((0.05 + robot.safety.response_s) / 0.002)
    found = [monitor.look(sample(robot, 0.002 * i), 0.002 * i, dq_ref) for i in range(ticks + 5)]
    assert found[:ticks] == [None] * ticks
    assert found[-1] == ("frozen: joint 4" if frozen else None)


def test_a_moving_sensor_is_not_frozen(robot: RobotConfig) -> None:
    monitor, dq_ref = SensorMonitor(robot), np.full(robot.n, 0.3)
    assert all(monitor.look(sample(robot, 0.002 * i, q=robot.home + 6e-4 * i), 0.002 * i, dq_ref) is None for i in range(100))


def test_far_from_the_reference_is_an_overload_at_once(robot: RobotConfig) -> None:
    monitor, error = OverloadMonitor(robot, 0.002), np.zeros(robot.n)
    error[1] = -0.31
    assert monitor.look(0 * error, error) == "joint 2 is 0.31 from its reference"
    error[1] = 0.29
    assert OverloadMonitor(robot, 0.002).look(0 * error, error) is None


def test_the_torque_limit_is_an_overload_only_if_it_lasts(robot: RobotConfig) -> None:
    monitor, zero, torque = OverloadMonitor(robot, 0.002), np.zeros(robot.n), np.zeros(robot.n)
    torque[5] = -1.1 * robot.joints[5].torque
    for _ in range(49):
        assert monitor.look(torque, zero) is None
    assert monitor.look(zero, zero) is None
    for _ in range(49):
        assert monitor.look(torque, zero) is None
    assert monitor.look(torque, zero) == "joint 6 is at its torque limit"
    monitor.reset()
    assert monitor.look(torque, zero) is None


def climb(ladder: Ladder, outcome: Outcome, times: int) -> Ladder:
    for _ in range(times):
        ladder = ladder.after(outcome)
    return ladder


def test_late_plans_step_down_one_at_a_time_and_failures_faster() -> None:
    assert climb(Ladder(), "late", DOWN_AT - 1).step == 0
    assert climb(Ladder(), "late", DOWN_AT).name == STEPS[1]
    assert climb(Ladder(), "failed", DOWN_AT // 2).name == STEPS[1]
    assert climb(Ladder(), "late", 50 * DOWN_AT).name == STEPS[-1]


def test_a_single_late_plan_is_forgiven() -> None:
    ladder = Ladder()
    for _ in range(30):
        ladder = climb(ladder.after("late"), "good", FORGIVE_AFTER)
    assert ladder.step == 0


def test_the_way_up_takes_a_long_good_run_and_longer_each_time_it_fails() -> None:
    ladder, runs = climb(Ladder(), "late", DOWN_AT), []
    for _ in range(7):
        good = 0
        while ladder.step == 1:
            ladder, good = ladder.after("good"), good + 1
        runs.append(good)
        ladder = climb(ladder, "late", DOWN_AT)
    assert runs == [UP_AFTER * min(2**i, MOST_PATIENT) for i in range(7)]


def test_a_better_step_that_lasts_makes_patience_short_again() -> None:
    ladder = dataclasses.replace(Ladder(), patience=4, climbed=True)
    assert climb(ladder, "good", 4 * UP_AFTER) == Ladder()
