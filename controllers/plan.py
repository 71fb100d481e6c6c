"""The plan that passes from a planner to the tracker."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
NOTHING: FloatArray = np.zeros(0)


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


class Plan(NamedTuple):
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
    cost: Mapping[str, float] = MappingProxyType({})
    disagreement: FloatArray = NOTHING
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
