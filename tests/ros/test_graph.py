"""The real ROS graph: goals reached, requests refused, bad messages dropped while the arm holds."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle

from .conftest import Graph

pytestmark = pytest.mark.ros


def test_a_goal_is_reached(graph: Graph) -> None:
    answer = graph.ask("reach", "0.5", "0.3", "0.4", "panda_link0")
    assert answer["status"] == "succeeded", graph.log.getvalue()
    assert answer["reached"]
    assert answer["error_m"] < 0.02


def test_messages_carry_what_the_contract_says(graph: Graph, robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> None:
    seen = graph.ask("look")
    assert seen["names"] == list(robot.joint_names)
    assert seen["joint_states"] == list(robot.joint_names)
    assert seen["model"] == {"sha256": bundle.sha256, "robot": "panda", "horizon": 25}
    assert seen["plan"]["bundle"] == bundle.sha256
    assert seen["plan"]["actions"] == 25 * 7
    assert seen["plan"]["states"] == 26 * 28
    assert seen["plan"]["lead_s"] == pytest.approx(task.mppi.latency_steps * robot.rates.control_dt, abs=1e-6)
    assert seen["plan"]["cost_name"] == list(bundle.manifest.plan.cost_terms)
    assert seen["safety"]["publishers"] == 1


def test_diagnostics_tell_timing_ages_and_what_each_node_takes(graph: Graph) -> None:
    found = graph.ask("diagnostics")
    for group in ("lateness_ms", "work_ms", "state_age_ms"):
        assert all(float(found["tracker"][f"{group} {key}"]) >= 0 for key in ("p50", "p99", "p999"))
    for node in ("driver", "controller"):
        assert {"cpu_percent", "rss_mb", "threads", "descriptors"} == set(found[node])
        assert float(found[node]["rss_mb"]) > 10


@pytest.mark.parametrize(
    ("goal", "part"),
    [
        (("2.0", "0.0", "0.5"), "expected a point in the box"),
        (("nan", "0.0", "0.5"), "expected finite coordinates"),
        (("0.5", "0.0", "0.5", "map"), "frame_id: got 'map', expected 'panda_link0'"),
    ],
)
def test_a_bad_goal_is_refused_with_a_reason(graph: Graph, goal: tuple[str, ...], part: str) -> None:
    assert graph.ask("ask_once", *goal) == {"accepted": False}
    assert part in graph.log.getvalue()


def test_a_second_stack_in_one_domain_is_refused(graph: Graph) -> None:
    """By then the first one is no newcomer any more, which would go instead."""
    time.sleep(max(0.0, 15.0 - (time.monotonic() - graph.runner.children[0].started)))
    call = [sys.executable, "-c", "import sys; from taustack.cli import main; sys.exit(main())", "up", "sim", "log:="]
    second = subprocess.run(call, env=graph.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)
    assert second.returncode == 2
    assert "another stack runs in this domain" in second.stdout + second.stderr
    assert graph.runner.poll() is None


def test_a_newer_goal_preempts_the_one_that_runs(graph: Graph) -> None:
    answer = graph.ask("preempt")
    assert answer["first"]["status"] == "aborted"
    assert "preempted" in answer["first"]["message"]
    assert answer["second"]["status"] == "succeeded"


def test_a_cancelled_goal_ends_in_a_hold(graph: Graph) -> None:
    answer = graph.ask("cancel")
    assert answer["status"] == "canceled"
    assert answer["safety"]["mode"] == "holding"
    assert answer["speed"] < 0.01


def test_a_flood_of_goals_is_refused_and_the_next_goal_is_reached(graph: Graph) -> None:
    answer = graph.ask("flood", "60")
    assert answer["accepted"] <= 20 * (1 + answer["took_s"])
    assert answer["after"]["reached"]
    assert "expected fewer" in graph.log.getvalue()


def test_a_second_publisher_of_plans_makes_the_arm_hold_until_it_is_gone(graph: Graph) -> None:
    answer = graph.ask("second_publisher")
    assert answer["during"]["publishers"] == 2
    assert answer["during"]["mode"] == "holding"
    assert answer["during"]["dropped"]["second_publisher"] > 0
    assert answer["speed"] < 0.01
    assert answer["after"]["reached"]


def test_a_killed_controller_is_no_second_publisher_for_long(graph: Graph) -> None:
    """The lease of a participant is 5 s here, 20 s by default: the margin is for machines that stall."""
    answer = graph.ask("killed_publisher")
    assert answer["came"]
    assert answer["left"]
    assert answer["counted_s"] < 12.0


def test_bad_plans_are_dropped_and_counted_and_the_arm_holds(driver_alone: Graph) -> None:
    answer = driver_alone.ask("bad_plans")
    assert set(answer["bad"]["dropped"]) == {"wrong_size", "not_finite", "wrong_epoch", "out_of_order", "stale"}
    assert answer["speed"] == pytest.approx(0.0, abs=1e-9)
    assert answer["moving"] > 0.05
    assert answer["held"] < 1e-3
    assert answer["mode"] == "holding"


def test_rollouts_are_predicted_and_bad_requests_answered_with_a_reason(graph: Graph) -> None:
    answer = graph.ask("rollout")
    success, states, std, uncertainty = answer["good"]
    assert success
    assert states == std == 2 * 6 * 28
    assert 0 < uncertainty < 0.1
    assert min(answer["apart"]) > 0.01  # every joint; the arm itself may still be coming to rest
    assert answer["small"][0] is False
    assert "expected batch x 28" in answer["small"][1]
    assert answer["nan"] == [False, "x or u: got NaN or infinite values, expected finite ones"]


def test_parameters_change_live_within_their_ranges(graph: Graph) -> None:
    answer = graph.ask("parameters")
    assert answer["weight"][0]
    assert answer["temperature"][0]
    for refused in ("negative", "nan", "fixed", "text"):
        assert not answer[refused][0], refused
        assert answer[refused][1]
    assert answer["after"]["reached"]


def test_obstacles_on_the_topic_are_planned_around_and_bad_ones_refused(graph: Graph) -> None:
    answer = graph.ask("obstacles")
    assert answer["start"]["reached"]
    assert answer["straight"][0]
    assert answer["curly"] == [False, answer["curly"][1]]
    assert "direct, straight, tdm" in answer["curly"][1]
    assert not answer["inside"]
    assert "inside an obstacle" in graph.log.getvalue()
    assert "header.frame_id: got map" in graph.log.getvalue()
    assert answer["reached"], f"{answer['message']}\n{graph.log.getvalue()[-3000:]}"
    assert answer["nearest"] > 0.02
    assert answer["highest"] > 0.40  # over it
    assert answer["rows"] == pytest.approx([0.55, 0.0, 0.2, 0.3, 0.02, 0.2, 0.0])
    assert answer["tdm"][0], answer["tdm"]
    assert answer["back"], graph.log.getvalue()[-3000:]
    assert 10 in answer["sizes"]  # a point and joint positions
    assert not answer["out_of_reach"], graph.log.getvalue()[-3000:]
    assert answer["onward"]
    refused = [line for line in graph.log.getvalue().splitlines() if "reach_goal refused" in line]
    assert any("out of reach" in line for line in refused), refused
    assert answer["direct"][0]
