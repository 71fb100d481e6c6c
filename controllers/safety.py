"""The safety filter: the last thing between a plan and the robot. A pure function of its arguments; depends on nothing learned.

It keeps one invariant: from the reference that it returns, the fastest stop stays within the limits of position, velocity,
acceleration and jerk, within the box of the cell and clear of the robot itself. A step that would break it is replaced by
the first tick of the stop from where the reference is, which the tick before found free.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.filter_step import A_MAX, BRAKING, GAIN, JERK_MAX, Q_MAX, Q_MIN, REACTION, STEP_OF_A, TINY, TORQUE_MAX, V_MAX, filter_step
from taustack.controllers.filter_step import RULES as STEP_RULES
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.reference import JerkLimited, Reference, ReferenceLimits

FloatArray = NDArray[np.float64]
Acted = dict[str, float]
BRAKING_FRACTION = 0.5  # of the acceleration limit that the braking curve before a position limit counts on
RULES = (*STEP_RULES, "box", "self_collision")


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
        self._table = np.empty((10, robot.n))
        rows = self._table
        rows[Q_MIN], rows[Q_MAX], rows[V_MAX] = self.limits.q_min, self.limits.q_max, self.limits.velocity
        rows[A_MAX], rows[JERK_MAX], rows[TORQUE_MAX] = self.limits.acceleration, self.limits.jerk, robot.limits("torque")
        rows[GAIN], rows[STEP_OF_A], rows[BRAKING] = self._motion.gain, self._motion.step_of_acceleration, BRAKING_FRACTION * self.limits.acceleration
        rows[REACTION] = rows[BRAKING] / rows[GAIN]
        self._no_torque, self._told = np.zeros(robot.n), np.zeros(len(STEP_RULES))
        self._known: tuple[FloatArray, float] = (np.zeros((1, robot.n)), -np.inf)  # a memo: alters no result

    def step(self, start: Reference, dq: FloatArray, ddq: FloatArray, torque: FloatArray | None = None) -> tuple[Reference, Acted]:
        """One tick from `start` towards velocity dq (n,) with slope ddq (n,) at its end.

        Args:
            torque: what the impedance law at least has to give (n,), see `LoadEstimate`; None leaves the torque rule out.

        Returns:
            The next reference, and the rules that acted with by how much: rad, rad/s, N m, m as the rule's quantity is.
        """
        dq, ddq = np.asarray(dq, dtype=float), np.asarray(ddq, dtype=float)
        load = self._no_torque if torque is None else torque
        out = np.empty((6, len(dq)))
        acts = filter_step(start.q, start.dq, start.ddq, dq, ddq, load, self._table, self.dt, self._told, out)
        step = Reference(q=out[0], dq=out[1], ddq=out[2])
        acted = {rule: float(amount) for rule, amount in zip(STEP_RULES, self._told, strict=True) if amount > 0} if acts else {}
        if self.keep_out is None or self._surely_clear(out[3:]):
            return step, acted
        return self._clear(start, step, out[3:], acted)

    def stop(self, start: Reference) -> Reference:
        """One tick of the fastest stop: by the invariant always within the limits."""
        if not (start.dq.any() or start.ddq.any()):
            return start
        return self._motion.stop(start).at(self.dt)

    def _clear(self, start: Reference, step: Reference, along: FloatArray, acted: Acted) -> tuple[Reference, Acted]:
        """The step if the stop after it, with positions `along` (3, n), keeps clear or goes away, else the first tick of the stop from `start`."""
        left = self._look(along)
        if left.min() >= 0:
            return step, acted
        before = self._motion.stop(start)
        nearer = (left < 0) & (left < self._look(before.along()) - TINY)
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

    def _look(self, along: FloatArray) -> FloatArray:
        """Least distances (2,) [m] beyond the margin along a stop with positions (3, n): to the box, and between parts of the robot."""
        assert self.keep_out is not None
        left = np.asarray(self.keep_out.distances(along).min(axis=1) - self.margin)
        self._known = (along, float(left.min()))
        return left

    def _surely_clear(self, path: FloatArray) -> bool:
        """True if the stop with positions `path` (3, n) is clear by a bound on what changed since the last full look, which costs a tenth of one."""
        along, left = self._known
        if left <= 0 or self.keep_out is None:
            return False
        return left > self.keep_out.change(path, along)
