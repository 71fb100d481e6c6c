"""subgoal_planner: takes goals through `reach_goal` and says where to be next. Kind `direct`: the goal itself."""

from __future__ import annotations

import sys
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.node import Node
from rclpy.task import Future
from taustack_msgs import msg
from taustack_msgs.action import ReachGoal

from taustack.config import load_robot, load_task
from taustack.errors import UnknownName
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.process import run_node

KINDS = ("direct",)
STALE_STATE_S = 0.5
SILENT_S = 1.0  # without a sign of life the controller is taken for dead
WATCH_S = 0.1  # without states; with them it looks at each
START_S = 8.0  # until a plan is followed at last; after that the goal's own time runs
SLOW_START_S = 0.5
FLOOD = 20  # goals in a second; more are refused


@dataclass(kw_only=True)
class Pursuit:
    """A goal that runs."""

    handle: ServerGoalHandle
    goal: np.ndarray
    tolerance: float
    hold_s: float
    timeout_s: float
    started: float
    done: Future
    moving: bool = False
    error: float = float("nan")
    entered: float | None = None

    def look(self, ee: np.ndarray, now: float) -> None:
        """Take note of where the end effector is."""
        self.error = float(np.linalg.norm(ee - self.goal))
        if self.error > self.tolerance:
            self.entered = None
        elif self.entered is None:
            self.entered = now

    def held(self, now: float) -> bool:
        """True once it stayed within the tolerance for hold_s."""
        return self.entered is not None and now - self.entered >= self.hold_s


