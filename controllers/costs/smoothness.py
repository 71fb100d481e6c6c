"""Change of the action from step to step, the first against the reference before it."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout


def smoothness(rollout: Rollout, xp: Any) -> Any:
    """Squared change of the action as a fraction of what the acceleration limit allows, mean over joints and horizon."""
    first = (rollout.u[0] - rollout.dq_ref) / rollout.rate_limit
    later = (rollout.u[1:] - rollout.u[:-1]) / rollout.rate_limit
    steps = rollout.u.shape[0]
    return ((first * first).mean(-1) + (later * later).mean(-1).sum(0)) / steps
