"""Orientation of a base from its gyro and accelerometer: the complementary filter of Mahony, Hamel and Pflimlin (2008, equation 48b).

Yaw is integrated from where it began: an IMU alone has no other. Quaternions are wxyz, base to odometry frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY
from taustack.controllers.compiled import FLOAT, STORE, VECTOR, compiled

FloatArray = NDArray[np.float64]


class AttitudeFilter:
    """See the module.

    Args:
        pull: gain towards the direction of gravity that the accelerometer shows [rad/s].
        bias_pull: gain of the gyro's bias [rad/s^2].
        trusted: share of gravity by which an acceleration may differ in length and still be taken for it.
    """

    def __init__(self, pull: float = 0.5, bias_pull: float = 0.02, trusted: float = 0.3) -> None:
        self._pull, self._bias_pull, self._trusted = pull, bias_pull, trusted
        self.reset(np.array([1.0, 0.0, 0.0, 0.0]))

    def reset(self, quaternion: FloatArray) -> None:
        """Begin with this orientation."""
        self.quaternion = np.array(quaternion, dtype=float)
        self.bias = np.zeros(3)

    def step(self, gyro: FloatArray, acceleration: FloatArray, dt: float) -> FloatArray:
        """Take in a measurement (3,) [rad/s], (3,) [m/s^2] after dt [s]; returns the turn rate without its bias (3,) [rad/s]."""
        rate = gyro - self.bias
        self.quaternion = _turned(self.quaternion, self.bias, rate, acceleration, self._pull, self._bias_pull, self._trusted, dt)
        return rate


@compiled(STORE, VECTOR, STORE, VECTOR, VECTOR, FLOAT, FLOAT, FLOAT, FLOAT)
def _turned(
    quaternion: FloatArray, bias: FloatArray, rate: FloatArray, acceleration: FloatArray, pull: float, bias_pull: float, trusted: float, dt: float
) -> FloatArray:
    """The quaternion (4,) after dt [s]; the bias (3,) moves with it."""
    w, x, y, z = quaternion[0], quaternion[1], quaternion[2], quaternion[3]
    length = math.sqrt(acceleration[0] ** 2 + acceleration[1] ** 2 + acceleration[2] ** 2)
    error = np.zeros(3)
    if abs(length / GRAVITY - 1) < trusted:
        up = np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            error[i] = (acceleration[j] * up[k] - acceleration[k] * up[j]) / length
            bias[i] -= bias_pull * dt * error[i]
    half = 0.5 * dt * (rate + pull * error)
    a, b, c = half[0], half[1], half[2]
    q = np.array([w - x * a - y * b - z * c, x + w * a + y * c - z * b, y + w * b + z * a - x * c, z + w * c + x * b - y * a])
    return q / math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2)
