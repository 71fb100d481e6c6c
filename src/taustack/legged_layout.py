"""What a planner of a walk sees and does: the parts of its state x and of its action u, and where each stands in the vector.

x: `up` (3,) the vertical in the base frame; `velocity` (3,) [m/s] of the base along its heading, sideways and upwards; `rate` (3,) [rad/s] in
the base frame; `q`, `dq` (n,) [rad, rad/s]; `strides` (5,) that the gait follows at the moment, as an action; `clock` (2,) sine and cosine of
the gait's phase. u: forward, sideways [m/s] and turn [rad/s] of the strides, then where feet land, forward and sideways [m].
"""

from __future__ import annotations

LEARNED = ("up", "velocity", "rate", "q", "dq")
"""What a model predicts; the rest follows from the action exactly."""
ACTIONS = ("forward", "sideways", "turn", "landing_forward", "landing_sideways")
NU = len(ACTIONS)


def layout(n: int) -> dict[str, slice]:
    """Where each part of x stands, for n joints."""
    sizes = {"up": 3, "velocity": 3, "rate": 3, "q": n, "dq": n, "strides": NU, "clock": 2}
    out, at = {}, 0
    for name, size in sizes.items():
        out[name] = slice(at, at + size)
        at += size
    return out


def learned_size(n: int) -> int:
    """Numbers of x that a model predicts: they come first."""
    return 9 + 2 * n


def state_size(n: int) -> int:
    """Numbers of x."""
    return learned_size(n) + NU + 2
