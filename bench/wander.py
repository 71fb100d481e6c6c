"""A ROS client that sends the arm back and forth between two goals for so many seconds: `python bench/wander.py SECONDS`.

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

GOALS = ((0.45, 0.35, 0.45), (0.45, -0.35, 0.35))


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
    until, sent = time.monotonic() + float(sys.argv[1]), 0
    while time.monotonic() < until:
        if not client.wait_for_server(timeout_sec=1.0):
            continue
        goal = ReachGoal.Goal()
        goal.target.point.x, goal.target.point.y, goal.target.point.z = GOALS[sent % 2]
        future = client.send_goal_async(goal)
        rclpy.spin_until_future_complete(node, future, timeout_sec=5.0)
        handle = future.result()
        if handle is None or not handle.accepted:
            estop.reset()
            time.sleep(0.5)
            continue
        result = handle.get_result_async()
        rclpy.spin_until_future_complete(node, result, timeout_sec=10.0)
        sent += 1
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
