"""The one interface to a robot, simulated or real."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.layout import RobotState


class Hardware(Protocol):
    """A velocity-controlled robot with an impedance law below it, which stops by itself when nobody commands it."""

    def read(self) -> RobotState:
        """Newest measurement, with its time in driver time [s]."""
        ...

    def write(self, q_ref: NDArray[np.float64], dq_ref: NDArray[np.float64]) -> None:
        """Reference position (n,) and velocity (n,) for the impedance law, valid until the next write."""
        ...

    def damp(self) -> None:
        """No reference: damp the joints and compensate gravity, until the next write."""
        ...

    @property
    def estop_pressed(self) -> bool:
        """The robot's own e-stop button."""
        ...

    @property
    def self_stopped(self) -> bool:
        """The robot stopped by itself for want of commands; it takes them again from rest at its own reference."""
        ...
