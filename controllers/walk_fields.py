"""A walk's state as the fields of its message, and back: the same names for ROS, for bags, and for runs without either."""

from __future__ import annotations

from typing import Any

import numpy as np

from taustack.controllers.base_state import BaseEstimate
from taustack.controllers.gait_state import GaitState
from taustack.controllers.walk_state import WalkState
from taustack.errors import BadInput


def flat_fields(walk: WalkState) -> dict[str, Any]:
    """Those fields of taustack_msgs/WalkState that are numbers and arrays of them; pose, velocity and turn rate are messages of their own."""
    base, gait = walk.base, walk.gait
    return {
        "q": walk.q, "dq": walk.dq, "covariance": base.covariance.ravel(), "slipping": base.slipping, "walks": bool(gait.walks),
        "phase": float(gait.phase), "strides": gait.velocity, "landing": gait.landing, "feet": gait.feet.ravel(), "lifted": gait.lifted.ravel(),
    }  # fmt: skip


def walk_state_from(message: Any, t: float, q: Any, dq: Any) -> WalkState:
    """The state of a message, however it was decoded, at time t [s] with joints q, dq (n,) in our order.

    Raises:
        BadInput: a field has the wrong size, or a value is not finite; names the field.
    """
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
    state = WalkState(t=t, base=base, gait=gait, q=q, dq=dq)
    if not np.isfinite(np.concatenate([state.x(), base.position])).all():
        raise BadInput("topic walk_state", "", "values that are not finite", "finite ones")
    return state
