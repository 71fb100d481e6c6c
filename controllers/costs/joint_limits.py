"""Nearness of the joints to their position limits."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

MARGIN = 0.25  # share of the range, at either end, in which the cost rises: wide, or the joints drift to their limits over many goals


def joint_limits(rollout: Rollout, xp: Any) -> Any:
    """Sum over joints of the squared depth in the margin (1 at the limit), mean over the horizon."""
    margin = MARGIN * (rollout.q_max - rollout.q_min)
    above = (rollout.q - (rollout.q_max - margin)) / margin
    below = ((rollout.q_min + margin) - rollout.q) / margin
    depth = xp.clip(xp.maximum(above, below), 0.0, None)
    return (depth * depth).sum(-1).mean(0)
