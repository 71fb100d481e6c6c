"""The paths of the feet of a gait, one tick of them, compiled: on the floor as the base moves over them, in the air to where they land next."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.compiled import BOOL, FLAGS, FLOAT, MATRIX, NEW_TENSOR, TENSOR, VECTOR, compiled

FloatArray = NDArray[np.float64]


@compiled(NEW_TENSOR, MATRIX, MATRIX, TENSOR, TENSOR, MATRIX, VECTOR, FLAGS, BOOL, FLOAT, FLOAT, FLOAT, FLOAT)
def feet_after(
    velocity: FloatArray,
    landing: FloatArray,
    feet: FloatArray,
    lifted: FloatArray,
    below: FloatArray,
    phase: FloatArray,
    stood: NDArray[np.bool_],
    walks: bool,
    duty: float,
    stride_s: float,
    dt: float,
    reach: float,
) -> FloatArray:
    """Move feet by one tick of dt [s]; B walks at once, L legs.

    Args:
        velocity: of the strides (B, 3): forward, sideways [m/s], turn [rad/s].
        landing: added to where feet land (B, 2) [m].
        feet, lifted: where they are, and where they last left the floor (B, L, 2), in the base frame [m].
        below: of the hips (L, 2) [m].
        phase: of each leg (L,), in strides.
        stood: which feet were on the floor before (L,).
        walks: the clock runs.
        duty, stride_s, reach: of the gait.

    Returns:
        (B, L, 5): where feet are, where they last left the floor, and their share of the swing's height.
    """
    out = np.empty((len(feet), len(below), 5))
    stance_s, swing_s = duty * stride_s, (1 - duty) * stride_s
    for b in range(len(feet)):
        vx, vy, turn = velocity[b, 0], velocity[b, 1], velocity[b, 2]
        for leg in range(len(below)):
            stands = not walks or phase[leg] < duty
            left = stood[leg] and not stands
            s = 0.0 if stands else min((phase[leg] - duty) / (1 - duty), 1.0)
            to_end, with_slope = s * s * (3 - 2 * s), 2 * s**3 - 3 * s**2 + s
            for axis in range(2):
                place, other, hip = feet[b, leg, axis], feet[b, leg, 1 - axis], below[leg, axis]
                across, speed = (-turn, vx) if axis == 0 else (turn, vy)
                from_floor = place if left else lifted[b, leg, axis]
                if stands and walks:
                    place -= dt * (speed + across * other)
                elif walks:  # a cubic that leaves the floor, and meets it half a stance ahead of the hip, with the floor's speed
                    under_hip = speed + across * below[leg, 1 - axis]
                    lands = hip + 0.5 * stance_s * under_hip + landing[b, axis]
                    place = from_floor + to_end * (lands - from_floor) - with_slope * swing_s * under_hip
                out[b, leg, axis] = min(max(place, hip - reach), hip + reach)
                out[b, leg, 2 + axis] = from_floor
            out[b, leg, 4] = 0.0 if stands else math.sin(math.pi * s) ** 2
    return out
