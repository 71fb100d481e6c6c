"""How hard a robot's impedance law must be pulling, and how far its joints are from where they should be."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.compiled import BOOL, FLOAT, STORE_MATRIX, VECTOR, compiled
from taustack.controllers.reference import Reference

FloatArray = NDArray[np.float64]


class Load(NamedTuple):
    """Torque (n,) that the law at least has to give, and distance (n,) of the joints from their reference; both signed. amiss: whether either is more
    than is allowed of the newest reference alone; if not, it is of none."""

    torque: FloatArray
    error: FloatArray
    amiss: bool


class LoadEstimate:
    """A robot follows its reference late: by a lag of its own controller, by a delay on the way. What it does is therefore
    compared with all that the reference was in the last `response_s`; only what none of that explains is load.

    Args:
        robot: gains, torque limits, `safety.response_s`.
        dt: tick [s].
    """

    def __init__(self, robot: RobotConfig, dt: float) -> None:
        self._stiffness, self._damping, self._limit = robot.law
        self._largest = robot.safety.largest_error
        rows = 1 + round(robot.safety.response_s / dt)
        self._q, self._dq = np.tile(robot.home, (rows, 1)), np.zeros((rows, robot.n))
        self._rows = 0

    def remember(self, reference: Reference) -> None:
        """Take the reference of this tick."""
        i = self._rows % len(self._q)
        self._q[i], self._dq[i] = reference.q, reference.dq
        self._rows += 1

    def forget(self) -> None:
        """Begin anew: the reference was put elsewhere."""
        self._rows = 0

    def look(self, reference: Reference, q: FloatArray, dq: FloatArray) -> Load:
        """For joints at q with dq (n,)."""
        found = np.empty((2, len(q)))
        amiss = _law(reference.q, reference.dq, q, dq, self._stiffness, self._damping, self._limit, self._largest, found)
        torque, error = found
        if self._rows < 2 or not amiss:
            return Load(torque, error, amiss)
        # Only where something is amiss: the window is the dear part.
        window_q, window_dq = self._q[: self._rows], self._dq[: self._rows]
        late = np.minimum(np.maximum(q, window_q.min(axis=0)), window_q.max(axis=0)) - q
        late_torque = self._stiffness * late + self._damping * (np.minimum(np.maximum(dq, window_dq.min(axis=0)), window_dq.max(axis=0)) - dq)
        return Load(np.where(np.abs(late_torque) < np.abs(torque), late_torque, torque), late, amiss)


@compiled(BOOL, *[VECTOR] * 7, FLOAT, STORE_MATRIX)
def _law(
    q_ref: FloatArray, dq_ref: FloatArray, q: FloatArray, dq: FloatArray,
    stiffness: FloatArray, damping: FloatArray, limit: FloatArray, largest: float, found: FloatArray,
) -> bool:  # fmt: skip
    """Whether torque or error of the law against one reference is more than is allowed; found (2, n) gets both."""
    amiss, torque, error = False, found[0], found[1]
    for i in range(len(q)):
        error[i] = q_ref[i] - q[i]
        torque[i] = stiffness[i] * error[i] + damping[i] * (dq_ref[i] - dq[i])
        amiss = amiss or abs(torque[i]) >= limit[i] or abs(error[i]) > largest
    return amiss
