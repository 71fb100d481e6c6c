"""A ROS client that sends the arm back and forth between two goals for so many seconds: `python bench/wander.py SECONDS`."""

from __future__ import annotations

import sys
import time

import rclpy
from rclpy.action import ActionClient
from rclpy.node import Node
from taustack_msgs.action import ReachGoal

GOALS = ((0.45, 0.35, 0.45), (0.45, -0.35, 0.35))


def main() -> None:
    rclpy.init()
    node = Node("wander")
    client = ActionClient(node, ReachGoal, "reach_goal")
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
            time.sleep(0.5)
            continue
        result = handle.get_result_async()
        rclpy.spin_until_future_complete(node, result, timeout_sec=10.0)
        sent += 1
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
