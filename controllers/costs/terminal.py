"""Where the horizon ends: at the goal and at rest."""

from __future__ import annotations

from typing import Any

from taustack.controllers.costs.goal_position import RESOLUTION_M
from taustack.rollout import Rollout


def terminal(rollout: Rollout, xp: Any) -> Any:
    """log distance of the last state plus its squared velocity as a fraction of the limits, mean over joints."""
    offset = rollout.ee[:, -1] - rollout.goal[:, None]
    speed = rollout.dq[-1] / rollout.velocity_limit
    return xp.log((offset * offset).sum(0) + RESOLUTION_M**2) + (speed * speed).mean(-1)
