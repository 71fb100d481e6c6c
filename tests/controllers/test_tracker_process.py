"""The tracker's and the plant's processes, driven tick by tick on a clock of the test's own, over real shared memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from taustack.config import RobotConfig
from taustack.controllers.plan import Plan
from taustack.controllers.tracker_process import TrackerProcess
from taustack.controllers.wire import CommandOut, Request, pack_command, pack_plan, pack_request, reader, unpack_status, unpack_tracker_state, writer
from taustack.errors import TaustackError, UnknownName
from taustack.sim.arm_simulation import ArmSimulation
from taustack.sim.plant_process import PlantProcess
from taustack.sim.scenario import Scenario
from taustack.stop_flag import StopFlag

DT = 0.002


class Pair:
    """Plant and tracker over channels in a folder, and the writers of bridge, terminal and supervisor."""

    def __init__(self, robot: RobotConfig, folder: Path, required: tuple[str, ...] = ()) -> None:
        self.robot, self.t, self.seq = robot, 100.0, 0
        self.plant: PlantProcess[CommandOut] = PlantProcess(ArmSimulation(robot, Scenario()), folder)
        self.plant.step(self.t)
        self.tracker = TrackerProcess(robot, folder, None, self.clock, required)
        self.tracker.hardware.wait(1.0)
        self.channels = {name: writer(folder, name) for name in ("request", "terminal", "supervisor", "plan")}
        self.states, self.status = reader(folder, "state"), reader(folder, "status")
        self.asks: dict[str, Request] = {"request": Request(t=0.0)}

    def clock(self) -> float:
        return self.t

    def run(self, seconds: float, speed: float | None = None, tracker: bool = True, plant: bool = True) -> None:
        for tick in range(round(seconds / DT)):
            for name, ask in self.asks.items():
                self.channels[name].write(pack_request(Request(t=self.t, estop=ask.estop, hold=ask.hold, resets=ask.resets)))
            if speed is not None and tick % 8 == 0:
                self.seq += 1
                actions = np.full((25, self.robot.n), speed)
                plan = Plan(
                    seq=self.seq, state_seq=0, epoch=self.tracker.core.tracker.epoch, state_t=self.t, effective_t=self.t + 0.02, dt=0.02,
                    actions=actions, states=np.zeros((0, 0)),
                )  # fmt: skip
                self.channels["plan"].write(pack_plan(plan))
            if tracker:
                self.tracker.tick()
            if plant:
                self.plant.step(self.t)
            self.t += DT

    @property
    def state(self) -> str:
        return self.tracker.core.tracker.state

    @property
    def reason(self) -> str:
        return self.tracker.core.tracker.reason

    def close(self) -> None:
        self.tracker.close()
        self.plant.close()
        for channel in (*self.channels.values(), self.states, self.status):
            channel.close()


@pytest.fixture
def pair(robot: RobotConfig, tmp_path: Path) -> Iterator[Pair]:
    made = Pair(robot, tmp_path)
    yield made
    made.close()


def test_plans_through_shared_memory_move_the_plant(pair: Pair) -> None:
    pair.run(0.02)
    pair.run(0.3, speed=0.3)
    assert pair.state == "running"
    np.testing.assert_allclose(pair.plant.simulated.plant.truth().dq, 0.3, atol=0.05)
    out = unpack_tracker_state(pair.states.new()[-1], pair.robot.n)
    assert out.state == "running"
    assert out.plan_seq > 0
    status = unpack_status(pair.status.newest_message() or b"{}")
    assert status["accepted"] > 10
    assert status["work_ms"]["p99"] > 0


def test_a_plan_is_read_after_the_command_is_out_and_judged_by_the_next_tick(pair: Pair) -> None:
    pair.run(0.02)
    gate = pair.tracker.core.tracker.gate
    pair.run(DT, speed=0.3)
    assert gate.accepted == 0
    pair.run(DT)
    assert gate.accepted == 1


def test_without_a_bridge_nothing_starts_and_what_runs_is_held(pair: Pair) -> None:
    pair.asks = {}
    pair.run(0.3, speed=0.3)
    assert pair.state == "idle"
    pair.asks = {"request": Request(t=0.0)}
    pair.run(0.3, speed=0.3)
    assert pair.state == "running"
    pair.asks = {}
    pair.run(0.15, speed=0.3)
    assert (pair.state, pair.reason) == ("holding", "no sign of life from the driver node")
    pair.run(0.3)
    assert pair.tracker.core.tracker.estop.latched == "the ROS graph is silent"


@pytest.mark.parametrize(("source", "said"), [("terminal", "the terminal"), ("supervisor", "the supervisor"), ("request", "the ROS graph")])
def test_each_source_presses_and_resets_the_estop(pair: Pair, source: str, said: str) -> None:
    pair.asks[source] = Request(t=0.0)
    pair.run(0.3, speed=0.3)
    pair.asks[source] = Request(t=0.0, estop=True)
    pair.run(0.3, speed=0.3)
    assert (pair.state, pair.reason) == ("holding", f"e-stop: pressed by {said}")
    assert np.abs(pair.plant.simulated.plant.truth().dq).max() < 0.05
    pair.asks[source] = Request(t=0.0, resets=1)
    pair.run(0.02)
    assert pair.state == "ready"
    assert pair.tracker.core.tracker.epoch == 1
    pair.run(0.3, speed=0.3)
    assert pair.state == "running"


def test_a_required_source_is_waited_for_and_its_silence_is_pressed(robot: RobotConfig, tmp_path: Path) -> None:
    pair = Pair(robot, tmp_path, required=("supervisor",))
    pair.run(0.2, speed=0.3)
    assert pair.state == "idle"
    pair.asks["supervisor"] = Request(t=0.0)
    pair.run(0.3, speed=0.3)
    assert pair.state == "running"
    del pair.asks["supervisor"]
    pair.run(robot.safety.estop_timeout_s + 2 * DT, speed=0.3)
    assert pair.tracker.core.tracker.estop.latched == "the supervisor is silent"
    pair.close()
    with pytest.raises(UnknownName, match="bridge, supervisor, terminal"):
        TrackerProcess(robot, tmp_path, None, required=("nobody",))


def test_what_a_run_before_left_in_memory_is_not_heard(robot: RobotConfig, tmp_path: Path) -> None:
    for name in ("terminal", "supervisor", "request"):
        with writer(tmp_path, name) as old:
            old.write(pack_request(Request(t=1.0, estop=True, resets=5)))
    pair = Pair(robot, tmp_path)
    pair.run(0.5, speed=0.3)
    assert pair.state == "running"
    assert pair.tracker.core.tracker.estop.latched is None
    pair.close()


def test_a_tracker_that_stalls_is_noticed_and_takes_over_again(pair: Pair) -> None:
    pair.run(0.3, speed=0.3)
    pair.run(0.4, tracker=False)
    assert pair.plant.simulated.plant.self_stopped
    pair.run(0.01)
    assert pair.state == "holding"
    pair.run(0.4, speed=0.3)
    assert pair.state == "running"
    assert not pair.plant.simulated.plant.self_stopped


@pytest.mark.parametrize("pause_s", [0.018, 0.15, 1.6])
def test_a_plant_that_was_not_run_makes_up_for_it_with_the_commands_of_their_time(pair: Pair, pause_s: float) -> None:
    """A real robot does not pause: neither a leap nor a burst of speed may come of it."""
    pair.run(0.02)
    pair.run(0.4, speed=0.3)
    pair.run(pause_s, speed=0.3, plant=False)
    pair.plant.step(pair.t - DT, round(pause_s / DT))
    pair.run(0.3)
    trace = pair.plant.simulated.trace.columns()
    np.testing.assert_allclose(np.diff(trace["t"][1:]), DT, atol=1e-9 if pause_s < 1.0 else 1.0)
    assert np.abs(np.diff(trace["q_ref"], axis=0)).max() <= 0.31 * DT
    assert np.abs(trace["dq"]).max() < 0.4
    assert pair.plant.simulated.plant.self_stop.refused == 0 or pause_s > 1.0  # commands older than that are gone: it stopped by itself
    assert np.abs(trace["dq"]).max() > 0.25  # it did move


def test_a_plant_that_is_held_up_in_a_tick_leaves_later_commands_to_their_periods(pair: Pair) -> None:
    """Its machine stalls between its wake-up and its look at the commands: those of the whole stall are there at once."""
    pair.run(0.02)
    pair.run(0.04, speed=0.4)  # accelerates
    late, ticks = pair.t, 8
    pair.run(ticks * DT, speed=0.4, plant=False)
    pair.plant.step(late)
    pair.plant.step(pair.t - DT, ticks - 1)
    pair.run(0.2, speed=0.4)
    trace = pair.plant.simulated.trace.columns()
    assert np.abs(trace["dq_ref"]).max() > 0.35
    assert (np.abs(np.diff(trace["dq_ref"], axis=0)) <= pair.robot.limits("acceleration") * DT * (1 + 1e-6)).all()


@pytest.mark.parametrize("t", [np.nan, np.inf, 1e9])
def test_a_command_of_no_time_holds_up_none_behind_it(pair: Pair, t: float) -> None:
    pair.run(0.3, speed=0.3)
    q, dq = pair.plant.simulated.plant.truth().q_ref, pair.plant.simulated.plant.truth().dq_ref
    pair.tracker.hardware._commands.write(pack_command(CommandOut(t=t, q_ref=q, dq_ref=dq, damped=False)))
    pair.run(0.1, speed=0.3)
    assert pair.plant.unreadable == 1
    assert pair.state == "running"
    assert not pair.plant.simulated.plant.self_stopped


def test_a_tracker_that_is_held_up_in_a_tick_sees_no_measurement_from_the_future(pair: Pair) -> None:
    """The clock is read after the measurement: what comes while nobody runs this process is of the next tick."""
    pair.run(0.02)
    told = pair.t

    def clock() -> float:
        for _ in range(8):  # between this look at the clock and the next line
            pair.t += DT
            pair.plant.step(pair.t)
        return told

    pair.tracker.clock = clock
    pair.tracker.tick()
    assert not pair.tracker.core.tracker.sensors.faults


def test_a_tracker_that_waits_for_its_robot_can_be_stopped(robot: RobotConfig, tmp_path: Path) -> None:
    tracker, stop = TrackerProcess(robot, tmp_path, None), StopFlag()
    stop.set("SIGTERM")
    tracker.run(stop)
    assert tracker.lateness.total == 0
    tracker.close()


def test_garbage_in_a_channel_is_counted_and_passed_over(pair: Pair) -> None:
    pair.run(0.1, speed=0.2)
    pair.channels["plan"].write(b"no plan at all")
    pair.run(0.1, speed=0.2)
    assert pair.tracker.unreadable == 1
    assert pair.state == "running"


def test_a_garbled_request_is_no_sign_of_life(pair: Pair) -> None:
    pair.run(0.3, speed=0.2)
    pair.asks = {}
    for _ in range(60):
        pair.channels["request"].write(b"?")
        pair.run(DT, speed=0.2)
    assert (pair.state, pair.reason) == ("holding", "no sign of life from the driver node")
    assert pair.tracker.unreadable == 60


def test_a_log_that_nobody_reads_holds_up_no_tick() -> None:
    """Its pipe is full: whoever writes lines there himself would wait for ever."""
    code = "from taustack.log_thread import LogThread; log = LogThread(); [log.say('x' * 1000) for _ in range(5000)]; log.close(); print('went on')"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "went on\n"
    process.kill()
    process.communicate()


def test_a_robot_that_says_nothing_is_an_error_after_a_while(robot: RobotConfig, tmp_path: Path) -> None:
    with pytest.raises(TaustackError, match="no measurement from the robot"):
        TrackerProcess(robot, tmp_path, None).hardware.wait(0.05)
