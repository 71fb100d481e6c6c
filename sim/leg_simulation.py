"""A simulated robot on legs for a process of its own: law of the motors, own watchdog, and the true course of the run."""

from __future__ import annotations

import numpy as np

from taustack.controllers.gait_state import LegTargets
from taustack.controllers.leg_watchdog import LegSelfStop
from taustack.controllers.leg_wire import LegCommand, LegMeasurement, pack_measurement, unpack_command
from taustack.legged import LeggedConfig
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.plant_process import TRACE_S
from taustack.sim.trace import Trace


class LegSimulation:
    """A `Simulated`.

    Args:
        robot, scenario: what is simulated.
        seed: of the sensors' noise.
    """

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario, seed: int = 0) -> None:
        self.robot = robot
        self.plant = LeggedPlant(robot, scenario, np.random.default_rng(seed))
        self._steps = round(robot.rates.plant_hz / robot.rates.tracker_hz)
        self.period_s = self._steps * self.plant.dt
        self.self_stop = LegSelfStop(robot, self.plant.dt)
        vectors = {"position": 3, "velocity": 3, "quaternion": 4, **dict.fromkeys(("q", "dq", "torque"), robot.n)}
        self.trace = Trace({"t": 1, "self_stopped": 1, "damped": 1, "fallen": 1, **vectors}, round(TRACE_S * robot.rates.plant_hz))

    def unpack(self, data: bytes) -> LegCommand:
        return unpack_command(data, self.robot.n)

    def take(self, command: LegCommand) -> None:
        if not self.self_stop.command(command, self.plant.joints()[0]):
            return
        if command.damped:
            self.plant.damp()
        else:
            stance = np.ones(len(self.robot.legs), dtype=bool)  # what the motors do not know
            self.plant.write(LegTargets(q=command.q, dq=command.dq, torque=command.torque, stance=stance))

    def advance(self, end: float) -> None:
        for _ in range(self._steps):
            if self.self_stop.step():
                self.plant.damp()
            self.plant.step()
        truth, (q, dq) = self.plant.truth(), self.plant.joints()
        self.trace.add(
            end, self.self_stop.stopped, self.self_stop.damped, self.plant.fallen, truth.position, truth.velocity, truth.quaternion, q, dq,
            self.plant.torque,
        )  # fmt: skip

    def measured(self, deadline: float) -> bytes:
        sample = self.plant.read()._replace(t=deadline)
        return pack_measurement(LegMeasurement(sample=sample, self_stopped=self.self_stop.stopped))
