"""Keep the wanted velocity."""

from __future__ import annotations

from typing import Any

from taustack.walk_rollout import WalkRollout

SCALE = 0.1
"""Of an error that costs 1 [m/s, rad/s]; turns weigh half as much."""
MOMENT = 0.1
"""Share of the errors of single steps beside those of whole strides."""


def velocity(rollout: WalkRollout, xp: Any) -> Any:
    """Squared errors of the velocity averaged over each whole stride of the horizon, in which a trot's own sway is none, and a tenth of each step's."""
    h, stride = rollout.turn.shape[0], min(rollout.stride, rollout.turn.shape[0])
    forward, sideways = rollout.velocity[..., 0] - rollout.wanted[0], rollout.velocity[..., 1] - rollout.wanted[1]
    turn = 0.5 * (rollout.turn - rollout.wanted[2])
    cost = 0.0
    for error in (forward, sideways, turn):
        starts = range(0, h - stride + 1, max(1, (h - stride + 1) // 3))
        strides = sum((error[s : s + stride].mean(0)) ** 2 for s in starts) / len(starts)
        cost = cost + (strides + MOMENT * (error**2).mean(0)) / SCALE**2
    return cost
