"""Distance of the robot's spheres to the floor and to the column around its base."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

MARGIN_M = 0.05  # distance below which the cost rises, to 1 at contact


def clearance(rollout: Rollout, xp: Any) -> Any:
    """Sum over spheres of the squared depth in the margin to the nearer of floor and column, mean over the horizon."""
    about = rollout.clearance
    if not about.spheres:
        return 0.0 * rollout.u[0, :, 0]
    radius = xp.stack([0.0 * rollout.goal[:1] + sphere.radius for sphere in about.spheres])[:, :, None]
    x, y, z = rollout.spheres[0], rollout.spheres[1], rollout.spheres[2]
    # Outside a vertical cylinder either beside it or above it: the larger of the two gaps.
    gap = xp.maximum(xp.sqrt(x * x + y * y + 1e-9) - about.column_radius, z - about.column_height)
    gap = xp.minimum(z - about.floor, gap) - radius
    depth = xp.clip(1.0 - gap / MARGIN_M, 0.0, None)
    return (depth * depth).sum(0).mean(0)
