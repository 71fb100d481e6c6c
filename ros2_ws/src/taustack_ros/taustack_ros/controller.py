"""controller: state and subgoal to plan, at plan_hz, over the bundle that the dynamics server announced."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter
from taustack_msgs import msg

from taustack.config import load_robot, load_task
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.degrade import Ladder, Outcome
from taustack.controllers.fallback import ResolvedRate
from taustack.controllers.mppi import MPPI
from taustack.controllers.plan import Plan
from taustack.controllers.tdm_bundle import tdm_of
from taustack.controllers.tdm_policy import NAME as POLICY
from taustack.controllers.tdm_policy import TDMPolicy
from taustack.errors import BadInput, PlanFailed, UnknownName, WayBlocked
from taustack.layout import Measured
from taustack.obstacles import Obstacle
from taustack.realtime import freeze_garbage, take_priority
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.convert import JointMap, measured, obstacles_of, plan_message, subgoal_of
from taustack_ros.next_planner import NextPlanner
from taustack_ros.planning import STALE_STATE_S, PlanTimes, plan_on_fresh_states
from taustack_ros.process import leave, run_node

PLANNERS = ("mppi", POLICY)
PRIORITY = 25
SHARDS = 8  # threads that a plan may be split over


class Controller(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("controller")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        self.task = load_task(self.robot, parameters.text(self, "task", "reach", "task of the robot"))
        planner = parameters.text(self, "planner", "mppi", "mppi, or tdm_policy: that of the bundle's temporal difference model")
        if planner not in PLANNERS:
            raise UnknownName("planner", planner, PLANNERS)
        self._by_policy = planner == POLICY
        self.policy: TDMPolicy | None = None
        self.run_dir = parameters.text(self, "run_dir", "", "folder for statistics, written at the end; empty: none")
        self.seed = int(parameters.number(self, "seed", 0, 0, 2**31, "1", "seed of the noise"))
        parameters.number(self, "temperature", self.task.mppi.temperature, 1e-4, 10, "1", "lambda as a fraction of the median of S - min S", live=True)
        for name, weight in self.task.cost.items():
            parameters.number(self, f"cost.{name}", weight, 0, 1e4, "1", f"weight of the cost term {name}", live=True)
        self.add_on_set_parameters_callback(self._on_parameters)
        self.planner: MPPI | None = None
        self.fallback: ResolvedRate | None = None
        self.ladder = Ladder()
        self.times = PlanTimes()
        self.progress_at = time.monotonic()
        self.bundle_name = ""
        self.swaps = 0
        self._next = NextPlanner(self, self._prepared, PRIORITY - 6)
        self._newest: Measured | None = None
        self._received_at = 0.0
        self._joints: JointMap | None = None
        self._goal: np.ndarray | None = None
        self._tau_s = 0.0
        self._settings: dict[str, float] = {}
        self._obstacles: tuple[Obstacle, ...] | None = None
        self._fresh = threading.Event()
        self._stopped: tuple[bool, int] | None = None
        self._plans = self.create_publisher(topics.PLAN.type, topics.PLAN.name, topics.PLAN.qos)
        self.create_subscription(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, self._on_state, topics.ROBOT_STATE.qos)
        self.create_subscription(topics.SUBGOAL.type, topics.SUBGOAL.name, self._on_subgoal, topics.SUBGOAL.qos)
        self.create_subscription(topics.OBSTACLES.type, topics.OBSTACLES.name, self._on_obstacles, topics.OBSTACLES.qos)
        self.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)
        self.create_subscription(topics.MODEL.type, topics.MODEL.name, self._next.hear, topics.MODEL.qos)

    def run(self, stop: StopFlag) -> None:
        """Wait for the model, then plan at plan_hz."""
        while self._next.announced is None and not stop.wait(0.05):
            self.progress_at = time.monotonic()
        if stop.is_set() or self._next.announced is None:
            return
        bundle, self.bundle_name = self._announced(self._next.announced)
        take_priority(PRIORITY - 5)  # planning gives way to the threads that receive
        with ThreadPoolExecutor(max_workers=SHARDS) as executor:
            self.planner = MPPI(bundle, self.robot, self.task, np.random.default_rng(self.seed), executor, first_seq=time.time_ns() // 1000)
            chain = chain_from_model(compile_model(self.robot), self.robot)
            self.fallback = ResolvedRate(self.robot, chain, self.planner.horizon, self.planner.latency_s)
            self._warm_up(self.planner)
            self.policy = self._policy_of(self.planner)
            self._next.follow(bundle.sha256)
            freeze_garbage()
            self.get_logger().info(f"planning with {self.bundle_name} at {self.robot.rates.plan_hz:g} Hz")
            plan_on_fresh_states(self._step, self._fresh, self.robot.rates.plan_hz, stop, self._progress)
        self.times.write(self.run_dir, {"swaps": self.swaps, "bundle": {"name": self.bundle_name, "sha256": self.planner.bundle.sha256}})

    def _policy_of(self, planner: MPPI) -> TDMPolicy | None:
        """The policy of the planner's bundle, if that is to act. Raises BundleRefused if the bundle has none."""
        return TDMPolicy(planner, tdm_of(planner.bundle, self.robot), self.robot) if self._by_policy else None

    def _announced(self, model: msg.Model) -> tuple[Bundle, str]:
        """The bundle that the dynamics server announced, verified here as well, and what it is called."""
        bundle = load_bundle(Path(model.path), self.robot)
        if bundle.sha256 != model.sha256:
            raise BadInput(model.path, "sha256", bundle.sha256, f"{model.sha256}, as announced on `model`")
        return bundle, f"{bundle.manifest.name}/{model.version}"

    def _prepared(self, model: msg.Model) -> tuple[str, MPPI, TDMPolicy | None]:
        """What another bundle is called, and the planner over it with its policy. Raises TaustackError if it is not taken."""
        bundle, name = self._announced(model)
        planner = MPPI(bundle, self.robot, self.task, np.random.default_rng(self.seed))
        self._warm_up(planner)
        return name, planner, self._policy_of(planner)

    def _swap(self, name: str, planner: MPPI, policy: TDMPolicy | None) -> None:
        """Let a planner go on where the old one stands."""
        assert self.planner is not None
        planner.take_over(self.planner)
        self.bundle_name, self.planner, self.policy = name, planner, policy
        self.swaps += 1
        self.get_logger().info(f"planning with {self.bundle_name} now")

    def _progress(self, now: float) -> None:
        self.progress_at = now

    def _step(self, now: float) -> None:
        ready = self._next.take()
        if ready is not None:
            self._swap(*ready)
        planner, newest, goal = self.planner, self._newest, self._goal
        assert planner is not None
        settings, self._settings = self._settings, {}
        for name, value in settings.items():
            self._apply(planner, name, value)
        if self._obstacles is not None:
            planner.set_obstacles((*self.task.obstacles, *self._obstacles))
            self._obstacles = None
        if goal is None:
            self.times.pause()
        if newest is None or goal is None or now - self._received_at > STALE_STATE_S:
            planner.reset()
            return
        received = self._received_at
        try:
            plan = self._make(planner, newest, goal)
        except PlanFailed as error:
            planner.reset()
            self.get_logger().error(f"no plan: {error}", throttle_duration_sec=1.0)
            # A blocked way was found in time: the ladder leads up again, to the planner that knows one around.
            self._note("good" if isinstance(error, WayBlocked) else "failed")
            return
        self._plans.publish(plan_message(plan, self.robot.joint_names))
        self._note(self._outcome(planner, time.monotonic() - received))
        self.times.add(plan.planner, plan.plan_time_s)

    def _outcome(self, planner: MPPI, took_s: float) -> Outcome:
        """A plan over too few steps that the model is trusted for counts as none: the ladder leads to the fallback."""
        if planner.trust.steps < planner.horizon:
            self.get_logger().warning(f"the model's members disagree: {planner.trust.steps} of {planner.horizon} steps are trusted", throttle_duration_sec=2.0)
            if not planner.trust.enough:
                return "failed"
        return "late" if took_s > planner.latency_s else "good"

    def _make(self, planner: MPPI, newest: Measured, goal: np.ndarray) -> Plan:
        """A plan by the planner that the ladder names."""
        if self.ladder.name == "fallback":
            assert self.fallback is not None
            planner.reset()
            return self.fallback.plan(newest, goal[:3], planner.next_seq(), planner.obstacles)
        if self.policy is not None and self.ladder.step == 0:
            return self.policy.plan(newest, goal, self._tau_s / planner.dt)
        planner.use_shards(None if self.ladder.step == 0 else 1)
        return planner.plan(newest, goal, self._tau_s / planner.dt)._replace(planner=self.ladder.name)

    def _note(self, outcome: Outcome) -> None:
        """Climb the ladder down or up."""
        before, self.ladder = self.ladder, self.ladder.after(outcome)
        if before.step != self.ladder.step:
            self.get_logger().warning(f"plans come from: {self.ladder.name} (before: {before.name})")

    def _warm_up(self, planner: MPPI) -> None:
        """First runs allocate; they must not be the robot's."""
        home = np.concatenate([self.robot.home, 0 * self.robot.home] * 2)
        for _ in range(5):
            planner.rehearse(home)

    def _on_state(self, message: msg.RobotState) -> None:
        try:
            if self._joints is None:
                self._joints = JointMap.between(message.name, self.robot.joint_names, "topic robot_state")
            newest = measured(message, self._joints)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        if self._newest is not None and newest.epoch != self._newest.epoch and self.planner is not None:
            self.planner.reset()
        self._newest, self._received_at = newest, time.monotonic()
        self._fresh.set()

    def _on_subgoal(self, message: msg.Subgoal) -> None:
        try:
            wanted = subgoal_of(message, self.robot.n)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        self._goal, self._tau_s = wanted if wanted is not None else (None, 0.0)

    def _on_obstacles(self, message: msg.Obstacles) -> None:
        """What is in the way from the next plan on, beside what the task says."""
        try:
            self._obstacles = obstacles_of(message, self.robot.base_frame)
        except BadInput as error:
            self.get_logger().error(f"the obstacles of before stay: {error}", throttle_duration_sec=2.0)

    def _on_safety(self, message: msg.Safety) -> None:
        """After an e-stop or damping nothing moves before a new goal."""
        now = (message.estop or message.mode == "damped", message.epoch)
        if self._stopped is not None and (now[0] or now[1] != self._stopped[1]):
            self._goal = None
        self._stopped = now

    def _on_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if not isinstance(change.value, float) or not np.isfinite(change.value):
                return SetParametersResult(successful=False, reason=f"{change.name}: got {change.value!r}, expected a finite float")
        self._settings = self._settings | {change.name: change.value for change in changes}
        return SetParametersResult(successful=True)

    def _apply(self, planner: MPPI, name: str, value: float) -> None:
        if name == "temperature":
            planner.set_temperature(value)
        else:
            planner.set_weight(name.removeprefix("cost."), value)


def main() -> None:
    leave(run_node(Controller, priority=PRIORITY))
