"""Where episodes begin and what they have to reach: configurations that touch nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import Region, RobotConfig, TaskConfig
from taustack.errors import TaustackError
from taustack.kinematics import KinematicChain
from taustack.sim.mjcf import chain_from_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]
FRONT_X, FRONT_Z = 0.2, 0.1  # [m]
DRAWS = 10_000
STEPS, CLOSE_M, DAMPING_M = 60, 2e-3, 0.05  # of the least squares that bring the arm to a point
SPREAD = 0.15  # of the configurations it begins from [rad or m]


def scenario_of_task(robot: RobotConfig, task: TaskConfig, scenario: Scenario, rng: np.random.Generator) -> Scenario:
    """The scenario with what the task adds to it: its obstacles, and a start in its region. All that simulates a task begins with it.

    Raises:
        TaustackError: no start found.
    """
    scenario = scenario.model_copy(update={"obstacles": (*scenario.obstacles, *task.obstacles)})
    if task.start is None:
        return scenario
    plant = MujocoPlant(robot, scenario)
    near = robot.home if task.start_near is None else np.array(task.start_near)
    start = configuration_in(task.start, plant, chain_from_model(plant.nominal, robot), rng, near)
    return scenario.model_copy(update={"initial_q": tuple(start.tolist())})


def draw_goal(plant: MujocoPlant, chain: KinematicChain, rng: np.random.Generator, region: Region | None = None) -> FloatArray:
    """A goal (3,) [m] that the robot can be at: in a region, or as the scenario asks, in front (x >= 0.2 m and z >= 0.1 m) or anywhere.

    Raises:
        TaustackError: none found.
    """
    if region is not None:
        return np.asarray(chain.position(configuration_in(region, plant, chain, rng, plant.robot.home)))
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


def configuration_in(region: Region, plant: MujocoPlant, chain: KinematicChain, rng: np.random.Generator, near: FloatArray) -> FloatArray:
    """Joint positions (n,) that touch nothing, near some others (n,), with the end effector at a random point of a region.

    Raises:
        TaustackError: none found.
    """
    robot = plant.robot
    for _ in range(DRAWS // STEPS):
        point = rng.uniform(region.low, region.high)
        q = _brought_to(point, chain, np.clip(near + SPREAD * rng.normal(size=robot.n), robot.q_min, robot.q_max), robot.q_min, robot.q_max)
        if q is not None and robot.workspace.fault(chain.position(q)) is None and not plant.in_collision(q):
            return q
    raise TaustackError(f"{robot.name} cannot be between {list(region.low)} and {list(region.high)} m without touching something: check the task's regions")


def _brought_to(point: FloatArray, chain: KinematicChain, q: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray | None:
    """Damped least squares (Wampler 1986) from q (n,) to a configuration with the tip at a point (3,) [m], or None."""
    for _ in range(STEPS):
        jacobian, tip = chain.jacobian(q)
        error = point - tip
        if np.linalg.norm(error) < CLOSE_M:
            return q
        q = np.clip(q + jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING_M**2 * np.eye(3), error), low, high)
    return None
