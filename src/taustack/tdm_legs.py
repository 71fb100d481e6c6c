"""Temporal difference models of a robot on legs: what state, goal and action are. Goals are places of the base on the floor, or its velocities.

Actions are the strides that its gait is asked for; below it, gait, landings and the layer that watches over them stay what they are.
"""

from __future__ import annotations

from taustack.legged import LeggedConfig
from taustack.tdm_layout import TDMLayout

PLACE = ("x", "y")
VELOCITY = ("forward", "sideways", "turn")
"""Mean over the last stride."""
HEADING = ("sin yaw", "cos yaw")
REST = ("up x", "up y", *(f"stride {v}" for v in VELOCITY), "sin phase", "cos phase")
"""Of the world's vertical in the base, the strides that are walked, and the gait's clock."""
SHARE = 0.6
"""Of the largest strides: beyond, a robot that is pushed falls now and then, whoever commands it."""


def position_layout(robot: LeggedConfig, tau_max: int) -> TDMLayout:
    """Goals are places (x, y) in the frame of the odometry [m]."""
    return _layout(robot, (*PLACE, *HEADING, *VELOCITY, *REST), PLACE, robot.goal_spaces.base_position.dt, tau_max)


def velocity_layout(robot: LeggedConfig, tau_max: int) -> TDMLayout:
    """Goals are velocities [m/s, m/s, rad/s]; where the robot is has no part in it."""
    return _layout(robot, (*VELOCITY, *REST), VELOCITY, robot.goal_spaces.base_velocity.dt, tau_max)


def _layout(robot: LeggedConfig, state: tuple[str, ...], goal: tuple[str, ...], dt: float, tau_max: int) -> TDMLayout:
    limit = tuple(SHARE * v for v in robot.gait.velocity)
    return TDMLayout(state=state, goal=goal, action=tuple(f"stride {v}" for v in VELOCITY), action_limit=limit, dt=dt, tau_max=tau_max)
