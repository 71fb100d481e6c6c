"""The rules by which a tracker accepts a plan, and the velocity that it takes out of one at a tick."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.compiled import BOOL, FLOAT, INT, MATRIX, NOTHING, STORE_MATRIX, VECTOR, compiled, tuple_of
from taustack.controllers.plan import Plan

FloatArray = NDArray[np.float64]
NO_PLAN: FloatArray = np.zeros((0, 0))


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What the tracker asks of a plan before it follows it. max_jump (nu,): its first action from the velocity it takes over at."""

    nu: int
    max_age_s: float = 0.1
    max_horizon: int = 400
    max_jump: FloatArray


class Expected(NamedTuple):
    """The velocity that a new plan takes over at: of the plan before, which took effect at velocity start (nu,), or `start` itself if there is none."""

    plan: Plan | None
    start: FloatArray


class PlanGate:
    """Accepts or drops plans, and counts what it dropped by reason."""

    def __init__(self, rules: PlanRules) -> None:
        self.rules = rules
        self.dropped: Counter[str] = Counter()
        self.accepted = 0
        self.deadline_misses = 0
        self._last_seq = -1
        self._epoch = 0

    def new_epoch(self, epoch: int) -> None:
        """Forget the order of plans: the robot was reset."""
        self._epoch, self._last_seq = epoch, -1

    def admit(self, plan: Plan, now: float, expected: Expected) -> bool:
        """True if the plan may be followed; counts it either way."""
        reason = self.fault(plan, now, expected)
        if reason is not None:
            self.dropped[reason] += 1
            return False
        self._last_seq = plan.seq
        self.accepted += 1
        self.deadline_misses += now > plan.effective_t
        return True

    def fault(self, plan: Plan, now: float, expected: Expected) -> str | None:
        """Why the plan is dropped: wrong_size, wrong_type, not_finite, wrong_epoch, out_of_order, stale, from_the_future, jump; or None."""
        h = len(plan.actions)
        if plan.actions.ndim != 2 or plan.actions.shape[1] != self.rules.nu or not 1 <= h <= self.rules.max_horizon:
            return "wrong_size"
        if plan.actions.dtype != float:
            return "wrong_type"
        if not (math.isfinite(plan.state_t + plan.effective_t + plan.dt) and plan.dt > 0):
            return "not_finite"
        before, start = expected
        if before is None:
            finite, near = _judged(plan.actions, NO_PLAN, start, 0.0, self.rules.max_jump)
        else:
            steps = (plan.effective_t - before.effective_t) / before.dt
            finite, near = _judged(plan.actions, before.actions, start, steps, self.rules.max_jump)
        if not finite:
            return "not_finite"
        if plan.epoch != self._epoch:
            return "wrong_epoch"
        if plan.seq <= self._last_seq:
            return "out_of_order"
        if now - plan.state_t > self.rules.max_age_s:
            return "stale"
        if plan.state_t > now + 1e-3 or plan.effective_t - plan.state_t > self.rules.max_age_s:
            return "from_the_future"
        return None if near else "jump"


def velocity_of(plan: Plan, t: float, start: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`Plan.velocity`, compiled for a tick; planners take that one, for they start without the compiler."""
    sampled = np.empty((2, plan.actions.shape[1]))
    _velocity(plan.actions, start, (t - plan.effective_t) / plan.dt, plan.dt, sampled)
    return sampled[0], sampled[1]


@compiled(tuple_of(INT, FLOAT), FLOAT, INT)
def _place(steps: float, h: int) -> tuple[int, float]:
    """Of so many steps after a plan of h steps took effect: the step that is under way, and the share of it that is over."""
    i = int(min(max(math.floor(steps), 0.0), h - 1.0))
    return i, min(max(steps - i, 0.0), 1.0)


@compiled(NOTHING, MATRIX, VECTOR, FLOAT, FLOAT, STORE_MATRIX)
def _velocity(actions: FloatArray, start: FloatArray, steps: float, dt: float, sampled: FloatArray) -> None:
    """Put velocity and slope so many steps after a plan took effect into `sampled` (2, nu)."""
    i, share = _place(steps, len(actions))
    for j in range(actions.shape[1]):
        before = actions[i - 1, j] if i > 0 else start[j]
        sampled[1, j] = (actions[i, j] - before) / dt
        sampled[0, j] = before + (actions[i, j] - before) * share


@compiled(tuple_of(BOOL, BOOL), MATRIX, MATRIX, VECTOR, FLOAT, VECTOR)
def _judged(actions: FloatArray, before: FloatArray, start: FloatArray, steps: float, most: FloatArray) -> tuple[bool, bool]:
    """Whether no entry is infinite or not a number, and whether the first action (n,) is no farther than it may be from the velocity so many steps
    after the plan `before` took effect at velocity start (n,), or from `start` if that plan has no steps."""
    near, h = True, len(before)
    i, share = _place(steps, max(h, 1))
    for j in range(actions.shape[1]):
        expected = before[i - 1, j] if i > 0 else start[j]
        if h > 0:
            expected += (before[i, j] - expected) * share
        near = near and abs(actions[0, j] - expected) <= most[j]
    return bool(np.isfinite(actions).all()), near
