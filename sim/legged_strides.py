"""What velocity a commanded stride gives, measured as on the real robot: by its own estimator, over commands that it walks through."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.gait_state import GaitCommand
from taustack.legged import LeggedConfig
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.legged_scenario import LeggedScenario

FloatArray = NDArray[np.float64]
SHARE = 0.5
"""Of the largest strides that commands are drawn from: with 0.8 the robot falls at a quarter of them."""
HOLD_S, SETTLE_S = 2.4, 0.8
"""Each command is kept for so long, and looked at after so long: whole strides."""


def measure_strides(robot: LeggedConfig, scenario: LeggedScenario, count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, int]:
    """Commands (N, 3), mean velocities that the estimator saw (N, 3), and how often the robot fell, in which case that command is left out."""
    rig = LeggedRig(LeggedPlant(robot, scenario, rng))
    commands, velocities, falls = [], [], 0
    for _ in range(count):
        command = GaitCommand(velocity=rng.uniform(-1, 1, 3) * SHARE * np.array(robot.gait.velocity))
        seen = [rig.tick(command).base.local_velocity for _ in range(round(HOLD_S / rig.dt))]
        if rig.plant.fallen:
            falls += 1
            rig.reset()
        else:
            commands.append(command.velocity)
            velocities.append(np.mean(seen[round(SETTLE_S / rig.dt) :], axis=0))
    return np.array(commands), np.array(velocities), falls
