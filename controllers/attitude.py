"""Orientations: quaternions are wxyz, base to odometry frame."""

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
