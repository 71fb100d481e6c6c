"""Planners of subgoals by name."""

from __future__ import annotations

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.straight import StraightLines
from taustack.controllers.subgoals import Direct, SubgoalPlanner
from taustack.controllers.tdm_bundle import tdm_of
from taustack.controllers.tdm_planner import TDMSubgoals
from taustack.errors import UnknownName

KINDS = ("direct", "straight", "tdm")
OVER_A_MODEL = ("tdm",)
"""Those that plan over a model of the bundle."""


def make_subgoal_planner(kind: str, robot: RobotConfig, task: TaskConfig, bundle: Bundle | None = None) -> SubgoalPlanner:
    """The planner of a kind, with the obstacles of the task; those OVER_A_MODEL need the bundle.

    Raises:
        UnknownName: none of KINDS.
        BundleRefused: the kind plans over a model that the bundle has not, or that does not fit the robot.
    """
    if kind == "direct":
        return Direct(task.subgoals.speed)
    if kind == "straight":
        return StraightLines(robot, task.subgoals, task.obstacles)
    if kind == "tdm" and bundle is not None:
        return TDMSubgoals(robot, task.subgoals, tdm_of(bundle, robot), task.success.tolerance, task.obstacles)
    raise UnknownName("planner of subgoals", kind, KINDS)
