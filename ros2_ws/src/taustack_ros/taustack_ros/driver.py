"""driver: owns the robot. Publishes its state, follows plans through the tracker, never waits for a planner."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from sensor_msgs.msg import JointState
from taustack_msgs import msg

from taustack.config import load_robot
from taustack.controllers.driver import DriverCore
from taustack.errors import BadInput
from taustack.realtime import Lateness, StopFlag, ask_for_real_time, freeze_garbage, run_periodic, steal_share
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import load_scenario
from taustack_ros import parameters, topics
from taustack_ros.convert import JointMap, plan_of, robot_state_message, to_time
from taustack_ros.process import run_node

STOP_LIMIT_S = 3.0


class Driver(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("driver")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        scenario = load_scenario(parameters.text(self, "scenario", "nominal", "scenario of the simulation"), self.robot.n)
        self.run_dir = parameters.text(self, "run_dir", "", "folder for statistics and trace, written at the end; empty: none")
        self._require_no_other_driver()
        self.plant = MujocoPlant(self.robot, scenario)
        self._anchor = time.time() - time.monotonic()
        self.core = DriverCore(self.robot, self.plant, time.monotonic() + self._anchor)
        self.lateness = Lateness()
        self._joints: JointMap | None = None
        self._said = ""
        self._state = self.create_publisher(topics.ROBOT_STATE.type, topics.ROBOT_STATE.name, topics.ROBOT_STATE.qos)
        self._joint_states = self.create_publisher(topics.JOINT_STATES.type, topics.JOINT_STATES.name, topics.JOINT_STATES.qos)
        self._command = self.create_publisher(topics.COMMAND.type, topics.COMMAND.name, topics.COMMAND.qos)
        self._safety = self.create_publisher(topics.SAFETY.type, topics.SAFETY.name, topics.SAFETY.qos)
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        self.create_subscription(topics.PLAN.type, topics.PLAN.name, self._on_plan, topics.PLAN.qos)
        self.create_timer(1 / self.robot.rates.state_hz, self._publish_state)
        self.create_timer(0.02, self._publish_slow)
        self.create_timer(0.2, self._publish_safety)
        self.create_timer(1.0, self._publish_diagnostics)

    def _require_no_other_driver(self) -> None:
        """Two stacks in one domain would fight for one robot: give discovery a moment, then look."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            others = self.count_publishers(topics.ROBOT_STATE.name)
            if others:
                raise BadInput(f"topic {self.resolve_topic_name(topics.ROBOT_STATE.name)}", "publishers", others, "none: another stack runs in this domain")
            time.sleep(0.05)

    def run(self, stop: StopFlag) -> None:
        """The tracker's loop, on a thread of its own; comes to rest before it ends."""
        loop = threading.Thread(target=self._loop, args=(stop,), name="tracker")
        freeze_garbage()
        before = steal_share()
        self.get_logger().info(f"{self.robot.name} in simulation, tracker at {self.robot.rates.tracker_hz:g} Hz")
        loop.start()
        loop.join()
        self.plant.safe_action()
        self.get_logger().info(f"at rest: {self.core.at_rest} ({stop.reason})")
        self._write_statistics(steal_share(before[:2])[2])

    def _loop(self, stop: StopFlag) -> None:
        ask_for_real_time(60)
        sys.setswitchinterval(2e-4)
        stopped_at: float | None = None

        def step(deadline: float, ticks: int) -> bool:
            nonlocal stopped_at
            if stop.is_set() and stopped_at is None:
                stopped_at = deadline
                self.core.stop(stop.reason)
            self.core.tick(deadline + self._anchor, ticks)
            return stopped_at is None or (not self.core.at_rest and deadline - stopped_at < STOP_LIMIT_S)

        try:
            run_periodic(1 / self.robot.rates.tracker_hz, step, self.lateness)
        except Exception as error:  # whatever it was: safe action, and an exit code that says so
            self.get_logger().fatal(f"the tracker failed: {type(error).__name__}: {error}")
            stop.set("the tracker failed", failed=True)

    def _on_plan(self, message: msg.Plan) -> None:
        if self._joints is None:
            try:
                self._joints = JointMap.between(message.name, self.robot.joint_names, "topic plan")
            except BadInput as error:
                self.core.refused["joint_names"] += 1
                self.get_logger().error(str(error), throttle_duration_sec=2.0)
                return
        self.core.offer(plan_of(message, self._joints))

    def _publish_state(self) -> None:
        newest = self.core.newest
        self._state.publish(robot_state_message(newest.state, newest.seq, newest.epoch, self.robot.joint_names, self.robot.base_frame))

    def _publish_slow(self) -> None:
        newest, tracker = self.core.newest.state, self.core.tracker
        stamp = to_time(newest.t)
        joints = JointState(name=list(self.robot.joint_names), position=newest.q.tolist(), velocity=newest.dq.tolist(), effort=newest.torque.tolist())
        joints.header.stamp = stamp
        self._joint_states.publish(joints)
        command = msg.Command(tick=self.core.newest.seq, plan_seq=tracker.plan_seq, mode=tracker.mode)
        command.header.stamp = stamp
        command.q_ref, command.dq_ref, command.torque = newest.q_ref.tolist(), newest.dq_ref.tolist(), newest.torque.tolist()
        self._command.publish(command)

    def _publish_safety(self) -> None:
        publishers = self.count_publishers(topics.PLAN.name)
        self.core.refuse_plans = "second_publisher" if publishers > 1 else None
        tracker, dropped = self.core.tracker, self.core.dropped
        said = f"{publishers} publishers on plan: all plans are refused, the robot holds" if publishers > 1 else ""
        if said != self._said and said:
            self.get_logger().error(said)
        self._said = said
        out = msg.Safety(
            mode=tracker.mode, reason=said or tracker.reason, dropped_reason=list(dropped), dropped_count=list(dropped.values()),
            plans_accepted=tracker.gate.accepted, deadline_misses=tracker.gate.deadline_misses,
            limited_ticks=tracker.limiter.limited_ticks, plan_publishers=publishers,
        )  # fmt: skip
        out.header.stamp = to_time(self.core.newest.state.t)
        self._safety.publish(out)

    def _publish_diagnostics(self) -> None:
        values = self.lateness.percentiles_ms(newest=500) | {"skipped": self.lateness.skipped} | self.core.dropped
        level = DiagnosticStatus.WARN if self.core.dropped else DiagnosticStatus.OK
        status = DiagnosticStatus(level=level, name="driver", message=self.core.tracker.reason, hardware_id=self.robot.name)
        status.values = [KeyValue(key=str(key), value=f"{value:.3f}") for key, value in values.items()]
        out = DiagnosticArray(status=[status])
        out.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(out)

    def _write_statistics(self, stolen: float) -> None:
        if not self.run_dir:
            return
        folder, core = Path(self.run_dir), self.core
        folder.mkdir(parents=True, exist_ok=True)
        ages = 1e3 * core.state_age_s.newest() if core.state_age_s.count else np.zeros(1)
        gate = core.tracker.gate
        late = gate.deadline_misses + gate.dropped["stale"]
        statistics = {
            "tracker": {
                "hz": self.robot.rates.tracker_hz, "ticks": self.lateness.values.count, "skipped": self.lateness.skipped,
                "lateness_ms": self.lateness.percentiles_ms(),
            },
            "state_to_command_ms": {"p50": float(np.percentile(ages, 50)), "p99": float(np.percentile(ages, 99))},
            "plans_accepted": gate.accepted, "plans_dropped": core.dropped, "deadline_misses": late,
            "deadline_miss_ratio": late / max(1, gate.accepted + gate.dropped["stale"]), "steal_share": stolen, "at_rest": core.at_rest,
        }  # fmt: skip
        (folder / "driver.json").write_text(json.dumps(statistics, indent=1))
        if core.trace:
            t, q, dq, dq_ref, ee, mode = (np.array(column) for column in zip(*list(core.trace), strict=True))
            np.savez_compressed(folder / "lateness.npz", lateness_s=self.lateness.values.newest())
            np.savez_compressed(folder / "trace.npz", t=t, q=q, dq=dq, dq_ref=dq_ref, ee=ee, mode=mode)


def main() -> None:
    sys.exit(run_node(Driver, priority=40))
