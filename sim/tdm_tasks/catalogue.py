"""Tasks by name: the small ones, those of gymnasium, or any robot with an end effector."""

from __future__ import annotations

from collections.abc import Callable

from taustack.config import load_robot
from taustack.errors import UnknownName
from taustack.models.tdm.task import GoalTask
from taustack.robot_folders import is_robot, robot_folders
from taustack.sim.scenario import load_scenario
from taustack.sim.tdm_tasks.arm import ArmJoints, ArmReach
from taustack.sim.tdm_tasks.double_integrator import DoubleIntegrator
from taustack.sim.tdm_tasks.gymnasium_tasks import TASKS, GymnasiumTask
from taustack.sim.tdm_tasks.planar_reacher import PlanarReacher
from taustack.tdm_arm import GoalSpace

SMALL: dict[str, Callable[..., GoalTask]] = {"double_integrator": DoubleIntegrator, "planar_reacher": PlanarReacher}


def make_task(name: str, tau_max: int, scenario: str = "nominal", goal_space: GoalSpace = "end_effector_position") -> GoalTask:
    """A task by its name, a robot by name or folder; the scenario and the space of goals are those of the robot.

    Raises:
        UnknownName: neither a task nor a robot.
        TaustackError: a task of gymnasium, which is not installed.
    """
    if name in SMALL:
        return SMALL[name](tau_max=tau_max)
    if name in TASKS:
        return GymnasiumTask(name, tau_max)
    if not is_robot(name):
        raise UnknownName("task or robot", name, [*SMALL, *TASKS, *robot_folders()])
    robot = load_robot(name)
    kind = ArmReach if goal_space == "end_effector_position" else ArmJoints
    return kind(robot, load_scenario(scenario, robot.n), tau_max=tau_max)
