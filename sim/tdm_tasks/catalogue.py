"""Tasks by name: the small ones, those of gymnasium, or any robot with a space that its goals lie in."""

from __future__ import annotations

from collections.abc import Callable

from taustack.config import load_robot
from taustack.errors import UnknownName
from taustack.legged import load_legged
from taustack.models.tdm.task import GoalTask
from taustack.robot_folders import has_legs, is_robot, robot_folders
from taustack.sim.legged_scenario import load_legged_scenario
from taustack.sim.scenario import load_scenario
from taustack.sim.tdm_tasks.arm import ArmJoints, ArmReach
from taustack.sim.tdm_tasks.double_integrator import DoubleIntegrator
from taustack.sim.tdm_tasks.gymnasium_tasks import TASKS, GymnasiumTask
from taustack.sim.tdm_tasks.legs import BasePosition, BaseVelocity
from taustack.sim.tdm_tasks.planar_reacher import PlanarReacher

SMALL: dict[str, Callable[..., GoalTask]] = {"double_integrator": DoubleIntegrator, "planar_reacher": PlanarReacher}
OF_ARMS: dict[str, Callable[..., GoalTask]] = {"end_effector_position": ArmReach, "joint_positions": ArmJoints}
OF_LEGS: dict[str, Callable[..., GoalTask]] = {"base_position": BasePosition, "base_velocity": BaseVelocity}


def make_task(name: str, tau_max: int, scenario: str = "nominal", goal_space: str | None = None) -> GoalTask:
    """A task by its name, a robot by name or folder; the scenario and the space of goals (default: its kind's first) are those of the robot.

    Raises:
        UnknownName: neither a task nor a robot, or no goal space of such a robot.
        TaustackError: a task of gymnasium, which is not installed.
        BadInput: the robot's file is at fault.
    """
    if name in SMALL:
        return SMALL[name](tau_max=tau_max)
    if name in TASKS:
        return GymnasiumTask(name, tau_max)
    if not is_robot(name):
        raise UnknownName("task or robot", name, [*SMALL, *TASKS, *robot_folders()])
    legs = has_legs(name)
    kinds = OF_LEGS if legs else OF_ARMS
    goal_space = goal_space or next(iter(kinds))
    if goal_space not in kinds:
        raise UnknownName(f"goal space of {name}", goal_space, kinds)
    if legs:
        return kinds[goal_space](load_legged(name), load_legged_scenario(scenario), tau_max=tau_max)
    robot = load_robot(name)
    return kinds[goal_space](robot, load_scenario(scenario, robot.n), tau_max=tau_max)
