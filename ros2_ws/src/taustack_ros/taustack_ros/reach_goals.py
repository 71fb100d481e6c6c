"""reach_goals: sends goals from a JSON file through `reach_goal`, one after the other, and prints a table as they are reached."""

from __future__ import annotations

import json
import time
from pathlib import Path

from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from taustack_msgs.action import ReachGoal

from taustack.errors import TaustackError
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.process import leave, run_node

SERVER_TIMEOUT_S = 40.0
ANSWER_TIMEOUT_S = 30.0
ACCEPT_TIMEOUT_S = 20.0


class ReachGoals(Node):
    """See the module. The results go to `results`, a JSON file, after each goal."""

    def __init__(self) -> None:
        super().__init__("reach_goals")
        self.goals = json.loads(Path(parameters.text(self, "goals", "", "JSON file: a list of points [m]")).read_text())
        self.results_path = Path(parameters.text(self, "results", "", "JSON file for the results"))
        self._states = 0
        self.create_subscription(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, self._on_state, topics.ROBOT_STATE.qos)
        self.client = ActionClient(self, topics.ACTIONS["reach_goal"], "reach_goal")
        self.results: list[dict[str, object]] = []

    def run(self, stop: StopFlag) -> None:
        """Send all goals."""
        deadline = time.monotonic() + SERVER_TIMEOUT_S
        while not (self._states and self.client.server_is_ready()):
            if stop.wait(0.05):
                return
            if time.monotonic() > deadline:
                missing = "server for reach_goal" if self._states else "robot_state"
                raise TaustackError(f"no {missing} after {SERVER_TIMEOUT_S:g} s")
        print("goal  target [m]               reached  error [mm]  time [s]", flush=True)
        for i, point in enumerate(self.goals):
            result = self._reach(point, stop)
            if stop.is_set():
                return
            outcome = {"reached": result.reached, "error_m": result.final_error, "elapsed_s": result.elapsed_s}
            self.results.append({"goal": point, "at": time.monotonic(), **outcome})
            target = ", ".join(f"{v:6.3f}" for v in point)
            print(f"{i + 1:>4}  {target}   {'yes' if result.reached else 'NO':>7}  {1e3 * result.final_error:10.1f}  {result.elapsed_s:8.2f}", flush=True)
            self.results_path.write_text(json.dumps(self.results))

    def _on_state(self, _: object) -> None:
        self._states += 1

    def _reach(self, point: list[float], stop: StopFlag) -> ReachGoal.Result:
        goal = ReachGoal.Goal()
        goal.target.point.x, goal.target.point.y, goal.target.point.z = (float(v) for v in point)
        deadline = time.monotonic() + ACCEPT_TIMEOUT_S
        # Right after the start the planner may not have seen a state yet and refuses.
        while True:
            handle = self._wait(self.client.send_goal_async(goal), stop)
            if stop.is_set() or handle.accepted:
                break
            if time.monotonic() > deadline:
                raise TaustackError(f"goal {point} was refused: see the lines of subgoal_planner")
            time.sleep(0.25)
        if stop.is_set():
            return ReachGoal.Result()
        answer = self._wait(handle.get_result_async(), stop)
        return answer.result if answer is not None else ReachGoal.Result()

    def _wait(self, future: Future, stop: StopFlag) -> object:
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while not future.done():
            if stop.wait(0.005):
                return None
            if time.monotonic() > deadline:
                raise TaustackError(f"no answer from reach_goal after {ANSWER_TIMEOUT_S:g} s")
        return future.result()


def main() -> None:
    leave(run_node(ReachGoals))
