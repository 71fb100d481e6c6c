"""What a cost term of a walk sees: the sampled rollouts of one plan step, as arrays of numpy or torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class WalkRollout:
    """Sampled rollouts. Time runs first, then K samples; states are those AFTER each of the H steps.

    Attributes:
        up: the vertical in the base frame (H, K, 3).
        velocity: of the base along its heading, sideways, upwards (H, K, 3) [m/s].
        turn: turn rate about the vertical (H, K) [rad/s].
        rate: turn rate in the base frame (H, K, 3) [rad/s].
        u: actions (H, K, nu), and u_before (nu,) the strides before the first: see taustack.legged_layout.
        most: largest actions (nu,), or the same for each sample (K, nu).
        wanted: velocity that is wanted (3,): forward, sideways [m/s], turn [rad/s].
        stride: steps of one stride.
        disagreement: one-step disagreement of the ensemble, normalised (S, K), at S steps spread over the horizon.
    """

    up: Any
    velocity: Any
    turn: Any
    rate: Any
    u: Any
    u_before: Any
    most: Any
    wanted: Any
    stride: int
    disagreement: Any


WalkCostTerm = Callable[[WalkRollout, Any], Any]
"""(rollout, xp) -> cost (K,); xp is numpy or torch, so one text is exported into the plan graph and tested in numpy."""
