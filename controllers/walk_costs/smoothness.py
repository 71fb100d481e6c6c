"""Change actions little from step to step."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout


def smoothness(rollout: WalkRollout, xp: Any) -> Any:
    """Squares of the changes from step to step, the first one from where the strides are, as shares of the largest actions, summed."""
    share = rollout.u / rollout.most
    first = (share[0] - rollout.u_before / rollout.most) ** 2
    return first.sum(-1) + ((share[1:] - share[:-1]) ** 2).sum((0, -1))
