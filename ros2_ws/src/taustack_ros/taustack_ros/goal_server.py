"""The server of `reach_goal`, the same for all robots: it takes or refuses goals, follows the one that runs, and ends it. Where to go next says its guide."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from taustack_msgs import msg
from taustack_msgs.action import ReachGoal

from taustack_ros import topics
from taustack_ros.pursuit import Flood, Pursuit, fault_of, feedback_of, point_of

STALE_STATE_S = 0.5
SILENT_S = 1.0  # without a sign of life the controller is taken for dead
WATCH_S = 0.1  # without states; with them it looks at each
START_S = 8.0  # until a plan is followed at last; after that the goal's own time runs
SLOW_START_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Success:
    """When a goal counts as reached, where a request says nothing."""

    tolerance: float
    hold_s: float
    timeout_s: float


class Guide(Protocol):
    """Leads to goals."""

    def fault(self, request: ReachGoal.Goal) -> str | None:
        """What is wrong with a goal by itself, or why none can begin now; or None."""
        ...

    async def answer(self, request: ReachGoal.Goal) -> str | None:
        """Why a goal that is in order cannot be reached, by one that knows; or None. May take its time."""
        ...

    def lead(self, pursuit: Pursuit, now: float) -> None:
        """Send a subgoal if it is time to (monotonic, [s])."""
        ...

    def reached(self) -> None:
        """The goal was reached: its subgoal stays, or ends."""
        ...


class GoalServer:
    """See the module. A newer goal preempts the one that runs; an e-stop, or damping, ends it.

    Args:
        node: whose executor it lives on.
        frame: of goals.
        success: defaults.
        guide: says where to go next.
        states: topic of the robot's state, for messages.
    """

    def __init__(self, node: Node, frame: str, success: Success, guide: Guide, states: str) -> None:
        self.node, self.frame, self.success, self.guide, self._states = node, frame, success, guide, states
        self.pursuit: Pursuit | None = None
        self.place: np.ndarray | None = None
        self._received_at, self._controller_at = 0.0, 0.0
        self._forbidden, self._running, self._seq = "", False, 0
        self._flood = Flood()
        self._subgoal = node.create_publisher(topics.SUBGOAL.type, topics.SUBGOAL.name, topics.SUBGOAL.qos)
        node.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)
        node.create_subscription(topics.HEARTBEAT.type, topics.HEARTBEAT.name, self._on_heartbeat, topics.HEARTBEAT.qos)
        node.create_timer(WATCH_S, self._watch)
        self._server = ActionServer(
            node, topics.ACTIONS["reach_goal"], "reach_goal", self._execute, goal_callback=self._on_goal, cancel_callback=lambda _: CancelResponse.ACCEPT,
            goal_service_qos_profile=topics.GOALS, result_service_qos_profile=topics.GOALS,
            callback_group=ReentrantCallbackGroup(),  # an answer that is waited for would hold up all callbacks of its group
        )  # fmt: skip

    def saw(self, place: np.ndarray) -> None:
        """The robot is at a place (3,) [m]."""
        self.place, self._received_at = place, time.monotonic()
        self._watch()

    def send(self, goal: np.ndarray | None) -> None:
        """Publish a subgoal, to be reached as soon as possible; None: there is none any more."""
        self._seq += 1
        out = msg.Subgoal(seq=self._seq, active=goal is not None, goal=[] if goal is None else goal.tolist())
        out.header.stamp, out.header.frame_id = self.node.get_clock().now().to_msg(), self.frame
        self._subgoal.publish(out)

    def _on_heartbeat(self, message: msg.Heartbeat) -> None:
        """Whether there is a controller: the graph's own list of names loses some when nodes come and go, and keeps dead ones."""
        if message.node == "controller":
            self._controller_at = time.monotonic()

    def _on_safety(self, message: msg.Safety) -> None:
        self._running = message.mode == "running"
        self._forbidden = message.reason if message.estop or message.mode == "damped" else ""
        if self._forbidden and self.pursuit is not None:
            self._finish(self.pursuit, f"stopped: {self._forbidden}")

    async def _on_goal(self, request: ReachGoal.Goal) -> GoalResponse:
        flooded = self._flood.fault(time.monotonic())
        fault = flooded or fault_of(request, self.frame) or self.guide.fault(request) or self._not_now()
        fault = fault or await self.guide.answer(request) or self._not_now()  # much may come meanwhile
        if fault:
            self.node.get_logger().warning(f"reach_goal refused: {fault}")
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    def _not_now(self) -> str | None:
        """Why no goal can begin, or None."""
        now = time.monotonic()
        if self._forbidden:
            return f"safety: got {self._forbidden!r}, expected a released e-stop (service reset_estop)"
        if now - self._controller_at > SILENT_S:
            return "controller: got no sign of life of it, expected a running one"
        if self.place is None or now - self._received_at > STALE_STATE_S:
            return f"{self._states}: got none lately, expected a running driver"
        return None

    async def _execute(self, handle: ServerGoalHandle) -> ReachGoal.Result:
        request, success = handle.request, self.success
        pursuit = Pursuit(
            handle=handle, goal=point_of(request), tolerance=request.tolerance or success.tolerance, hold_s=request.hold_s or success.hold_s,
            timeout_s=request.timeout_s or success.timeout_s, started=time.monotonic(), done=Future(),
        )  # fmt: skip
        if self.pursuit is not None:
            self._finish(self.pursuit, "preempted by a newer goal")
        assert self.place is not None
        pursuit.look(self.place, pursuit.started)
        self.pursuit = pursuit
        self.guide.lead(pursuit, pursuit.started)
        return await pursuit.done

    def _watch(self) -> None:
        """Follow the running goal: feedback, success, or why it ends."""
        pursuit, now = self.pursuit, time.monotonic()
        if pursuit is None or self.place is None:
            return
        pursuit.look(self.place, now)
        if not pursuit.moving and (self._running or now - pursuit.started > START_S):
            pursuit.moving = True
            if now - pursuit.started > SLOW_START_S:  # discovery was late: the time to reach the goal begins with the motion
                pursuit.started = now
        if pursuit.held(now):
            self._finish(pursuit, "")
        elif pursuit.handle.is_cancel_requested:
            self._finish(pursuit, "cancelled")
        elif now - self._received_at > STALE_STATE_S:
            self._finish(pursuit, f"no {self._states} any more")
        elif pursuit.moving and now - pursuit.started > pursuit.timeout_s + pursuit.hold_s:
            self._finish(pursuit, "timed out")
        else:
            self.guide.lead(pursuit, now)
            pursuit.handle.publish_feedback(feedback_of(pursuit, now))

    def _finish(self, pursuit: Pursuit, fault: str) -> None:
        """End a goal; unless it was reached or preempted, the subgoal ends with it and the robot holds."""
        if not fault:
            pursuit.handle.succeed()
        elif pursuit.handle.is_cancel_requested:
            pursuit.handle.canceled()
        else:
            pursuit.handle.abort()
        if fault:
            self.node.get_logger().warning(f"reach_goal {pursuit.goal.round(3).tolist()}: {fault}, {1e3 * pursuit.error:.1f} mm away")
        if fault and not fault.startswith("preempted"):
            self.send(None)
        self.pursuit = None
        if not fault:
            self.guide.reached()
        elapsed = time.monotonic() - pursuit.started
        pursuit.done.set_result(ReachGoal.Result(reached=not fault, final_error=pursuit.error, elapsed_s=elapsed, message=fault or "reached"))
