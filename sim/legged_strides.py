"""What velocity a commanded stride gives, measured as on the real robot: by its own estimator, over commands that it walks through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.base_estimator import BaseEstimator
from taustack.controllers.gait import Gait, GaitCommand
from taustack.legged import LeggedConfig
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_scenario import LeggedScenario

FloatArray = NDArray[np.float64]
SHARE = 0.5
"""Of the largest strides that commands are drawn from: with 0.8 the robot falls at a quarter of them."""
HOLD_S, SETTLE_S = 2.4, 0.8
"""Each command is kept for so long, and looked at after so long: whole strides."""


def measure_strides(robot: LeggedConfig, scenario: LeggedScenario, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int]:
    """Commands (N, 3), mean velocities that the estimator saw (N, 3), and how often the robot fell, in which case that command is left out."""
    dt = 1.0 / robot.rates.tracker_hz
    plant, gait, estimator = LeggedPlant(robot, scenario, rng), Gait(robot, dt), BaseEstimator(robot, dt)
    commands, velocities, falls = [], [], 0
    begun = False
    for _ in range(count):
        if not begun:
            plant.reset()
            gait.reset()
            estimator.reset(plant.truth().position, 0.0, plant.read().q)
            begun = True
        command = GaitCommand(velocity=rng.uniform(-1, 1, 3) * SHARE * np.array(robot.gait.velocity))
        seen = []
        for tick in range(round(HOLD_S / dt)):
            targets = gait.step(command)
            plant.write(targets)
            plant.step()
            estimate = estimator.step(plant.read(), targets.stance)
            if tick * dt >= SETTLE_S:
                seen.append(estimate.local_velocity)
        if plant.fallen:
            falls, begun = falls + 1, False
        else:
            commands.append(command.velocity)
            velocities.append(np.mean(seen, axis=0))
    return np.array(commands), np.array(velocities), falls
