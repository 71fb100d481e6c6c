"""Torque: keeps the motors away from their limits, where the robot no longer follows its reference."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

FREE = 0.7  # share of the limit that costs nothing


def load(rollout: Rollout, xp: Any) -> Any:
    """Sum over joints of the squared share beyond FREE (1 at the limit), mean over the horizon."""
    depth = xp.clip((xp.abs(rollout.load) - FREE) / (1.0 - FREE), 0.0, None)
    return (depth * depth).sum(-1).mean(0)
