"""Where a robot on legs is and how fast it moves, from leg odometry and IMU, in a Kalman filter.

State (6 + 3 L): position and velocity of the base, positions of the feet, in the odometry frame. The accelerometer drives it; the feet that
stand say where the base is, and that they do not move (Bloesch et al. 2012; with the orientation known beforehand it is linear, as in Bledt
et al. 2018, the MIT Cheetah 3). A foot in the air is not believed; one that contradicts the others slides or drags: the more it does, the less its velocity
is believed, and the less it stays where it was.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY, LEVEL, rotation, upright
from taustack.controllers.attitude_filter import AttitudeFilter
from taustack.controllers.base_state import BaseEstimate, ImuSample
from taustack.controllers.compiled import FLAGS, FLOAT, INT, MATRIX, NEW_MATRIX, NOTHING, STORE, STORE_MATRIX, TENSOR, VECTOR, compiled
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
DOUBTED, OUTLIER = 1.5, 4.0
"""Standard deviations by which a foot's velocity may differ from the base's before it is believed the less (Huber 1964), and from which it is not at
all."""
ALONE_STD = 0.5
"""Of what the accelerometer alone makes of a velocity in a second, with the tilt and bias it has: no foot is believed meanwhile [m/s^1.5]."""
LOST_ACCELERATION, LOST_SPEED = 5.0, 1.0
"""With which a base may move otherwise, and how much at most, while nothing is measured [m/s^2], [m/s]."""
SLIDES_S = 0.3
"""Root of the time for which a foot that slides goes on to [s^0.5]: what its place is then known to, over its speed."""


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
        q, dq = sample.q.reshape(-1, PARTS), sample.dq.reshape(-1, PARTS)
        moves = _by_feet(q, dq, self.legs.feet(sample.q), self.legs.jacobians(sample.q), rate, turn, self.legs.foot_radius)
        rolling, base_velocity, from_base = moves[:, :3], moves[:, 3:6], moves[:, 6:]
        _predict(self._x, self._p, turn @ sample.acceleration - np.array([0.0, 0.0, GRAVITY]), rolling, ~stands, self.dt)
        doubt = self._doubt(base_velocity)
        slipping = stands & (doubt > OUTLIER)
        if not (stands & ~slipping).any():
            self._spread(velocity=ALONE_STD * math.sqrt(self.dt))
        _correct(self._x, self._p, from_base, base_velocity, stands, slipping, np.maximum(1.0, doubt / DOUBTED), self._floor, self.dt)
        return BaseEstimate(
            position=self._x[:3].copy(), velocity=self._x[3:6].copy(), quaternion=self._attitude.quaternion, turn_rate=rate,
            covariance=self._p[:6, :6].copy(), slipping=slipping,
        )  # fmt: skip

    def lose(self, seconds: float) -> None:
        """Nothing could be measured for so long: base and feet may have moved. What the feet say next is believed."""
        speed = min(LOST_SPEED, LOST_ACCELERATION * seconds)
        self._spread(velocity=speed, place=speed * seconds, feet=speed * seconds + LOST_SPEED)

    def _spread(self, velocity: float, place: float = 0.0, feet: float = 0.0) -> None:
        """Be less sure, by standard deviations [m/s], [m]."""
        spread = np.concatenate([np.full(3, place), np.full(3, velocity), np.full(self._count - 6, feet)])
        self._p[np.diag_indices(self._count)] += spread**2

    def _doubt(self, base_velocity: FloatArray) -> FloatArray:
        """Standard deviations (L,) by which the feet's velocities of the base (L, 3) differ from the one believed."""
        variance = np.diagonal(self._p)[3:6] + SPEED_STD**2
        return np.asarray(np.sqrt(((base_velocity - self._x[3:6]) ** 2 / variance).sum(1)))


@compiled(NEW_MATRIX, MATRIX, MATRIX, MATRIX, TENSOR, VECTOR, MATRIX, VECTOR)
def _by_feet(q: FloatArray, dq: FloatArray, feet: FloatArray, jacobians: FloatArray, rate: FloatArray, turn: FloatArray, radius: FloatArray) -> FloatArray:
    """What each foot says if it stands.

    Args:
        q, dq: of the legs (L, 3).
        feet, jacobians: of the feet in the base frame (L, 3), (L, 3, 3).
        rate, turn: turn rate in the base frame (3,), and its rotation (3, 3) to the odometry frame.
        radius: of the feet (L,) [m].

    Returns:
        (L, 9) in the odometry frame: velocity of the foot's middle, which rolls on the floor (7 % of a walk's speed), velocity of the base, and
        where the foot is from the base.
    """
    out = np.empty((len(q), 9))
    for leg in range(len(q)):
        about_y, hip = dq[leg, 1] + dq[leg, 2], q[leg, 0]
        turns = np.array([rate[0] + dq[leg, 0], rate[1] + about_y * math.cos(hip), rate[2] + about_y * math.sin(hip)])
        local = np.empty((3, 3))  # rolling, base velocity, place
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            local[0, i] = radius[leg] * (turns[j] * turn[2, k] - turns[k] * turn[2, j])
            moves = rate[j] * feet[leg, k] - rate[k] * feet[leg, j]
            for part in range(3):
                moves += jacobians[leg, i, part] * dq[leg, part]
            local[1, i], local[2, i] = local[0, i] - moves, feet[leg, i]
        for what in range(3):
            for axis in range(3):
                out[leg, 3 * what + axis] = turn[axis, 0] * local[what, 0] + turn[axis, 1] * local[what, 1] + turn[axis, 2] * local[what, 2]
    return out


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


@compiled(NOTHING, STORE, STORE_MATRIX, MATRIX, MATRIX, FLAGS, FLAGS, VECTOR, VECTOR, FLOAT)
def _correct(
    x: FloatArray, p: FloatArray, from_base: FloatArray, base_velocity: FloatArray, stands: NDArray[np.bool_], slipping: NDArray[np.bool_],
    wider: FloatArray, floor: FloatArray, dt: float,
) -> None:  # fmt: skip
    """Feet from the base (L, 3), the base's velocity by each (L, 3), and the height of the floor (L,), one number after another. wider (L,): by how
    much the velocity's deviation is, of a foot that contradicts what is believed; such a foot slid in the dt [s] before."""
    for leg in range(len(stands)):
        believed = stands[leg] and not slipping[leg]
        foot = 6 + 3 * leg
        if stands[leg] and wider[leg] > 1.0:
            slides = 0.0
            for axis in range(3):
                slides += (base_velocity[leg, axis] - x[3 + axis]) ** 2
            for axis in range(3):
                p[foot + axis, foot + axis] += dt * SLIDES_S * SLIDES_S * slides
        deviation = SPEED_STD * wider[leg]
        for axis in range(3):
            _take(x, p, foot + axis, axis, from_base[leg, axis], PLACE_STD * PLACE_STD)
            if believed:
                _take(x, p, 3 + axis, -1, base_velocity[leg, axis], deviation * deviation)
        if believed:
            _take(x, p, foot + 2, -1, floor[leg], FLOOR_STD * FLOOR_STD)
