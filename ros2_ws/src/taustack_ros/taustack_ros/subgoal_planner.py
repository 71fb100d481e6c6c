"""subgoal_planner: takes goals through `reach_goal` and says where to be next. Kind `direct`: the goal itself; `straight`: around obstacles;
`tdm`: over what the bundle's temporal difference model says can be reached."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future as Work
from functools import partial
from pathlib import Path

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from taustack_msgs import msg
from taustack_msgs.action import ReachGoal

from taustack.config import load_robot, load_task
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.chooser import Choice, Chooser, Pair
from taustack.controllers.guarded import ChoiceTimes
from taustack.controllers.subgoal_kinds import KINDS, OVER_A_MODEL, make_subgoal_planner
from taustack.controllers.subgoals import Direct
from taustack.errors import BadInput, TaustackError
from taustack.layout import RobotState
from taustack.obstacles import Obstacle
from taustack.realtime import take_priority
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.convert import JointMap, measured, obstacles_of
from taustack_ros.goal_server import GoalServer, Success
from taustack_ros.process import done_in, leave, run_node, write_statistics
from taustack_ros.pursuit import Pursuit, place_fault, point_of

REACH_M = 0.05  # a goal that the model says will be missed by more is out of reach
HANGS_S = 10.0  # a choice that takes longer never ends; on a busy machine one may take a second
MOST_ASKED = 4
PRIORITY = 20  # of choices, as of planning
WHEN_OUT_OF_REACH = ("refuse", "warn")


class SubgoalPlanner(Node):
    """See the module. It is the guide of its server of goals."""

    def __init__(self) -> None:
        super().__init__("subgoal_planner")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        self.task = load_task(self.robot, parameters.text(self, "task", "reach", "task of the robot"))
        kind = self._kind = parameters.choice(self, "kind", "direct", KINDS, "how subgoals are chosen")
        asked = parameters.choice(self, "out_of_reach", "refuse", WHEN_OUT_OF_REACH, "what becomes of goals that the planner calls so")
        self._when_out_of_reach = parameters.one_of(WHEN_OUT_OF_REACH, asked)
        self._over_model: dict[str, Pair] = {}
        self._times, self._run_dir = ChoiceTimes(), parameters.text(self, "run_dir", "", "folder for the run's statistics, empty for none")
        self._ready, self._asked = kind not in OVER_A_MODEL, 0
        self._chooser = Chooser(
            self._pair(kind if self._ready else "direct"), Direct(self.task.subgoals.speed), self._times, begin=partial(take_priority, PRIORITY)
        )
        self.add_on_set_parameters_callback(self._on_parameters)
        self._joints: JointMap | None = None
        self._state: RobotState | None = None
        self._obstacles: tuple[Obstacle, ...] = self.task.obstacles
        success = Success(tolerance=self.task.success.tolerance, hold_s=self.task.success.hold_s, timeout_s=self.task.success.timeout_s)
        self._server = GoalServer(self, self.robot.base_frame, success, self, "robot_state")
        self.create_subscription(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, self._on_state, topics.ROBOT_STATE.qos)
        self.create_subscription(topics.OBSTACLES.type, topics.OBSTACLES.name, self._on_obstacles, topics.OBSTACLES.qos)
        self.create_subscription(topics.MODEL.type, topics.MODEL.name, self._on_model, topics.MODEL.qos)

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; then no subgoal stays active."""
        while not stop.wait(0.1):
            pass
        self._chooser.close()
        self._server.send(None)
        write_statistics(self._run_dir, "subgoals.json", {"kind": self._kind, **self._times.figures()})

    @property
    def progress_at(self) -> float:
        """Monotonic [s]: now, unless a choice hangs; then there are no signs of life, and the supervisor starts the node anew."""
        busy_s = self._chooser.busy_s()
        return time.monotonic() - (busy_s if busy_s > HANGS_S else 0.0)

    def _pair(self, kind: str, bundle: Bundle | None = None) -> Pair:
        one, other = (make_subgoal_planner(kind, self.robot, self.task, bundle) for _ in range(2))
        return one, other

    def _on_state(self, message: msg.RobotState) -> None:
        try:
            if self._joints is None:
                self._joints = JointMap.between(message.name, self.robot.joint_names, "topic robot_state")
            self._state = measured(message, self._joints).state
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        self._server.saw(self._state.ee)

    def _on_obstacles(self, message: msg.Obstacles) -> None:
        """What is in the way from the next subgoal on, beside what the task says."""
        try:
            self._obstacles = (*self.task.obstacles, *obstacles_of(message, self.robot.base_frame))
        except BadInput as error:
            self.get_logger().error(f"the obstacles of before stay: {error}", throttle_duration_sec=2.0)
            return
        self._chooser.set_obstacles(self._obstacles)

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Another kind takes over with the next subgoal."""
        for change in changes:
            try:
                if change.name == "kind":
                    self._use(str(change.value))
                elif change.name == "out_of_reach":
                    self._when_out_of_reach = parameters.one_of(WHEN_OUT_OF_REACH, str(change.value))
            except TaustackError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _use(self, kind: str) -> None:
        """Plan subgoals with a kind from now on. Raises as `make_subgoal_planner`; then the one of before stays."""
        if kind in OVER_A_MODEL and kind not in self._over_model:
            raise BadInput("topic model", "", "no bundle with a temporal difference model yet", f"one, for subgoals by {kind}")
        self._chooser.use(self._over_model[kind] if kind in OVER_A_MODEL else self._pair(kind), self._obstacles)
        self._kind, self._ready = kind, True

    def _on_model(self, message: msg.Model) -> None:
        """Another bundle is live: verified here as well, beside the work, it takes over with the next subgoal."""
        threading.Thread(target=self._take, args=(message,), name="take bundle", daemon=True).start()

    def _take(self, message: msg.Model) -> None:
        """Sessions are built here, in a thread: in a callback the node would be taken for hung. At its own priority: it holds the interpreter meanwhile."""
        try:
            bundle = load_bundle(Path(message.path), self.robot)
            if bundle.sha256 != message.sha256:
                raise BadInput(message.path, "sha256", bundle.sha256, f"{message.sha256}, as announced on `model`")
            kinds = OVER_A_MODEL if bundle.manifest.tdm is not None else ()
            self._over_model = {kind: self._pair(kind, bundle) for kind in kinds}
            if self._kind in OVER_A_MODEL:
                self._use(self._kind)
        except TaustackError as error:
            self.get_logger().error(f"version {message.version} is not taken for subgoals: {error}")

    def fault(self, request: ReachGoal.Goal) -> str | None:
        """As `Guide`."""
        if self._asked >= MOST_ASKED:
            return f"goals: got one more while ways to {self._asked} are looked for, expected fewer at once"
        if not self._ready:
            return f"model: got none with a temporal difference model yet, expected one for subgoals by {self._kind}"
        return place_fault(point_of(request), self.robot, self._obstacles)

    async def answer(self, request: ReachGoal.Goal) -> str | None:
        """As `Guide`: what a planner that knows says of a goal that cannot be reached; only said in the log if `out_of_reach` asks for no more."""
        assert self._state is not None
        point, tolerance = point_of(request), request.tolerance or self.task.success.tolerance
        self._asked += 1
        answer = self._chooser.ask(self._state, point)
        try:
            await done_in(answer, self.executor)
        finally:
            self._asked -= 1
        left_m = answer.result().left_m
        if left_m is None or left_m <= max(tolerance, REACH_M):
            return None
        fault = f"target.point: got {point.tolist()}, out of reach by {1e3 * left_m:.0f} mm, expected one that the arm can come to"
        if self._when_out_of_reach == "refuse":
            return fault
        self.get_logger().warning(f"reach_goal goes on: {fault}")
        return None

    def lead(self, pursuit: Pursuit, now: float) -> None:
        """As `Guide`: ask for a subgoal if it is time to."""
        if now < pursuit.due or pursuit.choosing:
            return
        assert self._state is not None
        pursuit.due, pursuit.choosing = now + 1 / self.task.subgoals.rate_hz, True
        choice = self._chooser.lead(self._state, pursuit.goal, fresh=pursuit.subgoal is None)
        choice.add_done_callback(lambda done: self.executor.create_task(self._led, pursuit, done))

    def reached(self) -> None:
        """As `Guide`: the arm stays there."""

    def _led(self, pursuit: Pursuit, done: Work[Choice]) -> None:
        """A subgoal was chosen: send it if it is another one, and its goal still runs."""
        pursuit.choosing = False
        if done.cancelled() or pursuit is not self._server.pursuit:
            return
        choice = done.result()
        if choice.fault:
            then = "; straight to the goal from now on, until `kind` is set" if choice.given_up else ""
            self.get_logger().error(f"subgoals by {self._kind}: {choice.fault}{then}", throttle_duration_sec=0.0 if then else 1.0)
        if not choice.subgoal.free:
            self.get_logger().warning(f"no free way to {pursuit.goal.round(3).tolist()} found: on the least bad one", throttle_duration_sec=2.0)
        pursuit.subgoal = choice.subgoal
        if pursuit.is_new(choice.subgoal.goal):
            self._server.send(choice.subgoal.goal)


def main() -> None:
    leave(run_node(SubgoalPlanner))
