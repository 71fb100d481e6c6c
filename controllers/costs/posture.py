"""Distance of the joints to the configuration that a planner of subgoals asks for; weighs nothing where none is asked for."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

RESOLUTION = 0.05  # below this distance the logarithm is flat [rad or m]


def posture(rollout: Rollout, xp: Any) -> Any:
    """Mean over the steps of log(d^2 + RESOLUTION^2), d the root mean square over the joints."""
    offset = rollout.q - rollout.posture
    return xp.log((offset * offset).mean(-1) + RESOLUTION**2).mean(0)
