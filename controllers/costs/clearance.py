"""Distance of the robot's spheres to the floor and to the column around its base."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

MARGIN_M = 0.05  # distance below which the cost rises, to 1 at contact


def clearance(rollout: Rollout, xp: Any) -> Any:
    """Sum over spheres of the squared depth in the margin to the nearer of floor and column, mean over the horizon."""
    about = rollout.clearance
    cost = 0.0 * rollout.u[:, :, 0]
    for i, sphere in enumerate(about.spheres):
        x, y, z = (rollout.spheres[:, :, i, axis] for axis in range(3))
        floor = z - (about.floor + sphere.radius)
        # Outside a vertical cylinder either beside it or above it: the larger of the two gaps.
        beside = xp.sqrt(x * x + y * y + 1e-9) - (about.column_radius + sphere.radius)
        above = z - (about.column_height + sphere.radius)
        gap = xp.minimum(floor, xp.maximum(beside, above))
        depth = xp.clip(1.0 - gap / MARGIN_M, 0.0, None)
        cost = cost + depth * depth
    return cost.mean(0)
