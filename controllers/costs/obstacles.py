"""Distance of the robot's capsules to the obstacles."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

MARGIN_M = 0.04  # distance below which the cost rises, to 1 at contact


def obstacles(rollout: Rollout, xp: Any) -> Any:
    """Sum over capsules and obstacles of the squared depth in the margin, linear beyond contact, mean over the steps.

    Linear, so that samples deep inside do not drown the differences among the others.
    """
    depth = xp.clip(1.0 - rollout.room / MARGIN_M, 0.0, None)
    shallow = xp.clip(depth, None, 1.0)
    return (shallow * shallow + 2.0 * (depth - shallow)).sum((0, 1)).mean(0)
