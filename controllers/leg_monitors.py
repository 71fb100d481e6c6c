"""Whether measurements of legs and IMU can be trusted, and whether the robot has fallen or a leg does not follow. Each look is one tick."""

from __future__ import annotations

import math
from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import GRAVITY, rotation
from taustack.controllers.base_estimator import carrying_torque
from taustack.controllers.base_state import ImuSample
from taustack.controllers.compiled import COUNTS, FLOAT, INT, VECTOR, compiled
from taustack.controllers.legs import Legs
from taustack.controllers.monitors import FROZEN_S, FUTURE_S, Movement
from taustack.legged import PARTS, LeggedConfig

FloatArray = NDArray[np.float64]
AXES = "xyz"
LOAD_S = 0.2  # over which what a foot carries is averaged


class LegSensorMonitor:
    """Looks at every measurement; `trusted` is the newest one without a fault."""

    def __init__(self, robot: LeggedConfig) -> None:
        self.robot, self.rules = robot, robot.safety
        self.faults: Counter[str] = Counter()
        self.trusted: ImuSample | None = None
        self._movement, self._carrying = Movement(robot.of_joints("velocity"), robot.safety.response_s, robot.joint_names), carrying_torque(robot)
        self._sensed_at = -np.inf
        self._fault_at, self._reason = -np.inf, ""
        self._friction = robot.of_joints("viscous_friction").reshape(-1, PARTS)[:, -1]
        self._load, self._keep = np.zeros(len(robot.legs)), math.exp(-1 / (LOAD_S * robot.rates.tracker_hz))
        self._touched_at = -np.inf

    def look(self, sample: ImuSample, now: float, dq_target: FloatArray) -> str | None:
        """What is wrong, or was less than `sensor_clear_s` ago; None if the measurements can be trusted.

        Args:
            sample: newest measurement, seen before or not.
            now: driver time [s].
            dq_target: velocities (n,) that the joints are to follow.
        """
        reason = self._fault(sample, now, dq_target)
        if reason is not None:
            self.faults[reason.split(":")[0]] += 1
            self._fault_at, self._reason = now, reason
            return reason
        return self._reason if now - self._fault_at < self.rules.sensor_clear_s else None

    def _fault(self, sample: ImuSample, now: float, dq_target: FloatArray) -> str | None:
        reason = self._impossible(sample)
        if reason is not None:
            return reason
        if sample.t > now + FUTURE_S:
            return f"from the future: by {sample.t - now:.3f} s"
        last = self.trusted
        if last is None:
            self._movement.begin(now)
            self._take(sample, now)
        elif sample.t < last.t - 1e-9 and now - last.t > self.rules.sensor_timeout_s:
            self._take(sample, now)  # the clock of the measurements was set back: what follows is judged by it, after a hold
            return f"clock went back: by {last.t - sample.t:.3f} s"
        elif sample.t > last.t + 1e-9:
            self._take(sample, now)  # even after a jump, so that a jump is one fault
            if (sample.gyro != last.gyro).any() or (sample.acceleration != last.acceleration).any():
                self._sensed_at = now
            reason = self._movement.fault(sample.q, last.q, sample.dq, dq_target, sample.t - last.t, now)
            if reason is not None:
                return reason
            if now - self._sensed_at > FROZEN_S:
                return "frozen: gyro and accelerometer"
        assert self.trusted is not None
        if now - self.trusted.t > self.rules.sensor_timeout_s:
            return f"too old: {now - self.trusted.t:.3f} s"
        return None

    def _take(self, sample: ImuSample, now: float) -> None:
        """The newest measurement that may be trusted."""
        self._sensed_at = now if self.trusted is None else self._sensed_at
        self.trusted = sample
        self._weigh(sample, now)

    def _weigh(self, sample: ImuSample, now: float) -> None:
        """Note whether a foot carries anything: a calf's torque beyond its friction, averaged, for that of a leg in the air goes to and fro."""
        calf, dq = sample.torque.reshape(-1, PARTS)[:, -1], sample.dq.reshape(-1, PARTS)[:, -1]
        self._load = self._keep * self._load + (1 - self._keep) * (calf - self._friction * dq)
        if (self._load > self._carrying).any() or not np.isfinite(self._touched_at):
            self._touched_at = now

    def _impossible(self, sample: ImuSample) -> str | None:
        """Sizes, and numbers that cannot be."""
        for name, vector, most in (
            ("q", sample.q, np.inf), ("dq", sample.dq, np.inf), ("torque", sample.torque, np.inf), ("gyro", sample.gyro, self.rules.turn_rate),
            ("acceleration", sample.acceleration, self.rules.acceleration),
        ):  # fmt: skip
            joints = name in ("q", "dq", "torque")
            if vector.shape != ((self.robot.n if joints else len(AXES)),):
                return f"wrong size: {name} {vector.shape}"
            i = _first_beyond(vector, most)
            if i >= 0:
                return f"impossible: {name} of {self.robot.joint_names[i] if joints else f'axis {AXES[i]}'} is {vector[i]:.4g}"
        return None if math.isfinite(sample.t) else "impossible: time is not finite"

    def touches(self, now: float) -> None:
        """Take it that the feet are on the floor at time now [s]: a robot that lies carries nothing on them."""
        self._touched_at = now

    def in_the_air(self, now: float) -> str | None:
        """Why a walk may not begin or go on: no foot carried anything for a while; or None."""
        silent_s = now - self._touched_at
        return f"no foot has touched the floor for {silent_s:.1f} s" if silent_s > self.rules.contact_s else None


