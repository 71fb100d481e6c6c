"""A simulated robot whose sensors, motors and buttons fail on schedule, behind the hardware interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taustack.layout import RobotState
from taustack.sim.faults import Fault
from taustack.sim.faulty_sensor import FaultySensor
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
DRAIN = 0.03  # a delay that ends leaves a queue, which empties by this much faster than the commands come


class FaultyRobot:
    """Wraps a plant. Only what the robot itself can suffer is here; faults of plans and processes are injected where those are.

    Args:
        plant: the truth.
        faults: what goes wrong; times count from the plant's time 0.
        rng: source of sensor noise.
    """

    def __init__(self, plant: MujocoPlant, faults: Sequence[Fault], rng: np.random.Generator) -> None:
        self.plant, self.faults = plant, tuple(faults)
        self._sensor: FaultySensor[RobotState] = FaultySensor(faults, rng, plant.dt, plant.robot.rates.tracker_hz)
        self._payload_mass = float(plant.model.body("payload").mass[0]) if plant.scenario.payload_kg else 0.0

    def read(self) -> RobotState:
        """Newest measurement, as the sensors that fail show it."""
        return self._sensor.spoilt(self.plant.read(), self.plant.data.time)

    def write(self, q_ref: FloatArray, dq_ref: FloatArray) -> None:
        self.plant.write(q_ref, dq_ref)

    def damp(self) -> None:
        self.plant.damp()

    @property
    def estop_pressed(self) -> bool:
        return any(fault.kind == "estop_of_robot" and fault.active(self.plant.data.time) for fault in self.faults)

    @property
    def self_stopped(self) -> bool:
        return self.plant.self_stopped

    def advance(self, seconds: float) -> None:
        """Simulate this long, in whole steps."""
        for _ in range(round(seconds / self.plant.dt)):
            self.step()

    def step(self) -> None:
        """One step of the plant, with what its motors and its surroundings suffer."""
        plant, t = self.plant, self.plant.data.time
        if not self.faults:
            plant.step()
            return
        plant.torque_scale[:] = 1.0
        delay_s = plant.scenario.actuator_delay_s
        plant.push[:] = 0.0
        for fault in self.faults:
            if not fault.active(t):
                continue
            if fault.kind == "actuator_saturated":
                plant.torque_scale *= fault.strength
            elif fault.kind == "joint_dead":
                plant.torque_scale[fault.joint] = 0.0
            elif fault.kind == "actuator_delayed":
                delay_s += fault.strength
            elif fault.kind == "pushed":
                plant.push[1] += fault.strength
            elif fault.kind == "payload_dropped" and self._payload_mass:
                plant.model.body("payload").mass[0] = 1e-6
                plant.model.body("payload").inertia[:] = 1e-9
        plant.actuator_delay_s = max(delay_s, plant.actuator_delay_s - DRAIN * plant.dt)
        plant.step()
