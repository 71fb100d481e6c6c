"""Stay upright."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout

UPRIGHT = 0.9
"""Vertical component of the base's own up from which a tilt counts as the way to a fall."""
SINKS_M_S = 0.3
"""Speed downwards from which a robot counts as falling."""


def fall(rollout: WalkRollout, xp: Any) -> Any:
    """How far beyond a safe tilt, and how fast downwards beyond a trot's own bob, averaged over the horizon."""
    tilt = xp.clip(UPRIGHT - rollout.up[..., 2], 0.0, None) / (1 - UPRIGHT)
    sinks = xp.clip(-SINKS_M_S - rollout.velocity[..., 2], 0.0, None) / SINKS_M_S
    return (tilt + sinks).mean(0)
