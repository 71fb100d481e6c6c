"""A simulated arm for a process of its own: impedance law, own watchdog, faults, and the true course of the run."""

from __future__ import annotations

import numpy as np

from taustack.config import RobotConfig
from taustack.controllers.wire import CommandOut, Measurement, pack_measurement, unpack_command
from taustack.sim.faulty_robot import FaultyRobot
from taustack.sim.plant import MujocoPlant
from taustack.sim.plant_process import TRACE_S
from taustack.sim.scenario import Scenario
from taustack.sim.trace import Trace


class ArmSimulation:
    """A `Simulated`.

    Args:
        robot, scenario: what is simulated, with its faults; their times count from the first command.
    """

    def __init__(self, robot: RobotConfig, scenario: Scenario) -> None:
        self.robot = robot
        rng = np.random.default_rng(0)
        self.plant = MujocoPlant(robot, scenario, rng)
        self.hardware = FaultyRobot(self.plant, scenario.faults, rng)
        n, self._steps = robot.n, round(robot.rates.plant_hz / robot.rates.tracker_hz)
        self.period_s = self._steps * self.plant.dt
        vectors = dict.fromkeys(("q", "dq", "q_ref", "dq_ref", "torque"), n)
        self.trace = Trace({"t": 1, "self_stopped": 1, "damped": 1, "ee": 3, **vectors}, round(TRACE_S * robot.rates.plant_hz))

    def unpack(self, data: bytes) -> CommandOut:
        return unpack_command(data, self.robot.n)

    def take(self, command: CommandOut) -> None:
        if command.damped:
            self.hardware.damp()
        else:
            self.hardware.write(command.q_ref, command.dq_ref)

    def advance(self, end: float) -> None:
        for _ in range(self._steps):
            self.hardware.step()
        truth = self.plant.truth()
        self.trace.add(
            end, self.plant.self_stopped, self.plant.self_stop.damped, truth.ee, truth.q, truth.dq, truth.q_ref, truth.dq_ref, truth.torque
        )  # fmt: skip

    def measured(self, deadline: float) -> bytes:
        state = self.hardware.read()
        lag = self.plant.data.time - state.t  # a delayed or stopped sensor shows by its stamp
        stamped = state._replace(t=deadline - lag)
        return pack_measurement(Measurement(state=stamped, estop=self.hardware.estop_pressed, self_stopped=self.hardware.self_stopped))
