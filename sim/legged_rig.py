"""A simulated robot on legs with what stands below its law: trajectory generators and estimator, at the tracker's rate."""

from __future__ import annotations

from taustack.controllers.base_estimator import BaseEstimator
from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_state import WalkState
from taustack.sim.legged_plant import LeggedPlant


class LeggedRig:
    """`tick()` advances 1 / tracker_hz.

    Args:
        plant: the robot.
    """

    def __init__(self, plant: LeggedPlant) -> None:
        self.plant, self.dt = plant, 1.0 / plant.robot.rates.tracker_hz
        self._gait, self._estimator = Gait(plant.robot, self.dt), BaseEstimator(plant.robot, self.dt)
        self._steps = round(plant.robot.rates.plant_hz / plant.robot.rates.tracker_hz)
        self.reset()

    def reset(self, yaw: float = 0.0) -> None:
        """Standing at home with a heading [rad]; where it begins is told to the estimator, nothing after it."""
        self.plant.reset(yaw)
        self._gait.reset()
        self.begin_estimate(yaw)

    def begin_estimate(self, yaw: float = 0.0) -> None:
        """Estimate anew from where the robot is, with a heading [rad], as if it were level and at rest."""
        self._estimator.reset(self.plant.truth().position, yaw, self.plant.read().q)

    def tick(self, command: GaitCommand) -> WalkState:
        """Follow a command for one tick, and say where that led."""
        targets = self._gait.step(command)
        self.plant.write(targets)
        for _ in range(self._steps):
            self.plant.step()
        sample = self.plant.read()
        return WalkState(t=sample.t, base=self._estimator.step(sample, targets.stance), q=sample.q, dq=sample.dq, gait=self._gait.state)
