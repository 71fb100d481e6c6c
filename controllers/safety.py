"""The safety filter: the last thing between a plan and the robot. A pure function of its arguments; depends on nothing learned.

It keeps one invariant: from the reference that it returns, the fastest stop stays within the limits of position, velocity,
acceleration and jerk, within the box of the cell and clear of the robot itself. A step that would break it is replaced by
the first tick of the stop from where the reference is, which the tick before found free.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.compiled import FLOAT, NEW_MATRIX, VECTOR, compiled, finite, tuple_of
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.reference import JerkLimited, Reference, ReferenceLimits, StopPath

FloatArray = NDArray[np.float64]
Acted = dict[str, float]
BRAKING_FRACTION = 0.5  # of the acceleration limit that the braking curve before a position limit counts on
TINY = 1e-9
SHORT = 1e-3  # [rad/s or m/s] of velocity that acceleration or jerk kept back, to be told
RULES = ("finite", "velocity", "position", "torque", "acceleration", "jerk", "stopping_distance", "box", "self_collision")


class SafetyFilter:
    """`step` is pure: the same arguments give the same reference.

    Args:
        robot: limits, gains and margins.
        dt: tick [s].
        keep_out: the robot's parts and its cell; None leaves both rules out (a robot without geometry).
    """

    def __init__(self, robot: RobotConfig, dt: float, keep_out: KeepOut | None = None) -> None:
        self.dt, self.keep_out, self.margin = dt, keep_out, robot.safety.margin
        self.limits = ReferenceLimits.of(robot)
        self._motion = JerkLimited(self.limits, dt)
        self._torque = robot.limits("torque")
        self._braking = BRAKING_FRACTION * self.limits.acceleration
        self._reaction = self._braking / self._motion.gain
        self._known: tuple[FloatArray, float] = (np.zeros((1, robot.n)), -np.inf)  # a memo: alters no result

    def step(self, start: Reference, dq: FloatArray, ddq: FloatArray, torque: FloatArray | None = None) -> tuple[Reference, Acted]:
        """One tick from `start` towards velocity dq (n,) with slope ddq (n,) at its end.

        Args:
            torque: what the impedance law at least has to give (n,), see `LoadEstimate`; None leaves the torque rule out.

        Returns:
            The next reference, and the rules that acted with by how much: rad, rad/s, N m, m as the rule's quantity is.
        """
        acted: Acted = {}
        dq, ddq = np.asarray(dq, dtype=float), np.asarray(ddq, dtype=float)
        if not finite(dq, ddq):
            acted["finite"] = 1.0
            dq, ddq = np.zeros_like(start.dq), np.zeros_like(start.dq)
        low, high = self._velocity_bounds(start)
        over = _outside(dq, low, high)
        if over > TINY:
            acted["velocity" if (np.abs(dq) > self.limits.velocity).any() else "position"] = over
        if torque is not None:
            dq, ddq = self._unloaded(dq, ddq, torque, acted)
        step = self._motion.towards(start, dq, ddq, low, high)
        short = _kept_back(step.dq, dq, low, high)
        if short > SHORT:
            rule = "acceleration" if (np.abs(dq - start.dq) > self.limits.acceleration * self.dt).any() else "jerk"
            acted[rule] = short
        return self._stoppable(start, step, acted)

    def stop(self, start: Reference) -> Reference:
        """One tick of the fastest stop: by the invariant always within the limits."""
        if not (start.dq.any() or start.ddq.any()):
            return start
        return self._motion.stop(start).at(self.dt)

    def _velocity_bounds(self, start: Reference) -> tuple[FloatArray, FloatArray]:
        """Velocities (n,) within the limit and under the braking curve before the position limits."""
        limits = self.limits
        low, high = _bounds(start.q, limits.q_min, limits.q_max, limits.velocity, self._braking, self._reaction)
        return low, high

    def _unloaded(self, dq: FloatArray, ddq: FloatArray, torque: FloatArray, acted: Acted) -> tuple[FloatArray, FloatArray]:
        """A joint whose impedance law is at its torque limit does not pull further: what it pushes against gives way or the reference waits."""
        (dq, ddq), over = _unload(torque, self._torque, dq, ddq)
        if over > 0:
            acted["torque"] = over
        return dq, ddq

    def _stoppable(self, start: Reference, step: Reference, acted: Acted) -> tuple[Reference, Acted]:
        """The step if a stop within the limits is possible after it, else the first tick of the stop from `start`, joint by joint."""
        limits = self.limits
        after = self._motion.stop(step)
        before: StopPath | None = None
        if max(_outside(after.highest, limits.q_min, limits.q_max), _outside(after.lowest, limits.q_min, limits.q_max)) > TINY:
            before = self._motion.stop(start)
            # A reference that began outside may move, but only back.
            further = np.maximum(after.highest - np.maximum(limits.q_max, before.highest), np.minimum(limits.q_min, before.lowest) - after.lowest)
            beyond = further > TINY
            if beyond.any():
                acted["stopping_distance"] = float(further.max())
                step = step.with_joints(before.at(self.dt), beyond)
                after = self._motion.stop(step)
        if self.keep_out is None:
            return step, acted
        if self._surely_clear(after):
            return step, acted
        left = self._clearance(after)
        if left.min() >= 0:
            return step, acted
        before = before or self._motion.stop(start)
        nearer = (left < 0) & (left < self._clearance(before) - TINY)
        for rule, acts, amount in zip(("box", "self_collision"), nearer, left, strict=True):
            if acts:
                acted[rule] = float(-amount)
        return (before.at(self.dt) if nearer.any() else step), acted

    def look_ahead(self, start: Reference) -> None:
        """Renew what is known of the clearance around a reference. Alters no result: done between ticks, it spares the next ones a full look."""
        if self.keep_out is None:
            return
        along, left = self._known
        now = self._motion.stop(start).along()
        if left > 0 and self.keep_out.change(now, along) < 0.3 * left:
            return
        self._look(now)

    def _clearance(self, path: StopPath) -> FloatArray:
        """Least distances (2,) [m] beyond the margin along a stop: to the box, and between parts of the robot."""
        return self._look(path.along())

    def _look(self, along: FloatArray) -> FloatArray:
        assert self.keep_out is not None
        left = np.asarray(self.keep_out.distances(along).min(axis=1) - self.margin)
        self._known = (along, float(left.min()))
        return left

    def _surely_clear(self, path: StopPath) -> bool:
        """True if the stop is clear by a bound on what changed since the last full look, which costs a tenth of one."""
        along, left = self._known
        if left <= 0 or self.keep_out is None:
            return False
        return left > self.keep_out.change(path.along(), along)


@compiled(FLOAT, VECTOR, VECTOR, VECTOR)
def _outside(x: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """By how much the entry farthest outside is outside its range; negative if all are inside, infinite if one is no number."""
    most = -np.inf
    for i in range(len(x)):
        if not math.isfinite(x[i]):
            return np.inf
        most = max(most, x[i] - high[i], low[i] - x[i])
    return most


@compiled(FLOAT, VECTOR, VECTOR, VECTOR, VECTOR)
def _kept_back(got: FloatArray, dq: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """Most of what a joint's velocity is away from the one asked for, as far as that is within its bounds."""
    most = 0.0
    for i in range(len(got)):
        most = max(most, abs(got[i] - min(max(dq[i], low[i]), high[i])))
    return most


