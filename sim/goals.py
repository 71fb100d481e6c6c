"""Goals that the robot can reach: end-effector positions of random configurations that touch nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.errors import TaustackError
from taustack.kinematics import KinematicChain
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
FRONT_X, FRONT_Z = 0.2, 0.1  # [m]


def draw_goal(plant: MujocoPlant, chain: KinematicChain, rng: np.random.Generator) -> FloatArray:
    """A goal (3,) [m] as the scenario asks: in front (x >= 0.2 m and z >= 0.1 m), or anywhere around the arm."""
    robot = plant.robot
    front = plant.scenario.goals == "front"
    for _ in range(10_000):
        q = rng.uniform(robot.q_min, robot.q_max)
        goal = chain.position(q)
        if front and (goal[0] < FRONT_X or goal[2] < FRONT_Z):
            continue
        if robot.workspace.fault(goal) is None and not plant.in_collision(q):
            return np.asarray(goal)
    raise TaustackError(f"no reachable goal found for {robot.name} in 10,000 draws: check its workspace and limits")
