"""Temporal difference models of an arm: what state, goal and action are. Goals are the end effector's place, or the joints' positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.kinematics import KinematicChain
from taustack.layout import RobotState
from taustack.tdm_layout import FreeMotion, TDMLayout, TipChain

FloatArray = NDArray[np.float64]
AXES = ("x", "y", "z")


def layout_of(robot: RobotConfig, tau_max: int) -> TDMLayout:
    """State, goal and action of a robot's TDM of joint positions; actions are velocities of the reference at the end of a step."""
    names = robot.joint_names
    state = (*_angles(names), *(f"dq {n}" for n in names), *(f"lead {n}" for n in names), *(f"dq_ref {n}" for n in names), *(f"q {n}" for n in names))
    limit, acceleration = _limits(robot)
    free = FreeMotion(velocity=tuple(f"dq_ref {n}" for n in names), acceleration=acceleration)
    return TDMLayout(
        state=state, goal=state[-robot.n :], action=names, action_limit=limit, dt=robot.goal_spaces.joint_positions.dt, tau_max=tau_max, free_motion=free
    )  # fmt: skip


def reach_layout(robot: RobotConfig, chain: KinematicChain, tau_max: int) -> TDMLayout:
    """The same of a TDM whose goals are places of the end effector, which `chain` carries."""
    names = robot.joint_names
    state = (*_angles(names), *(f"dq_ref {n}" for n in names), *(f"q {n}" for n in names), *(f"ee {a}" for a in AXES))
    limit, acceleration = _limits(robot)
    free = FreeMotion(
        velocity=tuple(f"dq_ref {n}" for n in names), acceleration=acceleration, position=tuple(f"q {n}" for n in names), tip=TipChain.of(chain)
    )  # fmt: skip
    return TDMLayout(
        state=state, goal=state[-3:], action=names, action_limit=limit, dt=robot.goal_spaces.end_effector_position.dt, tau_max=tau_max, free_motion=free
    )  # fmt: skip


def _angles(names: tuple[str, ...]) -> tuple[str, ...]:
    return (*(f"sin {n}" for n in names), *(f"cos {n}" for n in names))


def _limits(robot: RobotConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of velocity and of acceleration, as planners may use them."""
    velocity, acceleration = (tuple((robot.limit_fraction * robot.limits(what)).tolist()) for what in ("velocity", "acceleration"))
    return velocity, acceleration


def reach_state(state: RobotState) -> FloatArray:
    """State (4 n + 3,) for goals of the end effector."""
    return np.concatenate([np.sin(state.q), np.cos(state.q), state.dq_ref, state.q, state.ee])


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