@compiled(tuple_of(NEW_MATRIX, FLOAT), *[VECTOR] * 4)
def _unload(torque: FloatArray, limit: FloatArray, dq: FloatArray, ddq: FloatArray) -> tuple[FloatArray, float]:
    """Velocity and slope (2, n), zero where a joint over its limit is asked to pull further; if there is one, the most that a torque is over its limit."""
    kept, most, any_pulls = np.empty((2, len(dq))), 0.0, False
    for i in range(len(torque)):
        over = abs(torque[i]) - limit[i]
        pulls = over > 0 and torque[i] * dq[i] > 0
        kept[0, i], kept[1, i] = (0.0, 0.0) if pulls else (dq[i], ddq[i])
        most, any_pulls = max(most, over), any_pulls or pulls
    return kept, most if any_pulls else 0.0


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _brakes_within(room: float, braking: float, reaction: float) -> float:
    """The velocity from which a joint brakes within `room`: v / gain + v^2 / 2a = room, with reaction = a / gain."""
    return math.sqrt(reaction * reaction + 2 * braking * max(room, 0.0)) - reaction


@compiled(NEW_MATRIX, *[VECTOR] * 6)
def _bounds(q: FloatArray, q_min: FloatArray, q_max: FloatArray, velocity: FloatArray, braking: FloatArray, reaction: FloatArray) -> FloatArray:
    """Least and largest velocity (2, n)."""
    bounds = np.empty((2, len(q)))
    for i in range(len(q)):
        bounds[1, i] = min(_brakes_within(q_max[i] - q[i], braking[i], reaction[i]), velocity[i])
        bounds[0, i] = -min(_brakes_within(q[i] - q_min[i], braking[i], reaction[i]), velocity[i])
    return bounds
