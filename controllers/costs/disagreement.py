"""Disagreement of the ensemble: keeps the plan where the model knows the robot."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout


def disagreement(rollout: Rollout, xp: Any) -> Any:
    """Mean over the horizon of the normalised one-step disagreement."""
    return rollout.disagreement.mean(0)
