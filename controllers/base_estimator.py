"""Where a robot on legs is and how fast it moves, from leg odometry and IMU, in a Kalman filter.

State (6 + 3 L): position and velocity of the base, positions of the feet, in the odometry frame. The accelerometer drives it; the feet that
stand say where the base is, and that they do not move (Bloesch et al. 2012; with the orientation known beforehand it is linear, as in Bledt
et al. 2018, the MIT Cheetah 3). A foot in the air, or one whose velocity is an outlier (a slip), is not believed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY, LEVEL, AttitudeFilter, cross_matrix, rotation, upright, yaw_of
from taustack.controllers.compiled import FLAGS, FLOAT, INT, MATRIX, NOTHING, STORE, STORE_MATRIX, VECTOR, compiled
from taustack.controllers.legs import Legs
from taustack.legged import PARTS, LeggedConfig

FloatArray = NDArray[np.float64]
ACCELERATION_STD = 0.6
"""Of the accelerometer in walking, with what shakes it [m/s^2]."""
FOOT_STD, AIR_STD = 0.004, 10.0
"""Of the way of a foot on the floor and of one in the air in a second [m/s^0.5]."""
PLACE_STD, SPEED_STD = 0.004, 0.15
"""Of a foot's place and velocity by the legs' kinematics [m], [m/s]."""
FLOOR_STD = 0.02
"""Of the floor's height under a foot that stands, from where the feet began: the floor is taken as flat [m]."""
TOUCHING = 0.06
"""Of a calf's largest torque, from which its foot counts as on the floor: half of what it takes to stand on four."""
OUTLIER = 16.0
"""Square of a foot's slip in standard deviations from which it is not believed."""


@dataclass(frozen=True, kw_only=True)
class ImuSample:
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


def carrying_torque(robot: LeggedConfig) -> FloatArray:
    """Torques (L,) of the calves [N m] beyond which a leg carries more than itself."""
    return np.asarray(TOUCHING * robot.of_joints("torque").reshape(-1, PARTS)[:, -1])


