"""Distance of the end effector to the goal along the horizon, logarithmic."""

from __future__ import annotations

from typing import Any

from taustack.rollout import Rollout

RESOLUTION_M = 1e-3  # below this distance the logarithm is flat


def goal_position(rollout: Rollout, xp: Any) -> Any:
    """Mean over the steps from tau on of log(d^2 + RESOLUTION^2), d in metres.

    The logarithm keeps a slope near the goal: a linear distance stops some millimetres away, where it drowns in the
    other terms (Levine et al. 2016, arXiv 1504.00702, eq. 3 of its cost function).
    """
    offset = rollout.ee - rollout.goal[:, None, None]
    cost = xp.log((offset * offset).sum(0) + RESOLUTION_M**2)
    step = xp.arange(cost.shape[0]) + 1.0
    counts = (step >= rollout.tau) * 1.0
    weight = counts / (counts.sum() + 1e-9)
    return (cost * weight[:, None]).sum(0)
