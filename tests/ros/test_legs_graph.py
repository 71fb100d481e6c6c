"""The real graph on a simulated robot on legs: goals, commanded velocities, the e-stop, and what happens when a process dies in the middle of a walk."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from taustack.bags.check import look
from taustack.bags.reader import open_bag
from taustack.controllers.wire import reader, unpack_status
from taustack.launching.launch_file import read_launch
from taustack.legged import load_legged
from taustack.shared_memory import session_folder
from taustack.walk_task import load_walk_task

pytestmark = pytest.mark.ros

LEGS_PROBE = Path(__file__).with_name("legs_probe.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("legs")


@pytest.fixture(scope="module")
def legs(start_graph: Callable[..., Any], folder: Path) -> Any:
    graph = start_graph(read_launch("sim_legs", {"log": str(folder / "log"), "run_dir": str(folder / "run")}), 2)
    graph.probe = LEGS_PROBE
    return graph


def test_goals_on_the_floor_are_reached_and_those_that_are_none_refused(legs: Any) -> None:
    answer = legs.ask("goals")
    assert not any(answer["refused"].values()), answer["refused"]
    for said in ("target.point.z: got 0.5", "within 50 m", "expected finite coordinates", "frame_id: got 'map'", "tolerance: got 0.01"):
        assert said in legs.log.getvalue()
    assert answer["result"]["reached"], f"{answer['result']}\n{legs.log.getvalue()[-3000:]}"
    np.testing.assert_allclose(answer["place"], [1.5, 0.8], atol=0.3)
    assert set(answer["plans"]) <= {"mppi", "feedback"}
    assert answer["joints"] == 12


def test_commanded_velocities_are_walked_and_clipped_to_what_was_trained(legs: Any) -> None:
    answer = legs.ask("commanded")
    assert answer["way"] > 0.5
    assert 0.2 < answer["strides"] <= answer["fastest"] <= 1.2 + 1e-9
    fastest = load_walk_task(load_legged("go2"), "goal").velocity[0]
    assert f"beyond what was trained: clipped to [{fastest}, 0.0, 0.0]" in legs.log.getvalue()
    assert "expected finite velocities" in legs.log.getvalue()
    assert answer["stands"]
    assert answer["mode"] == "holding"


def test_the_estop_ends_a_walk_on_its_feet(legs: Any) -> None:
    answer = legs.ask("pressed")
    assert answer["message"].startswith("stopped: e-stop: pressed by")
    assert (answer["safety"]["mode"], answer["refused"], answer["reset"]) == ("holding", False, True)
    assert answer["barred"] < 0.05  # a velocity that just goes on does not walk it off
    assert answer["released"] > 0.2
    assert answer["again"], legs.log.getvalue()[-3000:]


def test_keys_walk_it_stand_it_and_press_the_estop(legs: Any) -> None:
    """`taustack teleop` in a terminal of its own; what is not a terminal is refused."""
    teleop = [str(Path(sys.executable).with_name("taustack")), "teleop"]
    refused = subprocess.run(teleop, env=legs.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "standard input: got no terminal" in refused.stderr
    keys, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    process = subprocess.Popen(teleop, env=legs.environment, stdin=terminal, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        probe = subprocess.Popen([sys.executable, str(LEGS_PROBE), "keys"], env=legs.environment, stdout=subprocess.PIPE, text=True)
        assert probe.stdout is not None
        answers = {}
        for line in probe.stdout:
            legs.runner.poll()
            if line.startswith("PRESS "):
                os.write(keys, line.removeprefix("PRESS ").removesuffix("\n").encode())
            elif line.startswith("ANSWER "):
                answers = json.loads(line.removeprefix("ANSWER "))
        assert answers["way"] > 0.2, f"{answers}\n{legs.log.getvalue()[-2000:]}"
        assert answers["pressed"].startswith("pressed by")
        assert answers["released"]
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        assert termios.tcgetattr(terminal)[:4] == before[:4]
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        os.close(keys)
        os.close(terminal)


def walking(graph: Any, seconds: float) -> subprocess.Popen[str]:
    client = subprocess.Popen([sys.executable, str(LEGS_PROBE), "wander", str(seconds)], env=graph.environment, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert any(line.startswith("READY") for line in client.stdout), graph.log.getvalue()[-3000:]
    return client


def pid_of(graph: Any, name: str) -> int:
    return next(int(child.process.pid) for child in graph.runner.children if child.name == name)


def test_a_killed_controller_ends_the_walk_on_its_feet_and_walks_again_once_it_is_back(legs: Any) -> None:
    status = reader(session_folder(legs.runner.session), "status")

    def wait(state: str, reason: str = "") -> None:
        end = time.monotonic() + 60.0
        while time.monotonic() < end:
            legs.runner.poll()
            said = unpack_status(status.newest_message() or b"{}")
            if said.get("state") == state and reason in said.get("reason", ""):
                return
            time.sleep(0.01)
        raise AssertionError(f"not {state}: {legs.log.getvalue()[-3000:]}")

    client = walking(legs, 60.0)
    wait("running")
    os.kill(pid_of(legs, "controller"), signal.SIGKILL)
    wait("holding", "plan is stale")
    wait("running")
    client.kill()
    client.wait()
    wait("holding")
    status.close()


def test_a_killed_tracker_leaves_the_robot_to_its_own_watchdog_and_the_run_is_recorded(legs: Any, folder: Path) -> None:
    """Ends the graph: nothing in it may go on without a tracker."""
    client = walking(legs, 60.0)
    os.kill(pid_of(legs, "tracker"), signal.SIGKILL)
    end = time.monotonic() + 30.0
    while legs.runner.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    client.kill()
    client.wait()
    legs.runner.stop()
    with np.load(folder / "run" / "plant.npz", allow_pickle=False) as stored:
        trace = {name: stored[name] for name in stored.files}
    robot = load_legged("go2")
    assert (np.abs(trace["torque"]) <= robot.of_joints("torque") * (1 + 1e-9)).all()
    assert ((trace["q"] > robot.q_min - 0.1) & (trace["q"] < robot.q_max + 0.1)).all()
    assert trace["self_stopped"][-1]
    assert not trace["fallen"][trace["self_stopped"] == 0].any()
    bag = next((folder / "log").iterdir())
    report = look(open_bag(bag))
    assert report.topics["/walk_state"].count > 100
    assert report.topics["/plan"].count > 100
