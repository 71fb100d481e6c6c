"""Joint velocity: keeps the arm from moving more than it must."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout


def velocity(rollout: Rollout, xp: Any) -> Any:
    """Squared velocity as a fraction of the limits, mean over joints and horizon."""
    speed = rollout.dq / rollout.velocity_limit
    return (speed * speed).mean(-1).mean(0)