class SubgoalPlanner(Node):
    """See the module. A newer goal preempts the one that runs."""

    def __init__(self) -> None:
        super().__init__("subgoal_planner")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        self.task = load_task(self.robot, parameters.text(self, "task", "reach", "task of the robot"))
        kind = parameters.text(self, "kind", "direct", "kind of planner")
        if kind not in KINDS:
            raise UnknownName("subgoal planner", kind, KINDS)
        self._ee: np.ndarray | None = None
        self._received_at = 0.0
        self._controller_at = 0.0
        self._seq = 0
        self._forbidden, self._running = "", False
        self._pursuit: Pursuit | None = None
        self._recent: deque[float] = deque(maxlen=FLOOD)
        self._subgoal = self.create_publisher(topics.SUBGOAL.type, topics.SUBGOAL.name, topics.SUBGOAL.qos)
        self.create_subscription(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, self._on_state, topics.ROBOT_STATE.qos)
        self.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)
        self.create_subscription(topics.HEARTBEAT.type, topics.HEARTBEAT.name, self._on_heartbeat, topics.HEARTBEAT.qos)
        self.create_timer(WATCH_S, self._watch)
        self._server = ActionServer(
            self, topics.ACTIONS["reach_goal"], "reach_goal", self._execute, goal_callback=self._on_goal, cancel_callback=lambda _: CancelResponse.ACCEPT,
            goal_service_qos_profile=topics.GOALS, result_service_qos_profile=topics.GOALS,
        )  # fmt: skip

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; then no subgoal stays active."""
        while not stop.wait(0.1):
            pass
        self._send(None)

    def _on_state(self, message: msg.RobotState) -> None:
        self._ee, self._received_at = np.array([message.ee.x, message.ee.y, message.ee.z]), time.monotonic()
        self._watch()

    def _on_heartbeat(self, message: msg.Heartbeat) -> None:
        """Whether there is a controller: the graph's own list of names loses some when nodes come and go, and keeps dead ones."""
        if message.node == "controller":
            self._controller_at = time.monotonic()

    def _on_safety(self, message: msg.Safety) -> None:
        """An e-stop, or damping, ends the goal that runs; new ones are refused until it is reset."""
        self._running = message.mode == "running"
        self._forbidden = message.reason if message.estop or message.mode == "damped" else ""
        if self._forbidden and self._pursuit is not None:
            self._finish(self._pursuit, f"stopped: {self._forbidden}")

    def _on_goal(self, request: ReachGoal.Goal) -> GoalResponse:
        fault = self._fault(request)
        if fault is not None:
            self.get_logger().warning(f"reach_goal refused: {fault}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _fault(self, request: ReachGoal.Goal) -> str | None:
        """What is wrong with a goal, or None."""
        now = time.monotonic()
        flooded = len(self._recent) == FLOOD and now - self._recent[0] < 1.0
        self._recent.append(now)
        if flooded:
            return f"goals: got more than {FLOOD} in a second, expected fewer"
        frame = request.target.header.frame_id
        if frame not in ("", self.robot.base_frame):
            return f"target.header.frame_id: got {frame!r}, expected {self.robot.base_frame!r} or empty"
        for name in ("tolerance", "hold_s", "timeout_s"):
            value = getattr(request, name)
            if not (np.isfinite(value) and value >= 0):
                return f"{name}: got {value}, expected a finite value of at least 0"
        point = _point(request)
        expected = self.robot.workspace.fault(point)
        if expected is not None:
            return f"target.point: got {point.tolist()}, expected {expected}"
        if self._forbidden:
            return f"safety: got {self._forbidden!r}, expected a released e-stop (service reset_estop)"
        if now - self._controller_at > SILENT_S:
            return "controller: got no sign of life of it, expected a running one"
        if self._ee is None or now - self._received_at > STALE_STATE_S:
            return "robot_state: got none lately, expected a running driver"
        return None

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoal.Result:
        request, success = handle.request, self.task.success
        pursuit = Pursuit(
            handle=handle, goal=_point(request), tolerance=request.tolerance or success.tolerance, hold_s=request.hold_s or success.hold_s,
            timeout_s=request.timeout_s or success.timeout_s, started=time.monotonic(), done=Future(),
        )  # fmt: skip
        if self._pursuit is not None:
            self._finish(self._pursuit, "preempted by a newer goal")
        pursuit.look(self._ee, pursuit.started)
        self._pursuit = pursuit
        self._send(pursuit.goal)
        return await pursuit.done

    def _watch(self) -> None:
        """Follow the running goal: feedback, success, or why it ends."""
        pursuit, now = self._pursuit, time.monotonic()
        if pursuit is None or self._ee is None:
            return
        pursuit.look(self._ee, now)
        if not pursuit.moving and (self._running or now - pursuit.started > START_S):
            pursuit.moving = True
            if now - pursuit.started > SLOW_START_S:  # discovery was late: the time to reach the goal begins with the motion
                pursuit.started = now
        if pursuit.held(now):
            self._finish(pursuit, "")
        elif pursuit.handle.is_cancel_requested:
            self._finish(pursuit, "cancelled")
        elif now - self._received_at > STALE_STATE_S:
            self._finish(pursuit, "no robot_state any more")
        elif pursuit.moving and now - pursuit.started > pursuit.timeout_s + pursuit.hold_s:
            self._finish(pursuit, "timed out")
        else:
            pursuit.handle.publish_feedback(ReachGoal.Feedback(distance=pursuit.error, elapsed_s=now - pursuit.started))

    def _finish(self, pursuit: Pursuit, fault: str) -> None:
        """End a goal; unless it was reached or preempted, the subgoal ends with it and the robot holds."""
        preempted = fault.startswith("preempted")
        if not fault:
            pursuit.handle.succeed()
        elif pursuit.handle.is_cancel_requested:
            pursuit.handle.canceled()
        else:
            pursuit.handle.abort()
        if fault:
            self.get_logger().warning(f"reach_goal {pursuit.goal.round(3).tolist()}: {fault}, {1e3 * pursuit.error:.1f} mm away")
        if fault and not preempted:
            self._send(None)
        self._pursuit = None
        elapsed = time.monotonic() - pursuit.started
        pursuit.done.set_result(ReachGoal.Result(reached=not fault, final_error=pursuit.error, elapsed_s=elapsed, message=fault or "reached"))

    def _send(self, goal: np.ndarray | None) -> None:
        self._seq += 1
        out = msg.Subgoal(seq=self._seq, active=goal is not None, goal=[] if goal is None else goal.tolist())
        out.header.stamp, out.header.frame_id = self.get_clock().now().to_msg(), self.robot.base_frame
        self._subgoal.publish(out)


def _point(request: ReachGoal.Goal) -> np.ndarray:
    return np.array([request.target.point.x, request.target.point.y, request.target.point.z])


def main() -> None:
    sys.exit(run_node(SubgoalPlanner))
