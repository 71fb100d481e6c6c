"""Distance of the robot's capsules to the obstacles."""

from __future__ import annotations

from typing import Any

from taustack.obstacles import capsule_distances
from taustack.rollout import Rollout

MARGIN_M = 0.04  # distance below which the cost rises, to 1 at contact


def obstacles(rollout: Rollout, xp: Any) -> Any:
    """Sum over capsules of the squared depth in the margin around the nearest obstacle, linear beyond contact, mean over every second step.

    Linear, so that samples deep inside do not drown the differences among the others. Every second step is enough: in between a link moves less than the margin.
    """
    if not len(rollout.capsule_radius):
        return 0.0 * rollout.u[0, :, 0]
    gap = capsule_distances(rollout.capsules[:, :, 1::2], rollout.capsule_radius, rollout.obstacles, xp)
    depth = xp.clip(1.0 - xp.amin(gap, 0) / MARGIN_M, 0.0, None)
    shallow = xp.clip(depth, None, 1.0)
    return (shallow * shallow + 2.0 * (depth - shallow)).sum(0).mean(0)