class Level:
    """Which way is up, by the accelerometer of a robot that is at rest: averaged, for one sample is noise."""

    TICKS = 50
    SLACK = 0.2
    """Share of gravity by which what is averaged may be off."""

    def __init__(self) -> None:
        self._recent: deque[FloatArray] = deque(maxlen=self.TICKS)

    def forget(self) -> None:
        """What was seen says nothing any more: the robot moved since, or may have."""
        self._recent.clear()

    def look(self, acceleration: FloatArray) -> FloatArray | None:
        """The vertical (3,) in the base frame; None while the robot is not at rest, or was not for long enough."""
        self._recent.append(acceleration)
        mean = np.mean(self._recent, axis=0)
        size = float(np.linalg.norm(mean))
        if len(self._recent) < self.TICKS or abs(size - GRAVITY) > self.SLACK * GRAVITY:
            return None
        return np.asarray(mean / size)


class FallMonitor:
    """Looks at how the base stands, and at how the legs follow their targets."""

    def __init__(self, robot: LeggedConfig, dt: float) -> None:
        self.robot, self.rules, self._legs = robot, robot.safety, Legs(robot)
        self._low_ticks, self._far_ticks = (max(1, round(seconds / dt)) for seconds in (robot.safety.low_s, robot.safety.far_s))
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._low, self._far = 0, np.zeros(self.robot.n, dtype=np.int64)

    def tilted(self, up: FloatArray) -> str | None:
        """Why a robot with the vertical up (3,) in its base has fallen, or None."""
        tilt = math.acos(min(1.0, max(-1.0, float(up[2]))))
        return f"the base is tilted by {tilt:.2f} rad, expected at most {self.robot.fall.tilt:g}" if tilt > self.robot.fall.tilt else None

    def look(self, quaternion: FloatArray, q: FloatArray, q_target: FloatArray) -> str | None:
        """Why the robot should be damped, or None. quaternion (4,) of the base; joint positions (n,) and their targets [rad]."""
        turn = rotation(quaternion)
        fallen = self.tilted(turn[2])
        if fallen is not None:
            return f"fallen: {fallen}"
        height = -float((self._legs.feet(q) @ turn[2]).min())
        self._low = self._low + 1 if height < self.robot.fall.height else 0
        if self._low >= self._low_ticks:
            return f"fallen: the base is {height:.2f} m over its feet, expected at least {self.robot.fall.height:g}"
        i = _longest_far(q, q_target, self.rules.largest_error, self._far)
        if self._far[i] >= self._far_ticks:
            return f"{self.robot.joint_names[i]} is {abs(q[i] - q_target[i]):.2f} rad from its target"
        return None


@compiled(INT, VECTOR, FLOAT)
def _first_beyond(values: FloatArray, most: float) -> int:
    """The first that is larger than that, either way, or no number; -1 if none is."""
    for i in range(len(values)):
        if not abs(values[i]) <= most or math.isinf(values[i]):
            return i
    return -1


@compiled(INT, VECTOR, VECTOR, FLOAT, COUNTS)
def _longest_far(q: FloatArray, q_target: FloatArray, allowed: float, far: NDArray[np.int64]) -> int:
    """Counts for each joint (n,) the looks in a row at which it was farther from its target than allowed; the joint with the most."""
    worst = 0
    for i in range(len(q)):
        far[i] = far[i] + 1 if abs(q[i] - q_target[i]) > allowed else 0
        worst = i if far[i] > far[worst] else worst
    return worst
