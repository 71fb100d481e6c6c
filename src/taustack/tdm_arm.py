"""Temporal difference models of an arm: what state, goal and action are. Goals are the end effector's place, or the joints' positions."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.layout import RobotState
from taustack.tdm_layout import FreeMotion, TDMLayout

FloatArray = NDArray[np.float64]
GoalSpace = Literal["end_effector_position", "joint_positions"]
AXES = ("x", "y", "z")
STEP_S = {"end_effector_position": 0.05, "joint_positions": 0.1}
"""Joints have further to go: 16 steps of 0.1 s turn a joint by some 3 rad, the same of 0.05 s by half of it."""


def layout_of(robot: RobotConfig, space: GoalSpace, tau_max: int) -> TDMLayout:
    """State, goal and action of a robot's TDM; actions are velocities of the reference at the end of a step."""
    names = robot.joint_names
    angles = (*(f"sin {n}" for n in names), *(f"cos {n}" for n in names))
    if space == "end_effector_position":
        state: tuple[str, ...] = (*angles, *(f"dq_ref {n}" for n in names), *(f"ee {a}" for a in AXES))
        goal = state[-3:]
    else:
        state = (*angles, *(f"dq {n}" for n in names), *(f"lead {n}" for n in names), *(f"dq_ref {n}" for n in names), *(f"q {n}" for n in names))
        goal = state[-robot.n :]
    limit, acceleration = (tuple((robot.limit_fraction * robot.limits(what)).tolist()) for what in ("velocity", "acceleration"))
    free = FreeMotion(velocity=tuple(f"dq_ref {n}" for n in names), acceleration=acceleration) if space == "joint_positions" else None
    return TDMLayout(state=state, goal=goal, action=names, action_limit=limit, dt=STEP_S[space], tau_max=tau_max, free_motion=free)


def reach_state(state: RobotState) -> FloatArray:
    """State (3 n + 3,) for goals of the end effector."""
    return np.concatenate([np.sin(state.q), np.cos(state.q), state.dq_ref, state.ee])


def joint_state(x: Any, xp: Any = np) -> Any:
    """States (..., 6 n) for goals of the joints, of robot states x (..., 4 n) as in `taustack.layout`; xp is numpy or torch.

    The joints have limits, so that their positions do not wrap and may stand there as they are, for the goal's sake.
    """
    n = x.shape[-1] // 4
    q, dq, q_ref, dq_ref = (x[..., i * n : (i + 1) * n] for i in range(4))
    return xp.concatenate([xp.sin(q), xp.cos(q), dq, q_ref - q, dq_ref, q], -1)


def at_rest(q: Any, xp: Any = np) -> Any:
    """The same of a robot that stands still at q (..., n)."""
    zero = 0.0 * q
    return xp.concatenate([xp.sin(q), xp.cos(q), zero, zero, zero, q], -1)
