"""Feet land where their strides have them, unless there is a reason."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout


def landing(rollout: WalkRollout, xp: Any) -> Any:
    """Squares of the landings' offsets as shares of the largest, averaged over the horizon."""
    return ((rollout.u[..., 3:] / rollout.most[..., 3:]) ** 2).sum(-1).mean(0)
