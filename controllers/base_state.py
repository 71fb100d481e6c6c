"""What a robot on legs measures, and where it is taken to be: data only, for whoever sends, records or plans, without the estimator's compiled code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import yaw_of

FloatArray = NDArray[np.float64]


class ImuSample(NamedTuple):
    """Of the legs and the IMU: t [s]; q, dq, torque (n,); gyro (3,) [rad/s] and acceleration (3,) [m/s^2] in the base frame, gravity included."""

    t: float
    q: FloatArray
    dq: FloatArray
    torque: FloatArray
    gyro: FloatArray
    acceleration: FloatArray


@dataclass(frozen=True, kw_only=True)
class BaseEstimate:
    """position, velocity (3,) [m, m/s] and quaternion (4,) wxyz in the odometry frame; turn_rate (3,) [rad/s] in the base's; covariance (6, 6) of
    position and velocity; slipping (L,): feet that are not believed."""

    position: FloatArray
    velocity: FloatArray
    quaternion: FloatArray
    turn_rate: FloatArray
    covariance: FloatArray
    slipping: NDArray[np.bool_]

    @property
    def yaw(self) -> float:
        """Heading [rad]."""
        return yaw_of(self.quaternion)

    @property
    def local_velocity(self) -> FloatArray:
        """Forward, sideways [m/s], turn [rad/s] (3,)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        vx, vy = self.velocity[:2]
        return np.array([c * vx + s * vy, c * vy - s * vx, self.turn_rate[2]])
