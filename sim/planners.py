"""Planners by name, for runs in process."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from taustack.config import RobotConfig, TaskConfig, load_robot
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.planner import Planner
from taustack.controllers.subgoal_kinds import KINDS, make_subgoal_planner
from taustack.controllers.subgoals import Guided
from taustack.controllers.tdm_bundle import tdm_of
from taustack.controllers.tdm_policy import NAME as POLICY
from taustack.controllers.tdm_policy import TDMPolicy
from taustack.errors import UnknownName
from taustack.sim.baselines import LeastSquaresVelocity

PLANNERS = (*KINDS, POLICY, "least_squares")


@functools.cache
def _verified(folder: Path, robot_folder: Path) -> Bundle:
    """Verify a bundle once a process."""
    return load_bundle(folder, load_robot(robot_folder))


def make_planner(name: str, robot: RobotConfig, task: TaskConfig, bundle: Path, rng: np.random.Generator) -> Planner:
    """A planner for one run: MPPI over the bundle to the goal itself or to subgoals, its noise drawn from `rng`; or a baseline.

    Raises:
        UnknownName: none of the planners.
        BundleRefused: the bundle does not fit the robot.
    """
    if name in KINDS:
        verified = _verified(bundle, robot.folder)
        return Guided(MPPI(verified, robot, task, rng), make_subgoal_planner(name, robot, task, verified), task.subgoals.rate_hz)
    if name == POLICY:
        verified = _verified(bundle, robot.folder)
        policy = TDMPolicy(MPPI(verified, robot, task, rng), tdm_of(verified, robot), robot)
        return Guided(policy, make_subgoal_planner("tdm", robot, task, verified), task.subgoals.rate_hz)
    if name == "least_squares":
        return LeastSquaresVelocity(robot)
    raise UnknownName("planner", name, PLANNERS)
