"""walk_controller: state and goal, or commanded velocity, to a plan of strides at plan_hz, over the bundle that the dynamics server announced."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.node import Node
from taustack_msgs import msg

from taustack.controllers.degrade import Ladder, Outcome
from taustack.controllers.plan import Plan
from taustack.controllers.standing import standing
from taustack.controllers.walk_bundle import load_walk_bundle
from taustack.controllers.walk_laws import WALK_LAWS, WalkLaw, make_walk_law, towards
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.controllers.walk_state import WalkState
from taustack.errors import BadInput, PlanFailed, UnknownName
from taustack.legged import load_legged
from taustack.legged_layout import ACTIONS, NU
from taustack.realtime import freeze_garbage, take_priority
from taustack.stop_flag import StopFlag
from taustack.walk_task import load_walk_task
from taustack_ros import parameters, topics
from taustack_ros.convert import JointMap, plan_message, subgoal_of
from taustack_ros.convert_legs import walk_state_of
from taustack_ros.next_planner import NextPlanner
from taustack_ros.planning import STALE_STATE_S, PlanTimes, plan_on_fresh_states
from taustack_ros.process import leave, run_node

MPPI = "mppi"
PLANNERS = (MPPI, *WALK_LAWS)
FALLBACK = "feedback"
PRIORITY = 25
SHARDS = 8  # threads that a plan may be split over
CMD_VEL_S = 0.5  # for which a commanded velocity stands
WARM_UPS = 5


class WalkController(Node):
    """See the module. A goal comes before a commanded velocity; without either, and without a law that has to say something, it says nothing."""

    def __init__(self) -> None:
        super().__init__("controller")
        self.robot = load_legged(parameters.text(self, "robot", "", "robot on legs, by name or folder"))
        self.task = load_walk_task(self.robot, parameters.text(self, "task", "goal", "task of the robot"))
        self._planner_name = parameters.text(self, "planner", MPPI, f"what plans: {', '.join(PLANNERS)}")
        if self._planner_name not in PLANNERS:
            raise UnknownName("planner", self._planner_name, PLANNERS)
        self.run_dir = parameters.text(self, "run_dir", "", "folder for statistics, written at the end; empty: none")
        self._seed = int(parameters.number(self, "seed", 0, 0, 2**31, "1", "seed of the noise"))
        self.times, self.ladder = PlanTimes(), Ladder()
        self._pool = ThreadPoolExecutor(max_workers=SHARDS)
        self._seq = time.time_ns() // 1000
        self.mppi: WalkMPPI | None = None
        self.bundle_name, self.swaps = "", 0
        self._next = NextPlanner(self, lambda model: self._prepared(model, None, 0), PRIORITY - 6)
        self.law: WalkLaw = make_walk_law(FALLBACK if self._planner_name == MPPI else self._planner_name, self.robot)
        self._most = np.array(self.task.velocity)
        self._joints: JointMap | None = None
        self._newest: tuple[WalkState, int, int] | None = None  # with its tick and epoch
        self._followed = 0
        self._received_at = 0.0
        self._goal: np.ndarray | None = None
        self._asked, self._asked_at = np.zeros(3), -np.inf
        self._stopped: tuple[bool, int] | None = None
        self._barred = False
        self.progress_at = time.monotonic()
        self._fresh = threading.Event()
        self._plans = self.create_publisher(topics.PLAN.type, topics.PLAN.name, topics.PLAN.qos)
        self.create_subscription(topics.WALK_STATE.type, topics.WALK_STATE.name, self._on_state, topics.WALK_STATE.qos)
        self.create_subscription(topics.SUBGOAL.type, topics.SUBGOAL.name, self._on_subgoal, topics.SUBGOAL.qos)
        self.create_subscription(topics.CMD_VEL.type, topics.CMD_VEL.name, self._on_cmd_vel, topics.CMD_VEL.qos)
        self.create_subscription(topics.SAFETY.type, topics.SAFETY.name, self._on_safety, topics.SAFETY.qos)
        if self._planner_name == MPPI:
            self.create_subscription(topics.MODEL.type, topics.MODEL.name, self._next.hear, topics.MODEL.qos)

    def run(self, stop: StopFlag) -> None:
        """Plan at plan_hz until stopped."""
        take_priority(PRIORITY - 5)  # planning gives way to the threads that receive
        while self._planner_name == MPPI and self._next.announced is None and not stop.wait(0.02):
            self.progress_at = time.monotonic()
        if self._next.announced is not None:
            self._prepare_first(self._next.announced, stop)
        while self._newest is None and not stop.wait(0.02):
            self.progress_at = time.monotonic()
        freeze_garbage()
        self.get_logger().info(f"planning by {self._planner_name} {self.bundle_name} at {self.robot.rates.plan_hz:g} Hz")
        plan_on_fresh_states(self._step, self._fresh, self.robot.rates.plan_hz, stop, self._progress)
        self._pool.shutdown()
        bundle = None if self.mppi is None else {"name": self.bundle_name, "sha256": self.mppi.bundle.sha256}
        self.times.write(self.run_dir, {"swaps": self.swaps, "bundle": bundle})

    def _prepared(self, model: msg.Model, pool: ThreadPoolExecutor | None, first_seq: int) -> tuple[str, WalkMPPI]:
        """What a bundle is called, and a planner over it that has planned before: first runs allocate, and must not be the robot's.

        Raises:
            BadInput: it is not the bundle that the dynamics server announced.
        """
        bundle = load_walk_bundle(Path(model.path), self.robot)
        if bundle.sha256 != model.sha256:
            raise BadInput(model.path, "sha256", bundle.sha256, f"{model.sha256}, as announced on `model`")
        planner = WalkMPPI(bundle, self.robot, self.task, np.random.default_rng(self._seed), pool, first_seq=first_seq)
        for _ in range(WARM_UPS):
            planner.plan(standing(self.robot), 0.1 * self._most)
        planner.reset()
        return f"{bundle.manifest.name}/{model.version}", planner

    def _prepare_first(self, model: msg.Model, stop: StopFlag) -> None:
        """Build the first planner in a thread, while this one gives signs of life. Raises BadInput as `_prepared`."""
        with ThreadPoolExecutor(max_workers=1) as once:
            work = once.submit(self._prepared, model, self._pool, self._seq)
            while not (work.done() or stop.wait(0.02)):
                self.progress_at = time.monotonic()
        self.bundle_name, self.mppi = work.result()
        self._next.follow(self.mppi.bundle.sha256)

    def _swap(self, name: str, planner: WalkMPPI) -> None:
        """Let a planner go on where the old one stands."""
        assert self.mppi is not None
        planner.take_over(self.mppi)
        self.bundle_name, self.mppi = name, planner
        self.swaps += 1
        self.get_logger().info(f"planning with {self.bundle_name} now")

    def _next_seq(self) -> int:
        """Of a plan that is not MPPI's; those of one run count up, whoever makes them."""
        if self.mppi is not None:
            return self.mppi.next_seq()
        self._seq += 1
        return self._seq

    def _progress(self, now: float) -> None:
        self.progress_at = now

    def _step(self, now: float) -> None:
        ready = self._next.take()
        if ready is not None:
            self._swap(*ready)
        newest, wanted = self._newest, self._wanted(now)
        if wanted is None:
            self.times.pause()
        if newest is None or wanted is None or now - self._received_at > STALE_STATE_S:
            self._forget()
            return
        if not self._followed:
            self._forget()  # what was planned before is not what the robot does: it is no disturbance
        state, tick, epoch = newest
        try:
            plan = self._make(state, wanted)
        except PlanFailed as error:
            self._forget()
            self.get_logger().error(f"no plan: {error}", throttle_duration_sec=1.0)
            self._note("failed")
            return
        took_s = time.monotonic() - self._received_at
        self._plans.publish(plan_message(plan._replace(state_seq=tick, epoch=epoch), ACTIONS))
        self.times.add(plan.planner, plan.plan_time_s)
        self._note("late" if took_s > plan.effective_t - plan.state_t else "good")

    def _forget(self) -> None:
        """What was planned is not followed any more."""
        self.law.reset()
        if self.mppi is not None:
            self.mppi.reset()

    def _wanted(self, now: float) -> np.ndarray | None:
        """Velocity (3,) to walk with: towards the goal, or as commanded lately; None if nobody asks for anything."""
        if self._goal is not None and self._newest is not None:
            return towards(self._goal, self._newest[0], self._most)
        return self._asked if now - self._asked_at < CMD_VEL_S else None

    def _make(self, state: WalkState, wanted: np.ndarray) -> Plan:
        """A plan by MPPI; by the law if that is asked for, or while MPPI comes late or fails."""
        started = time.perf_counter()
        latency_s = self.task.mppi.latency_steps / self.robot.rates.plan_hz
        actions = np.zeros((self.task.mppi.horizon, NU))
        planner = self._planner_name
        if self.mppi is not None and self.ladder.step == 0:
            if not self.mppi.stands(wanted, state):
                return self.mppi.plan(state, wanted)._replace(planner=MPPI)
        else:
            command = self.law.command(wanted, state)
            actions[:] = np.concatenate([command.velocity, command.landing])
            planner = FALLBACK if planner == MPPI else planner
        return Plan(
            seq=self._next_seq(), state_seq=0, epoch=0, state_t=state.t, effective_t=state.t + latency_s, dt=1.0 / self.robot.rates.plan_hz, actions=actions,
            states=np.zeros((0, 0)), plan_time_s=time.perf_counter() - started, planner=planner,
        )  # fmt: skip

    def _note(self, outcome: Outcome) -> None:
        """Climb the ladder down or up: below its first step the law walks."""
        before, self.ladder = self.ladder, self.ladder.after(outcome)
        if self.mppi is not None and (before.step == 0) != (self.ladder.step == 0):
            by = MPPI if self.ladder.step == 0 else FALLBACK
            self.get_logger().warning(f"plans come from: {by}")
            self._forget()

    def _on_state(self, message: msg.WalkState) -> None:
        try:
            if self._joints is None:
                self._joints = JointMap.between(message.name, self.robot.joint_names, "topic walk_state")
            state = walk_state_of(message, self._joints)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        self._newest, self._followed, self._received_at = (state, message.seq, message.epoch), message.plan_seq, time.monotonic()
        self._fresh.set()

    def _on_subgoal(self, message: msg.Subgoal) -> None:
        try:
            wanted = subgoal_of(message, 0)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        self._goal = None if wanted is None else wanted[0][:2]

    def _on_cmd_vel(self, message: Twist) -> None:
        """A velocity for the base. What is beyond the task's is clipped, and said."""
        asked = np.array([message.linear.x, message.linear.y, message.angular.z])
        if not np.isfinite(asked).all():
            self.get_logger().error(f"topic cmd_vel: got {asked.tolist()}, expected finite velocities", throttle_duration_sec=2.0)
            return
        if self._barred and asked.any():
            self.get_logger().warning("topic cmd_vel: not followed after a stop, before a command to stand", throttle_duration_sec=10.0)
            return
        self._barred = False
        self._asked, self._asked_at = np.clip(asked, -self._most, self._most), time.monotonic()
        if (self._asked != asked).any():
            said = f"topic cmd_vel: got {asked.tolist()}, beyond what was trained: clipped to {self._asked.tolist()}"
            self.get_logger().warning(said, throttle_duration_sec=2.0)

    def _on_safety(self, message: msg.Safety) -> None:
        """After an e-stop or damping nothing moves before a new goal; a commanded velocity that just goes on is none, until it was zero once."""
        now = (message.estop or message.mode == "damped", message.epoch)
        if self._stopped is not None and (now[0] or now[1] != self._stopped[1]):
            self._goal, self._asked_at, self._barred = None, -np.inf, True
        self._stopped = now


def main() -> None:
    leave(run_node(WalkController, priority=PRIORITY))
