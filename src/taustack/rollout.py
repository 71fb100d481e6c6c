"""What a cost term sees: the sampled rollouts of one plan step, as arrays of numpy or torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.config import Clearance, RobotConfig


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Sampled rollouts. Time runs first, then K samples: q (H, K, n) is the state AFTER each of the H steps.

    What is (n,) may be (K, n) as well, the same for each sample: over the last axis a graph broadcasts slowly.

    Attributes:
        q, dq: joint positions and velocities (H, K, n).
        u: actions (H, K, n), reference velocity at the end of each step.
        dq_ref: reference velocity before the first step (n,).
        ee: end-effector position, components first (3, H, K) [m].
        spheres: centres of the robot's clearance spheres (3, P, H, K) [m].
        clearance: radii and what to keep clear of.
        room: distance of each of the robot's C capsules to each of N obstacles (N, C, S, K) [m], at S steps spread over the horizon.
        goal: goal (3,) [m].
        posture: configuration (n,) that a subgoal asks for; where none is asked for its term weighs nothing.
        tau: whole steps left to reach it, a scalar; 0 means as soon as possible.
        disagreement: one-step disagreement of the ensemble, normalised (S, K), at S steps spread over the horizon.
        q_min, q_max: position limits (n,).
        velocity_limit, rate_limit: bounds on u and on its change in one step (n,).
        load: predicted torque after each step as a share of its limit (H, K, n).
    """

    q: Any
    dq: Any
    u: Any
    dq_ref: Any
    ee: Any
    spheres: Any
    clearance: Clearance
    room: Any
    goal: Any
    posture: Any
    tau: Any
    disagreement: Any
    q_min: Any
    q_max: Any
    velocity_limit: Any
    rate_limit: Any
    load: Any


class Runs(Protocol):
    """What a session of onnxruntime offers."""

    def run(self, names: None, feed: dict[str, Any]) -> list[Any]:
        """Outputs of the graph."""
        ...


def roll_open_loop(dynamics: Runs, x: NDArray[np.float64], u: NDArray[np.float64]) -> NDArray[np.float64]:
    """States (S, H, nx) after each step of dynamics.onnx from x (S, nx) under u (S, H, nu)."""
    state, out = x.astype(np.float32), []
    for k in range(u.shape[1]):
        state, *_ = dynamics.run(None, {"x": state, "u": u[:, k].astype(np.float32)})
        out.append(state.astype(np.float64))
    return np.stack(out, axis=1)


CostTerm = Callable[[Rollout, Any], Any]
"""(rollout, xp) -> cost (K,); xp is numpy or torch, so one text is exported into the plan graph and tested in numpy."""


@dataclass(frozen=True, kw_only=True)
class ActionBounds:
    """Bounds of the planner on its actions (n,): velocity, and change of velocity in one step."""

    velocity: NDArray[np.float64]
    rate: NDArray[np.float64]

    @classmethod
    def of(cls, robot: RobotConfig) -> ActionBounds:
        """As robot.yaml has them."""
        return cls(
            velocity=robot.limit_fraction * robot.limits("velocity"), rate=robot.limit_fraction * robot.limits("acceleration") * robot.rates.control_dt
        )  # fmt: skip
