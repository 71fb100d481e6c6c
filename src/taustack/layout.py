"""The state vector x and the action u of a velocity-controlled robot, in one place.

x = [q, dq, q_ref, dq_ref] (nx = 4 n): what the joints do, and the reference that the tracker has reached so far. The
reference belongs to the state because an impedance law pulls towards it; without it the next state would not follow from
x and u. u (nu = n) is the reference velocity at the END of a step: within the step the reference velocity runs linearly
from dq_ref to u (first-order hold), so |u - dq_ref| / dt is the acceleration of the reference.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

PARTS = ("q", "dq", "q_ref", "dq_ref")
State = Literal["idle", "ready", "running", "holding", "damped"]
STATES: tuple[State, ...] = get_args(State)
"""States of the tracker; messages and logs carry their index. What they mean: controllers/states."""


class RobotState(NamedTuple):
    """What the hardware interface reads: joint vectors (n,), SI units, and the end effector (3,) [m] in the base frame."""

    t: float
    q: NDArray[np.float64]
    dq: NDArray[np.float64]
    q_ref: NDArray[np.float64]
    dq_ref: NDArray[np.float64]
    torque: NDArray[np.float64]
    ee: NDArray[np.float64]

    def x(self) -> NDArray[np.float64]:
        """State vector (4 n,)."""
        return np.concatenate([self.q, self.dq, self.q_ref, self.dq_ref])


class Measured(NamedTuple):
    """A robot state with its place in the order of things."""

    state: RobotState
    seq: int = 0
    epoch: int = 0


def reference_step(q_ref: NDArray[np.float64], dq_ref: NDArray[np.float64], u: NDArray[np.float64], dt: float) -> NDArray[np.float64]:
    """Reference position after a step of `dt` [s] in which the reference velocity runs linearly from dq_ref to u."""
    return q_ref + 0.5 * dt * (dq_ref + u)
