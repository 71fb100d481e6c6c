"""The one interface to a robot, simulated or real."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.layout import RobotState


class Hardware(Protocol):
    """A velocity-controlled robot with an impedance law below it."""

    def read(self) -> RobotState:
        """Newest measurement, with its time in driver time [s]."""
        ...

    def write(self, q_ref: NDArray[np.float64], dq_ref: NDArray[np.float64]) -> None:
        """Reference position (n,) and velocity (n,) for the impedance law, valid until the next write."""
        ...

    def advance(self, seconds: float) -> None:
        """Simulated robots move on by this time; a real one does so by itself."""
        ...

    def safe_action(self) -> None:
        """What the robot does without a driver: hold the last reference position at zero velocity."""
        ...
