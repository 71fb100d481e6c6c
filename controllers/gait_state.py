"""What a gait is asked for, where it is in its stride, and what it asks of the joints: data only, without the compiled kinematics."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GaitCommand:
    """velocity (..., 3): forward, sideways [m/s] and turn [rad/s] that the strides are for; landing (..., 2): added to where feet land, forward,
    sideways [m]; height: added to that of the base [m]; residual (..., n): added to the joints [rad], empty for none."""

    velocity: FloatArray
    landing: FloatArray = field(default_factory=lambda: np.zeros(2))
    height: float = 0.0
    residual: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class GaitState:
    """phase in strides; velocity (..., 3) and landing (..., 2) that the feet follow at the moment: those of the command, as fast as they may
    change; walks: the clock runs; feet, lifted (..., L, 2): where the feet are in the base frame, and where they last left the floor [m]."""

    phase: float
    velocity: FloatArray
    landing: FloatArray
    walks: bool
    feet: FloatArray
    lifted: FloatArray


@dataclass(frozen=True, kw_only=True)
class LegTargets:
    """What the law of the motors follows: q, dq, torque (..., n) [rad, rad/s, N m]; stance (L,): which feet are meant to be on the floor."""

    q: FloatArray
    dq: FloatArray
    torque: FloatArray
    stance: NDArray[np.bool_]
