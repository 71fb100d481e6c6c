"""Planners of subgoals by name."""

from __future__ import annotations

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.straight import StraightLines
from taustack.controllers.subgoals import Direct, SubgoalPlanner
from taustack.errors import UnknownName

KINDS = ("direct", "straight")


def make_subgoal_planner(kind: str, robot: RobotConfig, task: TaskConfig) -> SubgoalPlanner:
    """The planner of a kind, with the obstacles of the task.

    Raises:
        UnknownName: none of KINDS.
    """
    if kind == "direct":
        return Direct(task.subgoals.speed)
    if kind == "straight":
        return StraightLines(robot, task.subgoals, task.obstacles)
    raise UnknownName("planner of subgoals", kind, KINDS)
