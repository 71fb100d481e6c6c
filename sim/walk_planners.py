"""Laws and planners of a walk by name, for runs in process."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from taustack.controllers.walk_bundle import WalkBundle, load_walk_bundle
from taustack.controllers.walk_laws import WALK_LAWS, WalkLaw, make_walk_law
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.errors import UnknownName
from taustack.legged import LeggedConfig, load_legged
from taustack.sim.walk_mujoco import MujocoWalkMPPI
from taustack.walk_task import WalkTaskConfig

MPPI, MPPI_MUJOCO = "mppi", "mppi_mujoco"
WALK_PLANNERS = (*WALK_LAWS, MPPI, MPPI_MUJOCO)


@functools.cache
def _verified(folder: Path, robot_folder: Path) -> WalkBundle:
    """Verify a bundle once a process."""
    return load_walk_bundle(folder, load_legged(robot_folder))


def make_walk_planner(name: str, robot: LeggedConfig, task: WalkTaskConfig, bundle: Path, rng: np.random.Generator) -> WalkLaw:
    """A law without a model, or MPPI over the bundle's or over MuJoCo, its noise drawn from `rng`.

    Raises:
        UnknownName: none of them.
        BundleRefused: the bundle does not fit the robot.
    """
    if name == MPPI:
        return WalkMPPI(_verified(bundle, robot.folder), robot, task, rng)
    if name == MPPI_MUJOCO:
        return MujocoWalkMPPI(robot, task, rng, threads=1)
    if name in WALK_LAWS:
        return make_walk_law(name, robot)
    raise UnknownName("planner", name, WALK_PLANNERS)
