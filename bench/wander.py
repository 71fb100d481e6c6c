"""A ROS client that sends an arm back and forth between two goals, or a robot on legs around a field, for so many seconds:
`python bench/wander.py SECONDS arm|legs`. Says what came of each goal: `wander: reached`, or `wander: missed: …`.

Where a stall of the machine pressed the e-stop it resets it, as a person would, and says so: `wander: reset the e-stop: …`.
"""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from std_srvs.srv import Trigger
from taustack_msgs.action import ReachGoal
from taustack_ros import topics

GOALS = {
    "arm": ((0.45, 0.35, 0.45), (0.45, -0.35, 0.35)),
    "legs": ((3.0, 0.0, 0.0), (3.0, 3.0, 0.0), (-1.0, 3.0, 0.0), (0.0, 0.0, 0.0), (-3.0, 1.0, 0.0), (0.0, -2.0, 0.0)),
}
RESULT_S = 30.0


class Released:
    """Resets the e-stop if one is pressed."""

    def __init__(self, node: Node) -> None:
        self._node, self._why = node, ""
        self._reset = node.create_client(Trigger, "reset_estop")
        node.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)

    def _on_safety(self, message: object) -> None:
        self._why = message.estop_reason if message.estop else ""  # type: ignore[attr-defined]

    def reset(self) -> None:
        """Ask for it, if there is something to reset."""
        rclpy.spin_once(self._node, timeout_sec=0.2)
        if self._why and self._reset.service_is_ready():
            print(f"wander: reset the e-stop: {self._why}", flush=True)
            rclpy.spin_until_future_complete(self._node, self._reset.call_async(Trigger.Request()), timeout_sec=5.0)


def main() -> None:
    rclpy.init()
    node = Node("wander")
    client = ActionClient(node, ReachGoal, "reach_goal")
    estop = Released(node)
    until, sent, goals = time.monotonic() + float(sys.argv[1]), 0, GOALS[sys.argv[2]]
    while time.monotonic() < until:
        if not client.wait_for_server(timeout_sec=1.0):
            continue
        goal = ReachGoal.Goal()
        goal.target.point.x, goal.target.point.y, goal.target.point.z = goals[sent % len(goals)]
        future = client.send_goal_async(goal)
        rclpy.spin_until_future_complete(node, future, timeout_sec=5.0)
        handle = future.result()
        if handle is None or not handle.accepted:
            estop.reset()
            time.sleep(0.5)
            continue
        result = handle.get_result_async()
        rclpy.spin_until_future_complete(node, result, timeout_sec=RESULT_S)
        answer = result.result()
        ended = "no answer" if answer is None else answer.result.message
        print("wander: reached" if answer is not None and answer.result.reached else f"wander: missed: {ended}", flush=True)
        sent += 1
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
