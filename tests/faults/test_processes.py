"""Processes that die, hang and drown, in the real graph: what the plant does meanwhile is in its own record."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from taustack.bags.check import look
from taustack.bags.reader import open_bag
from taustack.bags.recover import recover
from taustack.config import RobotConfig
from taustack.controllers.wire import reader, unpack_status
from taustack.shared_memory import session_folder, sessions_root

from .stack import CONT, KILL, SLOW, STOP, WAIT_S, Stack, alive

pytestmark = pytest.mark.ros
Start = Callable[..., Stack]


@pytest.fixture
def start(robot: RobotConfig, tmp_path: Path) -> Iterator[Start]:
    started: list[Stack] = []

    def make(*, wander: bool = True, **options: object) -> Stack:
        started.append(Stack(robot, tmp_path / "run", **options))  # type: ignore[arg-type]
        if wander:
            started[-1].wander()
        return started[-1]

    yield make
    for stack in started:
        stack.runner.stop()


def rested_after(trace: dict[str, np.ndarray], t: float, seconds: float) -> bool:
    """True if the reference at the plant's input was at rest at some time within `seconds` after t, by the plant's record."""
    after = (trace["t"] > t) & (trace["t"] < t + seconds)
    return bool((np.abs(trace["dq_ref"][after]).max(axis=1) < 1e-3).any())


def test_a_killed_tracker_is_noticed_by_the_plant_in_20_ms_and_ends_the_run(start: Start, robot: RobotConfig) -> None:
    stack = start()
    at = stack.signal("tracker", KILL)
    assert stack.until(lambda: stack.runner.poll() == ("tracker", -9))
    assert stack.rests()
    trace = stack.stop()
    noticed = trace["t"][np.flatnonzero((trace["self_stopped"] > 0) & (trace["t"] > at - 0.005))[0]]
    assert noticed - at <= robot.safety.command_timeout_s + 2 * SLOW / robot.rates.tracker_hz
    assert rested_after(trace, at, 0.5)


def test_a_stopped_tracker_is_noticed_and_comes_back_to_a_latched_hold(start: Start, robot: RobotConfig) -> None:
    stack = start()
    at = stack.signal("tracker", STOP)
    assert stack.rests()
    assert stack.until(lambda: stack.measurement().self_stopped)
    time.sleep(0.8)  # the supervisor presses the e-stop
    stack.signal("tracker", CONT)
    assert stack.state_is("holding")
    assert stack.until(lambda: bool(stack.status().get("estop")))
    trace = stack.stop()
    noticed = trace["t"][np.flatnonzero((trace["self_stopped"] > 0) & (trace["t"] > at - 0.005))[0]]
    assert noticed - at <= robot.safety.command_timeout_s + 2 * SLOW / robot.rates.tracker_hz


@pytest.mark.parametrize("number", [KILL, STOP], ids=["kill", "stop"])
def test_a_dead_bridge_is_a_hold(start: Start, robot: RobotConfig, number: int) -> None:
    stack = start()
    at = stack.signal("driver", number)
    assert stack.until(lambda: stack.status().get("state") == "holding")
    assert stack.rests()
    if number == KILL:
        assert stack.runner.poll() == ("driver", -9)
    trace = stack.stop()
    assert rested_after(trace, at, robot.safety.bridge_timeout_s + 0.4 * SLOW)


@pytest.mark.parametrize("number", [KILL, STOP], ids=["kill", "stop"])
def test_a_controller_that_dies_or_hangs_is_a_hold_and_is_started_anew(start: Start, number: int) -> None:
    stack = start()
    at = stack.signal("controller", number)
    before = stack.pid("controller")
    assert stack.state_is("holding", "plan is stale")
    assert stack.rests()
    assert stack.until(lambda: "controller" in stack.runner.restarted), stack.log.getvalue()
    assert stack.pid("controller") != before
    assert stack.state_is("running"), stack.log.getvalue()
    trace = stack.stop()
    assert rested_after(trace, at, 0.15 + 0.4 * SLOW)


@pytest.mark.parametrize("number", [KILL, STOP], ids=["kill", "stop"])
def test_a_dead_supervisor_is_a_pressed_estop(start: Start, robot: RobotConfig, number: int) -> None:
    stack = start()
    at = stack.signal("supervisor", number)
    assert stack.until(lambda: stack.status().get("estop") == "the supervisor is silent"), f"{stack.status()}\n{stack.log.getvalue()[-3000:]}"
    assert stack.rests()
    trace = stack.stop()
    assert rested_after(trace, at, robot.safety.estop_timeout_s + 0.5 * SLOW)


def test_a_killed_logger_loses_less_than_a_second_and_what_it_wrote_can_be_saved(start: Start, tmp_path: Path) -> None:
    stack = start()
    log = tmp_path / "run" / "log"
    assert stack.until(lambda: list(log.glob("*/*.mcap")))
    stack.until(lambda: False, 2.0)
    stack.signal("logger", KILL)
    killed_ns = time.time_ns()
    assert stack.until(lambda: "logger" in stack.runner.restarted and len(list(log.iterdir())) == 2), stack.log.getvalue()
    assert stack.status()["state"] in ("running", "holding")
    assert stack.until(lambda: sum(path.stat().st_size for path in max(log.iterdir()).iterdir()) > 100_000)
    assert stack.until(lambda: sum(m.topic == "/track" for m in open_bag(max(log.iterdir())).messages()) > 5)  # found late on a busy machine
    stack.stop()
    cut, after = sorted(log.iterdir())
    saved, counts = recover(cut, tmp_path / "saved")
    assert not saved.whole
    report = look(open_bag(tmp_path / "saved"))
    assert killed_ns - report.last_ns < 1e9
    assert counts["/track"] >= 10
    assert report.findings == []
    assert look(open_bag(after)).topics["/track"].count > 5


def test_a_place_that_takes_no_log_costs_the_log_and_nothing_else(start: Start) -> None:
    """The logger says so once, counts, and the arm goes on."""
    stack = start(log="/proc/nowhere")
    assert "nothing is logged any more, the robot goes on" in stack.log.getvalue()
    assert stack.status()["state"] in ("running", "holding")
    assert "logger" not in stack.runner.restarted
    stack.stop()


def test_silence_of_everyone_above_the_bridge_is_an_estop(start: Start, robot: RobotConfig) -> None:
    """What a network that is gone looks like to the bridge."""
    stack = start()
    for name in ("controller", "subgoal_planner", "dynamics_server", "supervisor"):
        at = stack.signal(name, STOP)
    assert stack.until(lambda: bool(stack.status().get("estop")))
    assert stack.rests()
    assert rested_after(stack.stop(), at, robot.safety.estop_timeout_s + 0.5 * SLOW)


RUNNER = """
import signal, sys, threading
from taustack.launching.launch_file import read_launch
from taustack.launching.runner import Runner
runner = Runner(read_launch("sim", {"run_dir": sys.argv[1]}))
stop = threading.Event()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: stop.set())
runner.start()
print("PIDS", *(child.process.pid for child in runner.children), flush=True)
sys.exit(runner.wait(stop))
"""


def start_runner(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A launch runner in a process of its own."""
    environment = os.environ | {"ROS_DOMAIN_ID": str(56 + os.getpid() % 40)}
    call = [sys.executable, "-c", RUNNER, str(folder)]
    process = subprocess.Popen(call, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("PIDS"):
            return process, [int(pid) for pid in line.split()[1:]]
    raise AssertionError("the runner did not come up")


def eventually(done: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
    until = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def gone(pids: list[int], timeout_s: float) -> bool:
    return eventually(lambda: not any(alive(pid) for pid in pids), timeout_s)


def test_a_killed_launch_runner_leaves_no_process_and_no_memory(tmp_path: Path) -> None:
    process, pids = start_runner(tmp_path / "run")
    time.sleep(3.0)
    process.kill()
    process.wait()
    assert gone(pids, WAIT_S)
    again, more = start_runner(tmp_path / "again")
    assert not (sessions_root() / f"run-{process.pid}").exists()
    again.terminate()
    assert again.wait(timeout=WAIT_S) == 0
    assert gone(more, 1.0)
    assert not (sessions_root() / f"run-{again.pid}").exists()


@pytest.mark.parametrize("number", [KILL, STOP], ids=["kill", "stop"])
def test_a_terminal_that_dies_or_hangs_is_a_pressed_estop(start: Start, robot: RobotConfig, number: int) -> None:
    """The e-stop of who started the stack: it dies with the runner."""
    stack = start()
    assert stack.runner.terminal is not None
    os.kill(stack.runner.terminal.process.pid, number)
    at = time.monotonic()
    assert stack.until(lambda: "the terminal is silent" in stack.status().get("estop", ""))
    assert stack.rests()
    os.kill(stack.runner.terminal.process.pid, CONT)
    assert rested_after(stack.stop(), at, robot.safety.estop_timeout_s + 0.5 * SLOW)


def test_a_stopped_launch_runner_changes_nothing_for_the_robot(tmp_path: Path) -> None:
    process, pids = start_runner(tmp_path / "run")
    status = reader(session_folder(f"run-{process.pid}"), "status")

    def says(state: str) -> bool:
        data = status.newest_message()
        return data is not None and unpack_status(data)["state"] == state

    try:
        assert eventually(lambda: says("ready"))
        process.send_signal(STOP)
        time.sleep(1.5)
        assert says("ready")
        assert all(alive(pid) for pid in pids)
    finally:
        process.send_signal(CONT)
        process.terminate()
        assert process.wait(timeout=WAIT_S) == 0
        status.close()
    assert gone(pids, 1.0)


def test_a_key_presses_the_estop_and_another_resets_it(start: Start) -> None:
    stack = start()
    assert stack.runner.terminal is not None
    stack.runner.terminal.press()
    at = time.monotonic()
    assert stack.until(lambda: "pressed by the terminal" in stack.status().get("estop", ""))
    assert stack.rests()
    stack.runner.terminal.reset()
    assert stack.until(lambda: stack.status().get("estop") == "")
    assert rested_after(stack.stop(), at, 0.2 + 0.4 * SLOW)


def test_a_full_disk_costs_the_statistics_and_nothing_else(start: Start, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder of the run should be")
    stack = start()
    assert stack.runner.poll() is None
    stack.stop()
    assert "statistics are lost" in stack.log.getvalue()
    assert "at rest: True" in stack.log.getvalue()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
@pytest.mark.parametrize("after_s", [0.2, 1.5, 4.0], ids=["starting", "coming up", "ready"])
def test_a_signal_at_any_time_of_the_start_ends_everything(tmp_path: Path, number: int, after_s: float) -> None:
    process, pids = start_runner(tmp_path / "run")
    time.sleep(after_s)
    process.send_signal(number)
    assert process.wait(timeout=WAIT_S) == 0
    assert gone(pids, 1.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_a_signal_in_motion_brings_the_arm_to_rest_first(start: Start, number: int) -> None:
    stack = start()
    at = stack.signal("tracker", number)
    assert stack.until(lambda: stack.runner.poll() is not None)
    assert rested_after(stack.stop(), at, 0.5 * SLOW)
    assert "at rest: True" in stack.log.getvalue()


@pytest.mark.slow
def test_restarts_leave_nothing_behind(tmp_path: Path) -> None:
    """Five here, a hundred in `make soak`."""
    before = set(sessions_root().glob("*")) if sessions_root().exists() else set()
    for i in range(5):
        process, pids = start_runner(tmp_path / str(i))
        time.sleep(1.0)
        process.terminate()
        assert process.wait(timeout=WAIT_S) == 0
        assert gone(pids, 1.0)
    assert set(sessions_root().glob("*")) <= before