class BaseEstimator:
    """See the module.

    Args:
        robot: legs.
        dt: time between two measurements [s].
    """

    def __init__(self, robot: LeggedConfig, dt: float) -> None:
        self.legs, self.dt, self._attitude = Legs(robot), dt, AttitudeFilter()
        self._count = 6 + PARTS * self.legs.count
        self._touching = carrying_torque(robot)
        self.reset(np.zeros(3), 0.0, robot.of_joints("home"))

    def reset(self, position: FloatArray, yaw: float, q: FloatArray, up: FloatArray = LEVEL) -> None:
        """Begin here and at rest, with the vertical up (3,) in the base frame, and the feet where joint positions q (n,) have them."""
        self._attitude.reset(upright(yaw, up))
        feet = position + self.legs.feet(q) @ rotation(self._attitude.quaternion).T
        self._x = np.concatenate([position, np.zeros(3), feet.ravel()])
        self._p = np.diag(np.concatenate([np.full(3, 1e-6), np.full(3, 1e-4), np.full(PARTS * self.legs.count, 1e-4)]))
        self._floor = feet[:, 2].copy()

    def step(self, sample: ImuSample, stance: NDArray[np.bool_]) -> BaseEstimate:
        """Take in a measurement. stance (L,): which feet are meant to be on the floor; one that carries nothing counts as in the air."""
        rate = self._attitude.step(sample.gyro, sample.acceleration, self.dt)
        turn = rotation(self._attitude.quaternion)  # its last row: up, in the base frame
        # The calf's motor holds what the foot carries: touch is torque against a leg's own weight.
        stands = stance & (np.abs(sample.torque.reshape(-1, PARTS)[:, -1]) > self._touching)
        feet, dq = self.legs.feet(sample.q), sample.dq.reshape(-1, PARTS)
        rolling = self._rolling(sample.q.reshape(-1, PARTS), dq, rate, turn[2]) @ turn.T
        _predict(self._x, self._p, turn @ sample.acceleration - np.array([0.0, 0.0, GRAVITY]), rolling, ~stands, self.dt)
        legs_move = np.einsum("lij,lj->li", self.legs.jacobians(sample.q), dq) + feet @ cross_matrix(rate).T
        base_velocity = rolling - legs_move @ turn.T  # by each foot, if it stands
        slipping = self._slips(base_velocity, stands)
        _correct(self._x, self._p, feet @ turn.T, base_velocity, stands, slipping, self._floor)
        return BaseEstimate(
            position=self._x[:3].copy(), velocity=self._x[3:6].copy(), quaternion=self._attitude.quaternion, turn_rate=rate,
            covariance=self._p[:6, :6].copy(), slipping=slipping,
        )  # fmt: skip

    def _rolling(self, q: FloatArray, dq: FloatArray, rate: FloatArray, up: FloatArray) -> FloatArray:
        """Velocities (L, 3) of the middles of round feet that roll on the floor, in the base frame: 7 % of a walk's speed."""
        about_y = dq[:, 1] + dq[:, 2]
        turns = rate + np.stack([dq[:, 0], about_y * np.cos(q[:, 0]), about_y * np.sin(q[:, 0])], -1)
        return np.asarray(-self.legs.foot_radius[:, None] * (turns @ cross_matrix(up).T))

    def _slips(self, base_velocity: FloatArray, stands: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Feet that stand and say another velocity of the base than is believable."""
        variance = np.diagonal(self._p)[3:6] + SPEED_STD**2
        return np.asarray(stands & (((base_velocity - self._x[3:6]) ** 2 / variance).sum(1) > OUTLIER))


@compiled(NOTHING, STORE, STORE_MATRIX, VECTOR, MATRIX, FLAGS, FLOAT)
def _predict(x: FloatArray, p: FloatArray, acceleration: FloatArray, rolling: FloatArray, in_air: NDArray[np.bool_], dt: float) -> None:
    """Constant acceleration (3,) over dt [s]; feet on the floor roll with velocities (L, 3), those in the air may go anywhere."""
    n = len(x)
    for i in range(3):
        x[i] += dt * x[3 + i] + 0.5 * dt * dt * acceleration[i]
        x[3 + i] += dt * acceleration[i]
    for i in range(3):
        for j in range(n):
            p[i, j] += dt * p[3 + i, j]
    for i in range(3):
        for j in range(n):
            p[j, i] += dt * p[j, 3 + i]
        p[i, i] += dt * 1e-8
        p[3 + i, 3 + i] += dt * dt * ACCELERATION_STD * ACCELERATION_STD
    for leg in range(len(in_air)):
        std = AIR_STD if in_air[leg] else FOOT_STD
        for axis in range(3):
            foot = 6 + 3 * leg + axis
            x[foot] += 0.0 if in_air[leg] else dt * rolling[leg, axis]
            p[foot, foot] += dt * std * std


@compiled(NOTHING, STORE, STORE_MATRIX, INT, INT, FLOAT, FLOAT)
def _take(x: FloatArray, p: FloatArray, plus: int, minus: int, measured: float, variance: float) -> None:
    """Take in that x[plus] - x[minus] was measured (minus < 0: x[plus] alone); a scalar update needs no inverse."""
    n = len(x)
    gain = np.empty(n)
    for i in range(n):
        gain[i] = p[i, plus] - (p[i, minus] if minus >= 0 else 0.0)
    spread = gain[plus] - (gain[minus] if minus >= 0 else 0.0) + variance
    error = measured - x[plus] + (x[minus] if minus >= 0 else 0.0)
    row = gain.copy()
    for i in range(n):
        x[i] += gain[i] / spread * error
        for j in range(n):
            p[i, j] -= gain[i] * row[j] / spread


@compiled(NOTHING, STORE, STORE_MATRIX, MATRIX, MATRIX, FLAGS, FLAGS, VECTOR)
def _correct(
    x: FloatArray, p: FloatArray, from_base: FloatArray, base_velocity: FloatArray, stands: NDArray[np.bool_], slipping: NDArray[np.bool_], floor: FloatArray
) -> None:
    """Feet from the base (L, 3), the base's velocity by each (L, 3), and the height of the floor (L,), one number after another."""
    for leg in range(len(stands)):
        believed = stands[leg] and not slipping[leg]
        foot = 6 + 3 * leg
        for axis in range(3):
            _take(x, p, foot + axis, axis, from_base[leg, axis], PLACE_STD * PLACE_STD)
            if believed:
                _take(x, p, 3 + axis, -1, base_velocity[leg, axis], SPEED_STD * SPEED_STD)
        if believed:
            _take(x, p, foot + 2, -1, floor[leg], FLOOR_STD * FLOOR_STD)
