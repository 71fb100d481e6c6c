"""The real graph on a simulated robot on legs: goals, commanded velocities, the e-stop, and what happens when a process dies in the middle of a walk."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from taustack.bags.check import look
from taustack.bags.reader import open_bag
from taustack.controllers.rehearsal import TIMEOUT_S
from taustack.controllers.wire import reader, unpack_status
from taustack.launching.launch_file import read_launch
from taustack.legged import load_legged
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.registry import REPORT, Registry
from taustack.retraining.walk_bags import WalkHarvest, walks_of
from taustack.shared_memory import session_folder
from taustack.walk_task import load_walk_task

from .browser import browser

pytestmark = pytest.mark.ros

TAUSTACK = str(Path(sys.executable).with_name("taustack"))
LEGS_PROBE = Path(__file__).with_name("legs_probe.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("legs")


@pytest.fixture(scope="module")
def legs(start_graph: Callable[..., Any], folder: Path) -> Any:
    where = {"log": str(folder / "log"), "run_dir": str(folder / "run"), "registry": str(folder / "registry")}
    graph = start_graph(read_launch("sim_legs", where), 2)
    graph.probe = LEGS_PROBE
    return graph


def status_of(legs: Any) -> dict[str, Any]:
    """What the tracker says of itself, through its own shared memory."""
    status = reader(session_folder(legs.runner.session), "status")
    data = status.newest_message()
    status.close()
    return unpack_status(data) if data is not None else {}


def until(legs: Any, done: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < end, legs.log.getvalue()[-3000:]
        legs.runner.poll()
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    assert answer["barred"]  # a velocity that just goes on does not walk it off
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
    """A client for whom the robot walks. After an e-stop by a stall meanwhile, which nobody follows a velocity out of, another one is started."""
    for _ in range(3):
        client = subprocess.Popen([sys.executable, str(LEGS_PROBE), "wander", str(seconds)], env=graph.environment, stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        assert any(line.startswith("READY") for line in client.stdout), graph.log.getvalue()[-3000:]
        until(graph, lambda: status_of(graph)["state"] == "running" or bool(status_of(graph)["estop"]))
        if status_of(graph)["state"] == "running":
            return client
        client.kill()
        client.wait()
        graph.rearm()
    raise AssertionError(graph.log.getvalue()[-3000:])


def pid_of(graph: Any, name: str) -> int:
    return next(int(child.process.pid) for child in graph.runner.children if child.name == name)


def said_by_the_tracker(graph: Any, since: int, text: str) -> None:
    """Until the tracker says so; it may not have damped the robot by then."""

    def lines() -> str:
        return "\n".join(line for line in graph.log.getvalue()[since:].splitlines() if line.startswith("[tracker]"))

    until(graph, lambda: text in lines() or "-> damped" in lines())
    assert "-> damped" not in lines(), lines()


def test_a_promoted_bundle_takes_over_in_a_walk_and_a_rollback_takes_it_back(legs: Any, folder: Path) -> None:
    """The shipped bundle under another name."""
    robot = load_legged("go2")
    registry = Registry(folder / "registry", robot.name)
    copy = Path(shutil.copytree(robot.folder / "bundle", folder / f"copy{time.monotonic_ns()}"))
    (copy / MANIFEST).write_text(yaml.safe_dump(yaml.safe_load((copy / MANIFEST).read_text()) | {"name": "again"}))
    report = copy / REPORT
    report.write_text(json.dumps({"passed": True, "candidate_sha256": sha256_of(copy / MANIFEST)}))
    version = registry.add(copy, {REPORT: report})
    client = walking(legs, TIMEOUT_S)
    since = len(legs.log.getvalue())
    registry.promote(version)
    until(legs, lambda: f"planning with again/{version} now" in legs.log.getvalue()[since:], TIMEOUT_S)
    registry.rollback()
    until(legs, lambda: "/shipped now" in legs.log.getvalue()[since:], TIMEOUT_S)
    said_by_the_tracker(legs, since, "")
    client.kill()
    client.wait()


def test_a_killed_controller_ends_the_walk_on_its_feet_and_walks_again_once_it_is_back(legs: Any) -> None:
    client = walking(legs, 60.0)
    since = len(legs.log.getvalue())
    os.kill(pid_of(legs, "controller"), signal.SIGKILL)
    said_by_the_tracker(legs, since, "running -> holding: plan is stale")
    said_by_the_tracker(legs, since, "holding -> running")
    since = len(legs.log.getvalue())
    client.kill()
    client.wait()
    said_by_the_tracker(legs, since, "running -> holding: plan is stale")


def test_a_page_in_a_real_browser_shows_the_robot_walks_it_and_stops_it(legs: Any) -> None:
    port = free_port()
    call = [TAUSTACK, "view", "go2", "--port", str(port)]
    viewer = subprocess.Popen(call, env=legs.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert viewer.stdout is not None
    try:
        assert any(line.startswith("http://") for line in viewer.stdout)
        taken = subprocess.run(call, env=legs.environment, capture_output=True, text=True, timeout=120, check=False)
        assert taken.returncode == 2
        assert f"--port: got {port}, expected a free port of 127.0.0.1" in taken.stderr
        with browser(f"http://127.0.0.1:{port}") as tab:
            tab.wait_for(status_of(legs)["state"])
            tab.press("Go")
            until(legs, lambda: status_of(legs)["state"] == "running")
            tab.wait_for("plans/s by")
            before = tab.frames
            tab.page.wait_for_timeout(1000)
            assert tab.frames > before
            tab.press("E-STOP")
            until(legs, lambda: bool(status_of(legs)["estop"]))
            tab.wait_for("e-stop: pressed by the ROS graph")
            assert status_of(legs)["state"] == "holding"
            tab.press("Reset e-stop")
            until(legs, lambda: not status_of(legs)["estop"])
            tab.press("Go")
        # The browser went away in the middle of a walk.
        assert viewer.poll() is None
        until(legs, lambda: status_of(legs)["state"] in ("running", "ready", "holding"))
    finally:
        viewer.send_signal(signal.SIGTERM)
        assert viewer.wait(30) == 0


def test_a_killed_tracker_leaves_the_robot_to_its_own_watchdog_and_the_run_is_recorded(legs: Any, folder: Path) -> None:
    """Ends the graph: nothing in it may go on without a tracker."""
    client = walking(legs, 60.0)
    end = time.monotonic() + 8.0  # the graph, and its bag, may be new: a stall of the machine starts it again
    while time.monotonic() < end:
        legs.runner.poll()
        time.sleep(0.02)
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
    assert report.topics["/plan"].count > 20  # 50 a second on a machine that is fast enough
    harvest = WalkHarvest()
    walks = list(walks_of([bag], robot, harvest))
    # How much of it could be learned from is the machine's doing; that nothing is lost unsaid is ours.
    assert 60 * harvest.minutes + sum(harvest.cut_s.values()) > 0.8 * report.topics["/walk_state"].count / robot.rates.state_hz, harvest
    assert set(harvest.quarantined.values()) <= {"nothing in it that could be learned from"}
    assert all(np.isfinite(walk.x).all() for walk in walks)
