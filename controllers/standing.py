"""A robot on legs that stands, to plan from where none is at hand: for warming up, and for trying a bundle."""

from __future__ import annotations

import numpy as np

from taustack.controllers.base_state import BaseEstimate
from taustack.controllers.gait import Gait
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig


def standing(robot: LeggedConfig) -> WalkState:
    """At rest, at home, at the gait's height."""
    base = BaseEstimate(
        position=np.array([0.0, 0.0, robot.gait.height]), velocity=np.zeros(3), quaternion=np.array([1.0, 0.0, 0.0, 0.0]), turn_rate=np.zeros(3),
        covariance=np.eye(6) * 1e-4, slipping=np.zeros(len(robot.legs), dtype=bool),
    )  # fmt: skip
    return WalkState(t=0.0, base=base, q=robot.of_joints("home"), dq=np.zeros(robot.n), gait=Gait(robot, 1.0 / robot.rates.tracker_hz).state)
