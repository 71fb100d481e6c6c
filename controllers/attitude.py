"""Orientation of a base from its gyro and accelerometer: the complementary filter of Mahony, Hamel and Pflimlin (2008, equation 48b).

Yaw is integrated from where it began: an IMU alone has no other. Quaternions are wxyz, base to odometry frame.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
GRAVITY = 9.81


def rotation(quaternion: FloatArray) -> FloatArray:
    """Rotation matrix (3, 3), base to odometry frame, of a unit quaternion (4,) wxyz."""
    w, x, y, z = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def yaw_of(quaternion: FloatArray) -> float:
    """Heading [rad] of a unit quaternion (4,) wxyz."""
    w, x, y, z = quaternion
    return math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))


def from_yaw(yaw: float) -> FloatArray:
    """Quaternion (4,) wxyz of a level base with this heading [rad]."""
    return np.array([math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def cross_matrix(a: FloatArray) -> FloatArray:
    """The matrix (3, 3) that crosses a vector with a (3,): cross_matrix(a) @ b = a x b. A tenth of numpy's own in time."""
    x, y, z = a
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


LEVEL = np.array([0.0, 0.0, 1.0])


def upright(yaw: float, up: FloatArray) -> FloatArray:
    """Quaternion (4,) wxyz with this heading [rad] of a base that has the vertical up (3,) in its frame, as an accelerometer at rest says."""
    roll, pitch = math.atan2(up[1], up[2]), math.atan2(-up[0], math.hypot(up[1], up[2]))
    cr, sr, cp, sp, cy, sy = (f(0.5 * angle) for angle in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array([
        cr * cp * cy + sr * sp * sy, sr * cp * cy - cr * sp * sy, cr * sp * cy + sr * cp * sy, cr * cp * sy - sr * sp * cy,
    ])  # fmt: skip


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
        length = float(np.linalg.norm(acceleration))
        error = np.zeros(3)
        if abs(length / GRAVITY - 1) < self._trusted:
            up = rotation(self.quaternion)[2]
            error = cross_matrix(acceleration / length) @ up
            self.bias -= self._bias_pull * dt * error
        turn = (rate + self._pull * error) * dt
        w, x, y, z = self.quaternion
        a, b, c = 0.5 * turn
        q = np.array([w - x * a - y * b - z * c, x + w * a + y * c - z * b, y + w * b + z * a - x * c, z + w * c + x * b - y * a])
        self.quaternion = q / np.linalg.norm(q)
        return rate
