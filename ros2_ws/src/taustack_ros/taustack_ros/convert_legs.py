"""Messages of robots on legs, between the graph and core types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from taustack_msgs import msg

from taustack.controllers.base_estimator import BaseEstimate
from taustack.controllers.gait import GaitState
from taustack.controllers.leg_wire import WalkTrackerState
from taustack.controllers.walk_state import WalkState
from taustack.errors import BadInput
from taustack_ros.convert import JointMap, to_seconds, to_time


def walk_state_message(out: WalkTrackerState, anchor: float, names: Sequence[str], frame: str) -> msg.WalkState:
    """`anchor` [s]: ROS time less monotonic time, see `robot_state_message`."""
    walk, base, gait = out.walk, out.walk.base, out.walk.gait
    message = msg.WalkState(
        seq=out.seq, epoch=out.epoch, plan_seq=out.plan_seq, name=list(names), q=walk.q.tolist(), dq=walk.dq.tolist(), covariance=base.covariance.ravel(),
        slipping=base.slipping.tolist(), walks=gait.walks, phase=gait.phase, strides=gait.velocity, landing=gait.landing, feet=gait.feet.ravel().tolist(),
        lifted=gait.lifted.ravel().tolist(),
    )  # fmt: skip
    message.header.stamp, message.header.frame_id = to_time(walk.t + anchor), frame
    for target, vector in ((message.pose.position, base.position), (message.velocity, base.velocity), (message.turn_rate, base.turn_rate)):
        target.x, target.y, target.z = (float(v) for v in vector)
    turn = message.pose.orientation
    turn.w, turn.x, turn.y, turn.z = (float(v) for v in base.quaternion)
    return message


def walk_state_of(message: msg.WalkState, joints: JointMap) -> WalkState:
    """A walk_state message as the planner's input, with its own time. Raises BadInput that names the field."""
    legs = len(message.slipping)
    for name in ("feet", "lifted"):
        if len(getattr(message, name)) != 2 * legs:
            raise BadInput("topic walk_state", name, f"{len(getattr(message, name))} values", f"{2 * legs}, two a leg")
    place, speed, rate, turn = message.pose.position, message.velocity, message.turn_rate, message.pose.orientation
    base = BaseEstimate(
        position=np.array([place.x, place.y, place.z]), velocity=np.array([speed.x, speed.y, speed.z]), quaternion=np.array([turn.w, turn.x, turn.y, turn.z]),
        turn_rate=np.array([rate.x, rate.y, rate.z]), covariance=np.asarray(message.covariance).reshape(6, 6), slipping=np.array(message.slipping),
    )  # fmt: skip
    feet, lifted = (np.asarray(part, dtype=float).reshape(legs, 2) for part in (message.feet, message.lifted))
    gait = GaitState(
        phase=message.phase, velocity=np.asarray(message.strides), landing=np.asarray(message.landing), walks=message.walks, feet=feet, lifted=lifted
    )
    state = WalkState(
        t=to_seconds(message.header.stamp), base=base, gait=gait, q=joints.of(message.q, "topic walk_state", "q"),
        dq=joints.of(message.dq, "topic walk_state", "dq"),
    )  # fmt: skip
    if not np.isfinite(np.concatenate([state.x(), base.position])).all():
        raise BadInput("topic walk_state", "", "values that are not finite", "finite ones")
    return state
