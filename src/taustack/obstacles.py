"""Obstacles, and how far capsules are from them: one text for numpy and torch, so that the plan graph and the planners above it agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from taustack.strict_yaml import StrictModel

COLUMNS = 7
"""Numbers of an obstacle's row: centre (3), half sizes (3), radius, all [m]. A sphere has half sizes 0, a box radius 0."""
STEPS = (8 / 30, 4 / 30, 2 / 30, 1 / 30)
"""In search of the point of a capsule that is nearest to an obstacle, from its middle: together they reach its ends."""
ROWS_LIMIT = 64
Near = Annotated[float, Field(ge=-100, le=100)]
"""Coordinates that single precision can tell apart."""


class Obstacle(StrictModel):
    """A box or a sphere fixed in the base frame, its axes those of the frame [m]."""

    shape: Literal["box", "sphere"] = Field(description="what it is")
    position: tuple[Near, Near, Near] = Field(description="its centre [m]")
    size: tuple[Near, ...] = Field(min_length=1, max_length=3, description="half sizes of a box (3 values), radius of a sphere (1 value) [m]")

    @model_validator(mode="after")
    def _size_fits(self) -> Obstacle:
        wanted = 3 if self.shape == "box" else 1
        if len(self.size) != wanted or min(self.size) <= 0:
            raise ValueError(f"size: {wanted} value{'s' if wanted > 1 else ''} above 0 for a {self.shape}, came {list(self.size)}")
        return self


def obstacle_rows(obstacles: Sequence[Obstacle]) -> NDArray[np.float64]:
    """Rows (N, 7) for the plan graph."""
    rows = [(*o.position, *(o.size if o.shape == "box" else (0.0, 0.0, 0.0)), 0.0 if o.shape == "box" else o.size[0]) for o in obstacles]
    return np.array(rows).reshape(-1, COLUMNS)


def point_distances(points: Any, rows: Any, xp: Any = np) -> Any:
    """Signed distances (N, ...) [m] of points, components first (3, ...), to obstacles (N, 7); negative inside."""
    beyond = [xp.abs(points[i] - _column(rows, i, points[i])) - _column(rows, 3 + i, points[i]) for i in range(3)]
    return _signed(beyond, xp) - _column(rows, 6, points[0])


def capsule_distances(ends: Any, radius: Any, rows: Any, xp: Any = np) -> Any:
    """Distances (N, C, ...) [m] between capsules and obstacles (N, 7); negative where they overlap.

    The distance to a convex body is a convex function along a line, so steps by the sign of its slope find the nearest
    point. The ends are met exactly; in between the error is of second order in a thirtieth of the length.

    Args:
        ends: the two ends of each capsule one after the other, components first (3, 2 C, ...) [m].
        radius: (C,) [m].
        rows: obstacles.
        xp: numpy or torch.
    """
    first, along = ends[:, 0::2], ends[:, 1::2] - ends[:, 0::2]
    from_centre = [first[i] - _column(rows, i, first[i]) for i in range(3)]
    half = [_column(rows, 3 + i, first[i]) for i in range(3)]
    at = 0.5 + 0.0 * from_centre[0]
    for step in STEPS:
        place = [d + at * a for d, a in zip(from_centre, along, strict=True)]
        beyond = [xp.abs(p) - h for p, h in zip(place, half, strict=True)]
        deepest = xp.maximum(xp.maximum(beyond[0], beyond[1]), beyond[2])
        slope = 0.0
        for p, b, a in zip(place, beyond, along, strict=True):
            # Outside, the gradient points along what is beyond each face; inside, along the face that is nearest.
            pull = xp.clip(b, 0.0, None) + 1e-9 * (b >= deepest)
            slope = slope + xp.sign(p) * pull * a
        at = at - step * xp.sign(slope)
    beyond = [xp.abs(d + at * a) - h for d, a, h in zip(from_centre, along, half, strict=True)]
    thick = radius[(..., *(None,) * (len(first.shape) - 2))]
    return _signed(beyond, xp) - thick - _column(rows, 6, first[0])


def _column(rows: Any, i: int, like: Any) -> Any:
    """Column i of the rows, to be broadcast over an array: (N, 1, ...)."""
    return rows[:, i][(..., *(None,) * len(like.shape))]


def _signed(beyond: list[Any], xp: Any) -> Any:
    """Signed distance to a box from how far a point is beyond each pair of faces."""
    x, y, z = beyond
    outside = xp.clip(x, 0.0, None) ** 2 + xp.clip(y, 0.0, None) ** 2 + xp.clip(z, 0.0, None) ** 2
    return xp.sqrt(outside + 1e-12) + xp.clip(xp.maximum(xp.maximum(x, y), z), None, 0.0)
