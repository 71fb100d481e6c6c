"""Keep the base level and calm."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout

TILT, RATE = 0.1, 1.0
"""Tilt [rad] and turn rate about a horizontal axis [rad/s] that cost 1 each."""


def posture(rollout: WalkRollout, xp: Any) -> Any:
    """Squares of the tilt and of its rate, averaged over the horizon."""
    tilt = (rollout.up[..., :2] ** 2).sum(-1) / TILT**2
    rate = (rollout.rate[..., :2] ** 2).sum(-1) / RATE**2
    return (tilt + rate).mean(0)
