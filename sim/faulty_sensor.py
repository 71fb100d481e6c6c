"""Measurements as sensors that fail on schedule show them, of arms and of robots on legs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np

from taustack.controllers.base_state import ImuSample
from taustack.layout import RobotState
from taustack.sim.faults import Fault

S = TypeVar("S", RobotState, ImuSample)
HISTORY = 300  # measurements kept for delays


class FaultySensor(Generic[S]):
    """See the module.

    Args:
        faults: what goes wrong; times count from the plant's time 0.
        rng: source of noise.
        dt: step of the plant [s].
        tracker_hz: measurements a second.
    """

    def __init__(self, faults: Sequence[Fault], rng: np.random.Generator, dt: float, tracker_hz: float) -> None:
        self.faults, self.rng, self._dt, self._hz = tuple(faults), rng, dt, tracker_hz
        self._per_sample = max(1, round(1.0 / (dt * tracker_hz)))
        self._history: deque[S] = deque(maxlen=HISTORY)
        self._stuck: dict[int, tuple[float, float]] = {}
        self._frozen: dict[str, S] = {}

    def spoilt(self, state: S, now: float) -> S:
        """The newest measurement, as the sensors show it at time now [s] of the plant."""
        if not self.faults:
            return state
        if not self._history or state.t > self._history[-1].t:
            self._history.append(state)
        for fault in self.faults:
            if fault.active(now):
                state = self._under(fault, state, now)
            else:
                self._frozen.pop(fault.kind, None)
        return state

    def _under(self, fault: Fault, state: S, now: float) -> S:
        """The measurement under one fault."""
        kind, n = fault.kind, len(state.q)
        if kind == "frozen_state":
            kept = self._frozen.setdefault(kind, state)
            return kept._replace(t=state.t)
        if kind == "state_stops":
            return self._frozen.setdefault(kind, state)
        if kind == "joints_permuted":
            order = np.arange(n)
            order[[0, -1]] = order[[-1, 0]]
            return state._replace(q=state.q[order], dq=state.dq[order])
        if kind == "joint_missing":
            return state._replace(q=state.q[:-1], dq=state.dq[:-1])
        if kind == "joints_doubled":
            return state._replace(q=np.tile(state.q, 2), dq=np.tile(state.dq, 2))
        if kind in ("position_jump", "stuck_sensor", "nan_sensor", "infinite_sensor"):
            return self._of_a_joint(fault, state)
        if kind == "noisy_sensor":
            return state._replace(q=state.q + self.rng.normal(0.0, fault.strength, n))
        if kind == "delayed_sensor":
            return self._from_history(round(fault.strength / self._dt))
        return self._in_time(fault, state, now)

    def _of_a_joint(self, fault: Fault, state: S) -> S:
        q, dq, joint = state.q.copy(), state.dq.copy(), fault.joint
        if fault.kind == "position_jump":
            q[joint] += fault.strength
        elif fault.kind == "nan_sensor":
            q[joint] = np.nan
        elif fault.kind == "infinite_sensor":
            dq[joint] = np.inf
        else:
            q[joint], dq[joint] = self._stuck.setdefault(joint, (float(q[joint]), float(dq[joint])))
        return state._replace(q=q, dq=dq)

    def _in_time(self, fault: Fault, state: S, now: float) -> S:
        tick = round(now * self._hz)
        if fault.kind in ("late_samples", "doubled_samples"):
            return self._from_history(self._per_sample) if tick % 2 else state
        if fault.kind == "reordered_samples":
            return self._from_history(2 * self._per_sample) if tick % 2 else state
        if fault.kind == "clock_jump":
            return state._replace(t=state.t + fault.strength)
        return state

    def _from_history(self, steps: int) -> S:
        back = min(len(self._history), 1 + steps // self._per_sample)
        return self._history[-back]
