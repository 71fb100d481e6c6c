"""The arithmetic of one step of the reference, compiled in one piece: bounds, jerk-limited step, fastest stop, and by how much each rule acted.

Each joint for itself. All of it stands in one module, because Numba's cache of a function knows only the file that function stands in.
Stops are the time-optimal ones of Ruckig's velocity interface (Berscheid and Kroeger 2021, section V), which the tests hold them to.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.compiled import BOOL, FLOAT, INT, MATRIX, NEW_MATRIX, STORE, STORE_MATRIX, VECTOR, compiled, tuple_of

FloatArray = NDArray[np.float64]
Q_MIN, Q_MAX, V_MAX, A_MAX, JERK_MAX, TORQUE_MAX, GAIN, STEP_OF_A, BRAKING, REACTION = range(10)
"""Rows of the table (10, n) that `filter_step` takes: limits, and what follows from them, see `JerkLimited` and `velocity_bounds`."""
RULES = ("finite", "velocity", "position", "torque", "acceleration", "jerk", "stopping_distance")
FINITE, VELOCITY, POSITION, TORQUE, ACCELERATION, JERK, STOPPING_DISTANCE = range(7)
FIRST, HOLD, LAST, FIRST_JERK, LAST_JERK, LOWEST, HIGHEST = range(7)
"""Rows of a stop (7, n): how long the acceleration rises, stays and falls [s], the jerk with which it rises and falls, and the stop's reach."""
THIRDS = (0.33, 0.67, 1.0)
TINY = 1e-9
SHORT = 1e-3  # [rad/s or m/s] of velocity that acceleration or jerk kept back, to be told


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


@compiled(NEW_MATRIX, *[VECTOR] * 10, FLOAT)
def towards(
    q: FloatArray, v: FloatArray, a: FloatArray, dq: FloatArray, ddq: FloatArray, low: FloatArray, high: FloatArray,
    gain: FloatArray, a_max: FloatArray, step_of_acceleration: FloatArray, dt: float,
) -> FloatArray:  # fmt: skip
    """Position, velocity, acceleration (3, n) after one tick towards velocity dq (n,) with slope ddq (n,), between velocities low and high (n,).

    Jerk comes last: no bound on the velocity may break it.
    """
    after = np.empty((3, len(q)))
    q_new, v_new, a_new = after[0], after[1], after[2]
    for i in range(len(q)):
        wanted = ddq[i] + gain[i] * (dq[i] - v[i] - ddq[i] * dt)
        lowest = _clamp(gain[i] * (low[i] - v[i]), -a_max[i], a_max[i])
        highest = _clamp(gain[i] * (high[i] - v[i]), -a_max[i], a_max[i])
        a_new[i] = _clamp(_clamp(wanted, lowest, highest), a[i] - step_of_acceleration[i], a[i] + step_of_acceleration[i])
        v_new[i] = v[i] + a_new[i] * dt
        q_new[i] = q[i] + 0.5 * dt * (v[i] + v_new[i])
    return after


@compiled(tuple_of(*[FLOAT] * 5), FLOAT, FLOAT, FLOAT, FLOAT)
def _phases(v: float, a: float, a_max: float, jerk: float) -> tuple[float, float, float, float, float]:
    """The first five rows of a joint's fastest stop.

    The acceleration goes to a peak against what the velocity would be if it just went to zero, stays there, and goes to zero.
    """
    sign = -1.0 if v + a * abs(a) / (2 * jerk) > 0 else 1.0
    v, a = sign * v, sign * a  # from here on the peak is positive
    peak = math.sqrt(max(0.5 * a * a - jerk * v, 0.0))
    hold = 0.0
    if peak > a_max:
        peak = a_max
        hold = max((-v - 0.5 * (a + peak) * abs(peak - a) / jerk - 0.5 * peak * peak / jerk) / peak, 0.0)
    return abs(peak - a) / jerk, hold, peak / jerk, math.copysign(sign * jerk, sign * (peak - a)), -sign * jerk


@compiled(tuple_of(*[FLOAT] * 3), *[FLOAT] * 5)
def _jerked(q: float, v: float, a: float, jerk: float, t: float) -> tuple[float, float, float]:
    """Position, velocity and acceleration after t [s] of constant jerk."""
    return q + t * (v + t * (a / 2 + t * jerk / 6)), v + t * (a + t * jerk / 2), a + t * jerk


