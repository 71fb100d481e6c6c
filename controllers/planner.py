"""What every planner offers."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.plan import Plan
from taustack.layout import Measured


class Planner(Protocol):
    """State and goal to plan."""

    def plan(self, measured: Measured, goal: NDArray[np.float64], tau: float = 0.0) -> Plan:
        """Plan towards a goal to be reached in `tau` steps; raises PlanFailed when nothing usable came out."""
        ...

    def reset(self) -> None:
        """Forget earlier plans."""
        ...
