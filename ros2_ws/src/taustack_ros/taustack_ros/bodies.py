"""What the driver says of a robot, by its kind: an arm, or one on legs. Everything else about bridging is the same for both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rclpy.publisher import Publisher
from sensor_msgs.msg import JointState
from taustack_msgs import msg

from taustack.config import RobotConfig, Timeouts, load_robot
from taustack.controllers.leg_wire import WalkTrackerState
from taustack.controllers.leg_wire import unpack_tracker_state as unpack_walk
from taustack.controllers.wire import TrackerState, unpack_track, unpack_tracker_state
from taustack.layout import RobotState
from taustack.legged import LeggedConfig, load_legged
from taustack.legged_layout import ACTIONS
from taustack.robot_folders import has_legs
from taustack_ros import topics
from taustack_ros.convert import robot_state_message, to_time, track_message
from taustack_ros.convert_legs import walk_state_message

Rows = Sequence[bytes]
Publishers = dict[str, Publisher[Any]]


class Body(Protocol):
    """A robot as the driver tells of it. rows: what the tracker said, a tick each, the newest last."""

    safety: Timeouts
    state_hz: float
    topics: tuple[topics.Topic, ...]
    """That the driver publishes; the first one is the state."""
    actions: tuple[str, ...]
    """Names of what a plan's action consists of."""

    def look(self, row: bytes) -> float:
        """Take in what the tracker said last; its time (monotonic, [s])."""
        ...

    def publish_state(self, out: Publishers, anchor: float) -> None:
        """What was looked at last, for those who plan."""
        ...

    def publish_track(self, rows: Rows, lost: int, out: Publishers, anchor: float) -> None:
        """All ticks since the last time, for the log, and less often what others look on at."""
        ...


class ArmBody:
    """A `Body`."""

    def __init__(self, robot: RobotConfig) -> None:
        self.robot, self.safety, self.state_hz = robot, robot.safety, robot.rates.state_hz
        self.topics, self.actions = topics.FROM_DRIVER, robot.joint_names
        self._newest: TrackerState | None = None
        self._track_seq = 0

    def look(self, row: bytes) -> float:
        self._newest = unpack_tracker_state(row, self.robot.n)
        return self._newest.measured.state.t

    def publish_state(self, out: Publishers, anchor: float) -> None:
        assert self._newest is not None
        m = self._newest.measured
        out[topics.ROBOT_STATE.name].publish(robot_state_message(m.state, anchor, m.seq, m.epoch, self.robot.joint_names, self.robot.base_frame))

    def publish_track(self, rows: Rows, lost: int, out: Publishers, anchor: float) -> None:
        self._track_seq += 1
        ticks = unpack_track(rows, self.robot.n)
        out[topics.TRACK.name].publish(track_message(ticks, anchor, self._track_seq, lost, self.robot.joint_names, self.robot.base_frame))
        assert self._newest is not None
        self._publish_command(self._newest, self._newest.measured.state, out, anchor)

    def _publish_command(self, newest: TrackerState, state: RobotState, out: Publishers, anchor: float) -> None:
        joints = JointState(name=list(self.robot.joint_names), position=state.q.tolist(), velocity=state.dq.tolist(), effort=state.torque.tolist())
        joints.header.stamp = to_time(state.t + anchor)
        out[topics.JOINT_STATES.name].publish(joints)
        command = msg.Command(tick=newest.measured.seq, plan_seq=newest.plan_seq, mode=newest.state)
        command.header.stamp = joints.header.stamp
        command.q_ref, command.dq_ref, command.torque = state.q_ref.tolist(), state.dq_ref.tolist(), state.torque.tolist()
        out[topics.COMMAND.name].publish(command)


class LegsBody:
    """A `Body`."""

    def __init__(self, robot: LeggedConfig) -> None:
        self.robot, self.safety, self.state_hz = robot, robot.safety, robot.rates.state_hz
        self.topics, self.actions = topics.FROM_LEGS, ACTIONS
        self._newest: WalkTrackerState | None = None

    def look(self, row: bytes) -> float:
        self._newest = unpack_walk(row, self.robot.n, len(self.robot.legs))
        return self._newest.walk.t

    def publish_state(self, out: Publishers, anchor: float) -> None:
        assert self._newest is not None
        out[topics.WALK_STATE.name].publish(walk_state_message(self._newest, anchor, self.robot.joint_names, self.robot.base_frame))

    def publish_track(self, rows: Rows, lost: int, out: Publishers, anchor: float) -> None:
        assert self._newest is not None
        walk = self._newest.walk
        joints = JointState(name=list(self.robot.joint_names), position=walk.q.tolist(), velocity=walk.dq.tolist())
        joints.header.stamp = to_time(walk.t + anchor)
        out[topics.JOINT_STATES.name].publish(joints)


def body_of(name: str) -> Body:
    """Of a robot by name or folder. Raises as `load_robot` and `load_legged`."""
    return LegsBody(load_legged(name)) if has_legs(name) else ArmBody(load_robot(name))
