"""What a page shows, and what may be asked of it: the seam between a page and whoever knows the robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, and what it came from.

    Attributes:
        planner: what made it.
        path: where it leads the robot (H+1, 3) [m].
        samples: where some of what was tried would have led (S, H+1, 3) [m].
        cost: of each term, weighted.
        disagreement: of the ensemble along the plan (H,), normalised.
        plan_time_s: that it took.
    """

    planner: str
    path: FloatArray
    samples: FloatArray
    cost: dict[str, float]
    disagreement: FloatArray
    plan_time_s: float


@dataclass(frozen=True, kw_only=True)
class Status:
    """In words: mode of the robot and why; whether the e-stop is latched; ages of the newest state and plan [s]; plans a second; the goal."""

    mode: str = "unknown"
    reason: str = "no robot was heard yet"
    estop: bool = False
    state_age_s: float = float("inf")
    plan_hz: float = 0.0
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A frame. qpos (nq,) of the robot's model; None before it is known."""

    qpos: FloatArray | None = None
    status: Status = field(default_factory=Status)
    planned: Planned | None = None


class Commands(Protocol):
    """What a page may ask. All return at once, from any thread."""

    def press_estop(self) -> None: ...

    def reset_estop(self) -> None: ...

    def go_to(self, point: FloatArray) -> None:
        """point (3,) in the base frame, or of the odometry [m]."""
        ...

    def cancel(self) -> None:
        """Give up the goal."""
        ...
