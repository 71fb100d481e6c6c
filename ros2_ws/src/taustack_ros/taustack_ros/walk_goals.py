"""walk_goals: takes places on the floor through `reach_goal`, for a robot on legs. The way is straight: obstacles are not known here yet."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from taustack_msgs import msg
from taustack_msgs.action import ReachGoal

from taustack.controllers.walk_laws import NEAR_M
from taustack.legged import load_legged
from taustack.stop_flag import StopFlag
from taustack.walk_task import load_walk_task
from taustack_ros import parameters, topics
from taustack_ros.goal_server import GoalServer, Success
from taustack_ros.process import leave, run_node
from taustack_ros.pursuit import Pursuit, point_of

OFF_THE_FLOOR_M = 0.1
FARTHEST_M = 50.0
HOLD_S = 0.5


class WalkGoals(Node):
    """See the module. It is the guide of its server of goals."""

    def __init__(self) -> None:
        super().__init__("subgoal_planner")
        self.robot = load_legged(parameters.text(self, "robot", "", "robot on legs, by name or folder"))
        task = load_walk_task(self.robot, parameters.text(self, "task", "goal", "task of the robot"))
        success = Success(tolerance=task.tolerance, hold_s=HOLD_S, timeout_s=task.timeout_s)
        self._server = GoalServer(self, self.robot.base_frame, success, self, "walk_state")
        self._tolerance = task.tolerance
        self.create_subscription(topics.WALK_STATE.type, topics.WALK_STATE.name, self._on_state, topics.WALK_STATE.qos)

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; then no goal stays active."""
        while not stop.wait(0.1):
            pass
        self._server.send(None)

    def _on_state(self, message: msg.WalkState) -> None:
        """Where the base is, put down on the floor: that is where goals are."""
        self._server.saw(np.array([message.pose.position.x, message.pose.position.y, 0.0]))

    def fault(self, request: ReachGoal.Goal) -> str | None:
        """As `Guide`."""
        point = point_of(request)
        if not np.isfinite(point).all():
            return f"target.point: got {point.tolist()}, expected finite coordinates"
        if abs(point[2]) > OFF_THE_FLOOR_M:
            return f"target.point.z: got {point[2]:g}, expected a place on the floor, within {OFF_THE_FLOOR_M:g} m of 0"
        if request.tolerance and request.tolerance < NEAR_M:
            return f"tolerance: got {request.tolerance:g}, expected at least {NEAR_M:g} m, where the robot stands still, or 0 for {self._tolerance:g} m"
        here = self._server.place
        if here is not None and float(np.hypot(*(point - here)[:2])) > FARTHEST_M:
            return f"target.point: got {point.tolist()}, expected a place within {FARTHEST_M:g} m"
        return None

    async def answer(self, request: ReachGoal.Goal) -> str | None:
        """As `Guide`: nothing here knows better."""
        return None

    def lead(self, pursuit: Pursuit, now: float) -> None:
        """As `Guide`: the goal itself."""
        pursuit.goal[2] = 0.0
        if pursuit.is_new(pursuit.goal):
            self._server.send(pursuit.goal)

    def reached(self) -> None:
        """As `Guide`: it stands there, and is free for what is commanded next."""
        self._server.send(None)


def main() -> None:
    leave(run_node(WalkGoals))
