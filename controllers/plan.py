"""The plan that passes from a planner to the tracker, and the rules by which the tracker accepts one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a plan was computed from, beside its first state: with it the same plan step gives the same bits again.

    goal: point (3,) [m], and joint positions (n,) if they are wanted, too; tau: steps left to reach it; trust: steps that were sampled;
    mean (H, nu): the plan before, shifted; weights (T,) of the cost terms;
    temperature; noise_seed of the planner; shards: how many of its sample shards were used; obstacles (N, 7): see taustack.obstacles.
    """

    goal: FloatArray
    tau: float
    trust: int
    mean: NDArray[np.float32]
    weights: NDArray[np.float32]
    temperature: float
    noise_seed: int
    shards: int
    obstacles: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """H actions with what the planner expects of them. Times are driver time [s].

    actions (H, nu) are reference velocities at the END of each step of `dt`; states (H+1, nx) begin at `effective_t`.
    """

    seq: int
    state_seq: int
    epoch: int
    state_t: float
    effective_t: float
    dt: float
    actions: FloatArray
    states: FloatArray
    cost: dict[str, float] = field(default_factory=dict)
    disagreement: FloatArray = field(default_factory=lambda: np.zeros(0))
    effective_samples: float = 0.0
    nonfinite_samples: int = 0
    plan_time_s: float = 0.0
    bundle_sha256: str = ""
    planner: str = "mppi"
    basis: Basis | None = None

    @property
    def end_t(self) -> float:
        return self.effective_t + len(self.actions) * self.dt

    def velocity(self, t: float, start: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Reference velocity (nu,) and its slope (nu,) at time t: linear between actions, from `start` at effective_t."""
        steps = (t - self.effective_t) / self.dt
        i = min(max(math.floor(steps), 0), len(self.actions) - 1)
        before = self.actions[i - 1] if i > 0 else start
        slope = (self.actions[i] - before) / self.dt
        fraction = min(max(steps - i, 0.0), 1.0)
        return before + slope * (fraction * self.dt), slope


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What the tracker asks of a plan before it follows it. max_jump (nu,): its first action from the velocity it takes over at."""

    nu: int
    max_age_s: float = 0.1
    max_horizon: int = 400
    max_jump: FloatArray


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

    def admit(self, plan: Plan, now: float, expected: Callable[[float], FloatArray]) -> bool:
        """True if the plan may be followed; counts it either way. `expected`: velocity (nu,) of the reference at a time."""
        reason = self.fault(plan, now, expected)
        if reason is not None:
            self.dropped[reason] += 1
            return False
        self._last_seq = plan.seq
        self.accepted += 1
        self.deadline_misses += now > plan.effective_t
        return True

    def fault(self, plan: Plan, now: float, expected: Callable[[float], FloatArray]) -> str | None:
        """Why the plan is dropped: wrong_size, not_finite, wrong_epoch, out_of_order, stale, from_the_future, jump; or None."""
        h = len(plan.actions)
        if plan.actions.ndim != 2 or plan.actions.shape[1] != self.rules.nu or not 1 <= h <= self.rules.max_horizon:
            return "wrong_size"
        if not (np.isfinite(plan.actions).all() and np.isfinite([plan.state_t, plan.effective_t, plan.dt]).all() and plan.dt > 0):
            return "not_finite"
        if plan.epoch != self._epoch:
            return "wrong_epoch"
        if plan.seq <= self._last_seq:
            return "out_of_order"
        if now - plan.state_t > self.rules.max_age_s:
            return "stale"
        if plan.state_t > now + 1e-3 or plan.effective_t - plan.state_t > self.rules.max_age_s:
            return "from_the_future"
        if (np.abs(plan.actions[0] - expected(plan.effective_t)) > self.rules.max_jump).any():
            return "jump"
        return None
