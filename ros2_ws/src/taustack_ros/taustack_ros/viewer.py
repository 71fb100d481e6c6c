"""viewer: shows the robot, its plans and its state in a browser, and passes on what is asked there. Nothing waits for it, and nothing needs it."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rclpy.action import ActionClient
from rclpy.node import Node
from std_srvs.srv import Trigger
from taustack_msgs import msg
from taustack_msgs.action import ReachGoal

from taustack.config import load_robot, load_task
from taustack.controllers.bundle import load_bundle
from taustack.controllers.walk_bundle import load_walk_bundle
from taustack.errors import TaustackError
from taustack.legged import load_legged
from taustack.robot_folders import has_legs
from taustack.stop_flag import StopFlag
from taustack.view.eyes import ArmEyes, LegsEyes
from taustack.view.looks import Look, Planned, Status
from taustack.view.page import Page
from taustack.walk_task import load_walk_task
from taustack_ros import parameters, topics
from taustack_ros.convert import JointMap, measured, seen_plan
from taustack_ros.convert_legs import walk_state_of
from taustack_ros.process import leave, run_node

FRAMES_HZ = 30.0
PLANS_EVERY_S = 0.2  # drawn, with their samples
NICE = 10  # below all that the robot needs


class Viewer(Node):
    """See the module. It is what the page's buttons command."""

    def __init__(self) -> None:
        super().__init__("viewer", start_parameter_services=False)
        os.nice(NICE)
        robot = parameters.text(self, "robot", "", "robot, by name or folder")
        task = parameters.text(self, "task", "", "task of the robot; empty: reach, of a robot on legs goal")
        host = parameters.text(self, "host", "127.0.0.1", "address that the page is served at; others than this machine can press its buttons")
        port = int(parameters.number(self, "port", 8080, 1, 65535, "", "where the page is served"))
        self._lock = threading.Lock()
        self._state: tuple[float, np.ndarray] | None = None
        self._plan: msg.Plan | None = None
        self._plans_at: deque[float] = deque(maxlen=50)
        self._safety: msg.Safety | None = None
        self._said = ""
        self.eyes = self._legs(robot, task) if has_legs(robot) else self._arm(robot, task)
        self.create_subscription(topics.PLAN.type, topics.PLAN.name, self._on_plan, topics.PLAN.qos)
        self.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)
        self._goals = ActionClient(self, ReachGoal, "reach_goal")
        self._asked = {name: self.create_client(Trigger, name) for name in ("press_estop", "reset_estop")}
        self._goal_handle: object = None
        self.page = Page(self.eyes.model, self.eyes.goal, self, host, port, on_floor=self.eyes.on_floor)
        print(f"http://{host}:{port}", flush=True)

    def run(self, stop: StopFlag) -> None:
        """Draw until stopped."""
        planned: Planned | None = None
        drawn_at, seq, found = -np.inf, None, False
        while not stop.wait(1 / FRAMES_HZ):
            with self._lock:
                state, plan = self._state, self._plan
            now = time.monotonic()
            if state is not None and not found:
                found = True
                self.page.offer(self.eyes.goal, self.eyes.place)
            if self.page.watched and plan is not None and plan.seq != seq and now - drawn_at > PLANS_EVERY_S:
                drawn_at, seq = now, plan.seq
                planned = self._drawn(plan) or planned
            self.page.show(Look(qpos=None if state is None else state[1], status=self._status(now), planned=planned))
        self.page.close()

    def press_estop(self) -> None:
        self._trigger("press_estop")

    def reset_estop(self) -> None:
        self._trigger("reset_estop")

    def go_to(self, point: np.ndarray) -> None:
        goal = ReachGoal.Goal()
        goal.target.point.x, goal.target.point.y, goal.target.point.z = (float(v) for v in point)
        if not self._goals.server_is_ready():
            self._said = "nobody takes goals yet"
            return
        self._said = f"goal {np.round(point, 2).tolist()}: asked"
        self._goals.send_goal_async(goal, self._on_feedback).add_done_callback(self._on_answer)

    def cancel(self) -> None:
        if self._goal_handle is not None:
            self._goal_handle.cancel_goal_async()  # type: ignore[attr-defined]

    def _trigger(self, name: str) -> None:
        """Ask for a service, and say what it answered."""
        if not self._asked[name].service_is_ready():
            self._said = f"{name}: **nobody is there**"
            return
        self._asked[name].call_async(Trigger.Request()).add_done_callback(lambda done: self._say(f"{name}: {done.result().message or 'done'}"))

    def _say(self, text: str) -> None:
        self._said = text

    def _on_answer(self, done: object) -> None:
        handle = done.result()  # type: ignore[attr-defined]
        if not handle.accepted:
            self._said = "goal: **refused** (the log of subgoal_planner says why)"
            return
        self._goal_handle = handle
        handle.get_result_async().add_done_callback(lambda ended: self._say(f"goal: {ended.result().result.message}"))

    def _on_feedback(self, message: object) -> None:
        self._said = f"goal: {message.feedback.distance:.2f} m away"  # type: ignore[attr-defined]

    def _arm(self, name: str, task: str) -> ArmEyes:
        robot = load_robot(name)
        eyes = ArmEyes(robot, load_task(robot, task or "reach"))
        joints: list[JointMap] = []

        def on_state(message: msg.RobotState) -> None:
            joints[:] = joints or [JointMap.between(message.name, robot.joint_names, "topic robot_state")]
            self._saw(eyes.qpos(measured(message, joints[0]).state))

        self.create_subscription(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, on_state, topics.ROBOT_STATE.qos)
        self._use(lambda folder: eyes.use(load_bundle(folder, robot)))
        return eyes

    def _legs(self, name: str, task: str) -> LegsEyes:
        robot = load_legged(name)
        eyes = LegsEyes(robot, load_walk_task(robot, task or "goal"))
        joints: list[JointMap] = []

        def on_state(message: msg.WalkState) -> None:
            joints[:] = joints or [JointMap.between(message.name, robot.joint_names, "topic walk_state")]
            self._saw(eyes.qpos(walk_state_of(message, joints[0])))

        self.create_subscription(topics.WALK_STATE.type, topics.WALK_STATE.name, on_state, topics.WALK_STATE.qos)
        self._use(lambda folder: eyes.use(load_walk_bundle(folder, robot)))
        return eyes

    def _use(self, use: Callable[[Path], None]) -> None:
        """Take each bundle that is announced, for the samples."""

        def on_model(message: msg.Model) -> None:
            try:
                use(Path(message.path))
            except TaustackError as error:
                self.get_logger().warning(f"samples are not drawn: {error}")

        self.create_subscription(topics.MODEL.type, topics.MODEL.name, on_model, topics.MODEL.qos)

    def _saw(self, qpos: np.ndarray) -> None:
        with self._lock:
            self._state = (time.monotonic(), qpos)

    def _on_plan(self, message: msg.Plan) -> None:
        with self._lock:
            self._plan = message
            self._plans_at.append(time.monotonic())

    def _on_safety(self, message: msg.Safety) -> None:
        self._safety = message

    def _drawn(self, message: msg.Plan) -> Planned | None:
        try:
            return self.eyes.planned(seen_plan(message))
        except TaustackError as error:
            self.get_logger().warning(f"a plan is not drawn: {error}", throttle_duration_sec=5.0)
            return None

    def _status(self, now: float) -> Status:
        safety = self._safety
        with self._lock:
            age = now - self._state[0] if self._state else np.inf
            since = [at for at in self._plans_at if now - at < 1.0]
        if safety is None:
            return Status(state_age_s=age, said=self._said)
        return Status(mode=safety.mode, reason=safety.reason, estop=safety.estop, state_age_s=age, plan_hz=float(len(since)), said=self._said)


def main() -> None:
    leave(run_node(Viewer))
