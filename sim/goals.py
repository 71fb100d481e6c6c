"""Where episodes begin and what they have to reach: configurations that touch nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import Region
from taustack.errors import TaustackError
from taustack.kinematics import KinematicChain
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
FRONT_X, FRONT_Z = 0.2, 0.1  # [m]
DRAWS = 10_000
STEPS, CLOSE_M, DAMPING_M, DIFFERENCE = 60, 2e-3, 0.05, 1e-6  # of the least squares that bring the arm to a point
SPREAD = 0.15  # of the configurations it begins from [rad or m]


def draw_goal(plant: MujocoPlant, chain: KinematicChain, rng: np.random.Generator, region: Region | None = None) -> FloatArray:
    """A goal (3,) [m] that the robot can be at: in a region, or as the scenario asks, in front (x >= 0.2 m and z >= 0.1 m) or anywhere.

    Raises:
        TaustackError: none found.
    """
    if region is not None:
        return np.asarray(chain.position(configuration_in(region, plant, chain, rng)))
    robot = plant.robot
    front = plant.scenario.goals == "front"
    for _ in range(DRAWS):
        q = rng.uniform(robot.q_min, robot.q_max)
        goal = chain.position(q)
        if front and (goal[0] < FRONT_X or goal[2] < FRONT_Z):
            continue
        if robot.workspace.fault(goal) is None and not plant.in_collision(q):
            return np.asarray(goal)
    raise TaustackError(f"no reachable goal found for {robot.name} in {DRAWS} draws: check its workspace and limits")


def configuration_in(region: Region, plant: MujocoPlant, chain: KinematicChain, rng: np.random.Generator) -> FloatArray:
    """Joint positions (n,) that touch nothing, near home, with the end effector at a random point of a region.

    Raises:
        TaustackError: none found.
    """
    robot = plant.robot
    for _ in range(DRAWS // STEPS):
        point = rng.uniform(region.low, region.high)
        q = _brought_to(point, chain, np.clip(robot.home + SPREAD * rng.normal(size=robot.n), robot.q_min, robot.q_max), robot.q_min, robot.q_max)
        if q is not None and robot.workspace.fault(chain.position(q)) is None and not plant.in_collision(q):
            return q
    raise TaustackError(f"{robot.name} cannot be between {list(region.low)} and {list(region.high)} m without touching something: check the task's regions")


def _brought_to(point: FloatArray, chain: KinematicChain, q: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray | None:
    """Damped least squares (Wampler 1986) from q (n,) to a configuration with the tip at a point (3,) [m], or None."""
    for _ in range(STEPS):
        at = np.asarray(chain.position(np.vstack([q, q + DIFFERENCE * np.eye(len(q))])))
        error = point - at[0]
        if np.linalg.norm(error) < CLOSE_M:
            return q
        jacobian = (at[1:] - at[0]).T / DIFFERENCE
        q = np.clip(q + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING_M**2 * np.eye(3), error), low, high)
    return None
