"""Faults that the graph outlives, one after another in one graph: what ends is started anew, e-stops are let go, floods and hogs pass."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from taustack.config import RobotConfig

from .stack import KILL, STOP, WAIT_S, Stack

pytestmark = pytest.mark.ros
RESTARTED = ("dynamics_server", "subgoal_planner", "logger")


@pytest.fixture(scope="module")
def outlived(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The graph, judged at the end by the plant's record of all that it went through."""
    stack = Stack(robot, tmp_path_factory.mktemp("outlived") / "run")
    yield stack
    assert stack.stop()


@pytest.fixture
def stack(outlived: Stack) -> Stack:
    """At rest or in a goal of the test before, with no e-stop pressed."""
    outlived.again()
    return outlived


@pytest.mark.parametrize("number", [KILL, STOP], ids=["kill", "stop"])
def test_what_may_be_restarted_is_while_the_arm_stays_safe(stack: Stack, number: int) -> None:
    """All of it at once; the controller's turn is in test_processes.py."""
    stack.wander()
    restarts, said = list(stack.runner.restarted), len(stack.log.getvalue())
    for name in RESTARTED:
        stack.signal(name, number)
    assert stack.until(lambda: sorted(stack.runner.restarted[len(restarts) :]) == sorted(RESTARTED)), stack.log.getvalue()
    assert stack.runner.poll() is None
    assert stack.status()["state"] in ("running", "holding")
    assert stack.until(lambda: all(f"up again: {name}" in stack.log.getvalue()[said:] for name in RESTARTED)), stack.log.getvalue()


def test_an_estop_button_is_pressed_refuses_a_reset_and_is_reset(stack: Stack) -> None:
    stack.wander()
    answer = stack.ask("estop", "0.6", "released")
    assert answer["pressed"]["estop"]
    assert answer["pressed"]["why"] == "pressed by button"
    assert answer["pressed"]["mode"] == "holding"
    assert answer["refused"] == {"success": False, "message": "pressed by button"}
    assert answer["released"]["success"]
    assert not answer["after"]["estop"]


def test_the_estop_service_stops_refuses_goals_and_starts_nothing_when_reset(stack: Stack) -> None:
    answer = stack.ask("press_service")
    assert answer["pressed"]["success"]
    assert answer["during"]["estop"]
    assert answer["goal"] == {"accepted": False}
    assert answer["released"]["success"]
    assert answer["still"] < 0.02
    assert answer["after"]["mode"] == "ready"
    assert answer["reached"]["reached"]


def test_a_flood_on_every_topic_is_survived(stack: Stack) -> None:
    answer = stack.ask("flood_topics", "3", "1000")
    assert answer["during"]["mode"] in ("holding", "ready")
    assert answer["after"]["reached"], stack.log.getvalue()


HOG = "while True: pass"
EATER = "import time; block = bytearray(1_500_000_000); block[::4096] = b'x' * len(block[::4096]); time.sleep(60)"


@pytest.mark.parametrize("program", [HOG, EATER], ids=["cpu", "memory"])
def test_hogs_on_every_core_cost_no_limit(stack: Stack, program: str) -> None:
    stack.wander()
    hogs = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(os.cpu_count() or 1)]
    try:
        stack.until(lambda: False, 4.0)
        assert stack.status()["state"] in ("running", "holding")
        assert stack.runner.poll() is None
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert stack.status()["ticks"] > 1000


def test_an_estop_button_that_leaves_is_not_pressed_and_one_that_dies_is_for_good(stack: Stack) -> None:
    """Comes last: what a dead button pressed, nothing resets."""
    stack.wander()
    left = stack.ask("estop", "0", "leaves")
    assert not left["estop"]
    stack.client("estop", "0", "dies").wait(WAIT_S)
    assert stack.until(lambda: bool(stack.status().get("estop")))
    assert stack.rests()
