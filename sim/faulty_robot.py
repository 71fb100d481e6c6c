"""A simulated robot whose sensors, motors and buttons fail on schedule, behind the hardware interface."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taustack.layout import RobotState
from taustack.sim.faults import Fault
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
HISTORY = 300  # measurements kept for delays
DRAIN = 0.03  # a delay that ends leaves a queue, which empties by this much faster than the commands come


class FaultyRobot:
    """Wraps a plant. Only what the robot itself can suffer is here; faults of plans and processes are injected where those are.

    Args:
        plant: the truth.
        faults: what goes wrong; times count from the plant's time 0.
        rng: source of sensor noise.
    """

    def __init__(self, plant: MujocoPlant, faults: Sequence[Fault], rng: np.random.Generator) -> None:
        self.plant, self.faults, self.rng = plant, tuple(faults), rng
        self._history: deque[RobotState] = deque(maxlen=HISTORY)
        self._stuck: dict[int, tuple[float, float]] = {}
        self._frozen: dict[str, RobotState] = {}
        self._payload_mass = float(plant.model.body("payload").mass[0]) if plant.scenario.payload_kg else 0.0

    def read(self) -> RobotState:
        """Newest measurement, as the sensors that fail show it."""
        state = self.plant.read()
        if not self.faults:
            return state
        if not self._history or state.t > self._history[-1].t:
            self._history.append(state)
        for fault in self.faults:
            if fault.active(self.plant.data.time):
                state = self._spoil(state, fault)
            else:
                self._frozen.pop(fault.kind, None)
        return state

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

    def _spoil(self, state: RobotState, fault: Fault) -> RobotState:
        """The measurement under one fault."""
        kind, n = fault.kind, len(state.q)
        if kind == "frozen_state":
            kept = self._frozen.setdefault(kind, state)
            return dataclasses.replace(kept, t=state.t)
        if kind == "state_stops":
            return self._frozen.setdefault(kind, state)
        if kind == "joints_permuted":
            order = np.arange(n)
            order[[0, -1]] = order[[-1, 0]]
            return dataclasses.replace(state, q=state.q[order], dq=state.dq[order])
        if kind == "joint_missing":
            return dataclasses.replace(state, q=state.q[:-1], dq=state.dq[:-1])
        if kind == "joints_doubled":
            return dataclasses.replace(state, q=np.tile(state.q, 2), dq=np.tile(state.dq, 2))
        if kind in ("position_jump", "stuck_sensor", "nan_sensor", "infinite_sensor"):
            return self._spoil_joint(state, fault)
        if kind == "noisy_sensor":
            return dataclasses.replace(state, q=state.q + self.rng.normal(0.0, fault.strength, n))
        if kind == "delayed_sensor":
            return self._from_history(round(fault.strength / self.plant.dt))
        return self._spoil_order(state, fault)

    def _spoil_joint(self, state: RobotState, fault: Fault) -> RobotState:
        q, dq, joint = state.q.copy(), state.dq.copy(), fault.joint
        if fault.kind == "position_jump":
            q[joint] += fault.strength
        elif fault.kind == "nan_sensor":
            q[joint] = np.nan
        elif fault.kind == "infinite_sensor":
            dq[joint] = np.inf
        else:
            q[joint], dq[joint] = self._stuck.setdefault(joint, (float(q[joint]), float(dq[joint])))
        return dataclasses.replace(state, q=q, dq=dq)

    def _spoil_order(self, state: RobotState, fault: Fault) -> RobotState:
        tick = round(self.plant.data.time * self.plant.robot.rates.tracker_hz)
        per_tick = round(1.0 / (self.plant.dt * self.plant.robot.rates.tracker_hz))
        if fault.kind in ("late_samples", "doubled_samples"):
            return self._from_history(per_tick) if tick % 2 else state
        if fault.kind == "reordered_samples":
            return self._from_history(2 * per_tick) if tick % 2 else state
        if fault.kind == "clock_jump":
            return dataclasses.replace(state, t=state.t + fault.strength)
        return state

    def _from_history(self, steps: int) -> RobotState:
        per_sample = max(1, round(1.0 / (self.plant.dt * self.plant.robot.rates.tracker_hz)))
        back = min(len(self._history), 1 + steps // per_sample)
        return self._history[-back]