@compiled(NEW_MATRIX, VECTOR, VECTOR, VECTOR, MATRIX, FLOAT)
def stop_at(q: FloatArray, v: FloatArray, a: FloatArray, stop: FloatArray, t: float) -> FloatArray:
    """Position, velocity, acceleration (3, n) t [s] after the start of a stop from q, v, a (n,); exactly at rest after its end."""
    at = np.empty((3, len(q)))
    for i in range(len(q)):
        q_i, v_i, a_i, left = q[i], v[i], a[i], t
        for lasts, jerk in ((stop[FIRST, i], stop[FIRST_JERK, i]), (stop[HOLD, i], 0.0), (stop[LAST, i], stop[LAST_JERK, i])):
            q_i, v_i, a_i = _jerked(q_i, v_i, a_i, jerk, min(left, lasts))
            left = max(left - lasts, 0.0)
        rests = t >= stop[FIRST, i] + stop[HOLD, i] + stop[LAST, i]
        at[0, i], at[1, i], at[2, i] = q_i, 0.0 if rests else v_i, 0.0 if rests else a_i
    return at


@compiled(FLOAT, MATRIX)
def stop_duration(stop: FloatArray) -> float:
    """Time until the last joint rests [s]."""
    longest = 0.0
    for i in range(stop.shape[1]):
        longest = max(longest, stop[FIRST, i] + stop[HOLD, i] + stop[LAST, i])
    return longest


@compiled(NEW_MATRIX, VECTOR, VECTOR, VECTOR, MATRIX)
def stop_along(q: FloatArray, v: FloatArray, a: FloatArray, stop: FloatArray) -> FloatArray:
    """Positions (3, n) at a third, two thirds and the end of a stop."""
    along, duration = np.empty((3, len(q))), stop_duration(stop)
    for k in range(3):
        along[k] = stop_at(q, v, a, stop, THIRDS[k] * duration)[0]
    return along


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _before_turning(dq: float, ddq: float, jerk: float) -> float:
    """The way before a velocity that the acceleration reverses is zero; zero for a stop without a turn."""
    v, a = abs(dq), abs(ddq)
    root = a * a - 2 * jerk * v
    if dq * ddq >= 0 or root <= 0:
        return 0.0
    t = (a - math.sqrt(root)) / jerk
    return math.copysign(t * (v - t * (a / 2 - jerk * t / 6)), dq)


@compiled(NEW_MATRIX, *[VECTOR] * 5)
def fastest_stop(q: FloatArray, v: FloatArray, a: FloatArray, a_max: FloatArray, jerk: FloatArray) -> FloatArray:
    """The stop (7, n) from q, v, a (n,), see the rows above."""
    stop = np.empty((7, len(q)))
    for i in range(len(q)):
        stop[FIRST, i], stop[HOLD, i], stop[LAST, i], stop[FIRST_JERK, i], stop[LAST_JERK, i] = _phases(v[i], a[i], a_max[i], jerk[i])
    end = stop_at(q, v, a, stop, np.inf)[0]
    for i in range(len(q)):
        turn = q[i] + _before_turning(v[i], a[i], jerk[i])
        stop[LOWEST, i], stop[HIGHEST, i] = min(q[i], end[i], turn), max(q[i], end[i], turn)
    return stop


@compiled(FLOAT, VECTOR, VECTOR, VECTOR)
def outside(x: FloatArray, low: FloatArray, high: FloatArray) -> float:
    """By how much the entry farthest outside is outside its range; negative if all are inside, infinite if one is no number."""
    most = -np.inf
    for i in range(len(x)):
        if not math.isfinite(x[i]):
            return np.inf
        most = max(most, x[i] - high[i], low[i] - x[i])
    return most


@compiled(FLOAT, FLOAT, FLOAT, FLOAT)
def _brakes_within(room: float, braking: float, reaction: float) -> float:
    """The velocity from which a joint brakes within `room`: v / gain + v^2 / 2a = room, with reaction = a / gain."""
    return math.sqrt(reaction * reaction + 2 * braking * max(room, 0.0)) - reaction


@compiled(NEW_MATRIX, *[VECTOR] * 6)
def velocity_bounds(q: FloatArray, q_min: FloatArray, q_max: FloatArray, velocity: FloatArray, braking: FloatArray, reaction: FloatArray) -> FloatArray:
    """Least and largest velocity (2, n): within the limit, and under the braking curve before the position limits."""
    bounds = np.empty((2, len(q)))
    for i in range(len(q)):
        bounds[1, i] = min(_brakes_within(q_max[i] - q[i], braking[i], reaction[i]), velocity[i])
        bounds[0, i] = -min(_brakes_within(q[i] - q_min[i], braking[i], reaction[i]), velocity[i])
    return bounds


