"""Messages of robots on legs, between the graph and core types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from taustack_msgs import msg

from taustack.controllers.leg_wire import WalkTrackerState
from taustack.controllers.walk_fields import flat_fields, walk_state_from
from taustack.controllers.walk_state import WalkState
from taustack_ros.convert import JointMap, to_seconds, to_time


def walk_state_message(out: WalkTrackerState, anchor: float, names: Sequence[str], frame: str) -> msg.WalkState:
    """`anchor` [s]: ROS time less monotonic time, see `robot_state_message`."""
    walk, base = out.walk, out.walk.base
    fields = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in flat_fields(walk).items()}
    message = msg.WalkState(seq=out.seq, epoch=out.epoch, plan_seq=out.plan_seq, name=list(names), **fields)
    message.header.stamp, message.header.frame_id = to_time(walk.t + anchor), frame
    for target, vector in ((message.pose.position, base.position), (message.velocity, base.velocity), (message.turn_rate, base.turn_rate)):
        target.x, target.y, target.z = (float(v) for v in vector)
    turn = message.pose.orientation
    turn.w, turn.x, turn.y, turn.z = (float(v) for v in base.quaternion)
    return message


def walk_state_of(message: msg.WalkState, joints: JointMap) -> WalkState:
    """A walk_state message as the planner's input, with its own time. Raises BadInput that names the field."""
    q, dq = joints.of(message.q, "topic walk_state", "q"), joints.of(message.dq, "topic walk_state", "dq")
    return walk_state_from(message, to_seconds(message.header.stamp), q, dq)
