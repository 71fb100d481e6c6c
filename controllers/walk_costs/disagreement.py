"""Stay where the model knows."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout


def disagreement(rollout: WalkRollout, xp: Any) -> Any:
    """One-step disagreement of the ensemble, averaged over the steps that were looked at."""
    return rollout.disagreement.mean(0)