@compiled(FLOAT, VECTOR, VECTOR, STORE, STORE)
def _unload(torque: FloatArray, limit: FloatArray, dq: FloatArray, ddq: FloatArray) -> float:
    """Zero what a joint over its torque limit is asked to pull further: what it pushes against gives way or the reference waits.

    If there is such a joint, the most that a torque is over its limit.
    """
    most, any_pulls = 0.0, False
    for i in range(len(torque)):
        over = abs(torque[i]) - limit[i]
        most = max(most, over)
        if over > 0 and torque[i] * dq[i] > 0:
            dq[i], ddq[i], any_pulls = 0.0, 0.0, True
    return most if any_pulls else 0.0


@compiled(tuple_of(FLOAT, INT), VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, FLOAT)
def _kept_back(got: FloatArray, dq: FloatArray, low: FloatArray, high: FloatArray, v: FloatArray, a_max: FloatArray, dt: float) -> tuple[float, int]:
    """Most of what a joint's velocity is away from the one asked for, as far as that is within its bounds, and the rule that kept it back."""
    most, rule = 0.0, JERK
    for i in range(len(got)):
        most = max(most, abs(got[i] - _clamp(dq[i], low[i], high[i])))
        if abs(dq[i] - v[i]) > a_max[i] * dt:
            rule = ACCELERATION
    return most, rule


@compiled(tuple_of(FLOAT, NEW_MATRIX), VECTOR, VECTOR, VECTOR, STORE_MATRIX, MATRIX, FLOAT)
def _kept_stoppable(q: FloatArray, v: FloatArray, a: FloatArray, after: FloatArray, table: FloatArray, dt: float) -> tuple[float, FloatArray]:
    """Put the first tick of the stop from q, v, a (n,) into `after` (3, n) for joints whose stop would leave the position limits after it.

    A reference that began outside may move, but only back. Returns how far one would have gone, and the stop from what `after` is then.
    """
    q_min, q_max, a_max, jerk = table[Q_MIN], table[Q_MAX], table[A_MAX], table[JERK_MAX]
    amount, stop = 0.0, fastest_stop(after[0], after[1], after[2], a_max, jerk)
    if max(outside(stop[HIGHEST], q_min, q_max), outside(stop[LOWEST], q_min, q_max)) > TINY:
        before = fastest_stop(q, v, a, a_max, jerk)
        stopping = stop_at(q, v, a, before, dt)
        for i in range(len(q)):
            further = max(stop[HIGHEST, i] - max(q_max[i], before[HIGHEST, i]), min(q_min[i], before[LOWEST, i]) - stop[LOWEST, i])
            if further > TINY:
                amount = max(amount, further)
                after[:, i] = stopping[:, i]
        if amount > 0:
            stop = fastest_stop(after[0], after[1], after[2], a_max, jerk)
    return amount, stop


@compiled(BOOL, *[VECTOR] * 6, MATRIX, FLOAT, STORE, STORE_MATRIX)
def filter_step(
    q: FloatArray, v: FloatArray, a: FloatArray, dq: FloatArray, ddq: FloatArray, torque: FloatArray, table: FloatArray, dt: float, told: FloatArray,
    out: FloatArray,
) -> bool:  # fmt: skip
    """One tick from the reference q, v, a (n,) towards velocity dq (n,) with slope ddq (n,) at its end.

    Args:
        torque: what the impedance law at least has to give (n,); zero leaves the torque rule out.
        table: limits and gains (10, n), see the rows above.
        dt: tick [s].
        told: gets by how much each of `RULES` acted (7,), zero: not at all.
        out: gets (6, n) position, velocity and acceleration after the tick, then positions at a third, two thirds and the end of the fastest stop
            from there.

    Returns:
        Whether any rule acted.
    """
    dq, ddq = dq.copy(), ddq.copy()
    told[:] = 0.0
    if not (np.isfinite(dq).all() and np.isfinite(ddq).all()):
        told[FINITE], dq[:], ddq[:] = 1.0, 0.0, 0.0
    low, high = velocity_bounds(q, table[Q_MIN], table[Q_MAX], table[V_MAX], table[BRAKING], table[REACTION])
    over = outside(dq, low, high)
    if over > TINY:
        told[VELOCITY if (np.abs(dq) > table[V_MAX]).any() else POSITION] = over
    told[TORQUE] = _unload(torque, table[TORQUE_MAX], dq, ddq)
    after = towards(q, v, a, dq, ddq, low, high, table[GAIN], table[A_MAX], table[STEP_OF_A], dt)
    short, rule = _kept_back(after[1], dq, low, high, v, table[A_MAX], dt)
    if short > SHORT:
        told[rule] = short
    told[STOPPING_DISTANCE], stop = _kept_stoppable(q, v, a, after, table, dt)
    out[:3], out[3:] = after, stop_along(after[0], after[1], after[2], stop)
    return bool(told.any())
