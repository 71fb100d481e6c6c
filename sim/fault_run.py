"""A run under faults, in lockstep: the robot's own driver core and planner; the judge is the plant's state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.following import Transition
from taustack.controllers.planner import Planner
from taustack.errors import PlanFailed
from taustack.layout import State
from taustack.sim.episode import LimitJudge
from taustack.sim.fault_plans import SILENT, PlansUnderWay
from taustack.sim.fault_schedule import Schedule
from taustack.sim.faults import Fault
from taustack.sim.faulty_robot import FaultyRobot
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]
STILL = 0.05  # [rad/s or m/s] of the plant, below which it stands
SINKS = 0.1  # the same for a damped arm, which sinks under a payload it does not know, at torque over damping
FALLS = 0.5  # the same with a dead motor, which nothing holds


@dataclass(frozen=True, kw_only=True)
class FaultRun:
    """What happened, one row a tracker tick. dq (T, n): the plant's. dq_ref (T, n): what arrived at the plant's input."""

    t: FloatArray
    q: FloatArray
    dq: FloatArray
    dq_ref: FloatArray
    states: list[State]
    journal: list[Transition]
    violations: dict[str, int]
    impacts: int
    self_stopped: NDArray[np.bool_]
    contacts: int
    dropped: dict[str, int]
    final_state: State
    final_reason: str
    dead_joints: tuple[int, ...]

    @property
    def unsafe_end(self) -> str | None:
        """Why the run did not end safely, or None: the plant moves though no plan is followed."""
        following = self.final_state == "running" and not self.self_stopped[-1]
        speed = np.abs(np.delete(self.dq[-1], self.dead_joints))
        limit = FALLS if self.dead_joints else SINKS if self.final_state == "damped" else STILL
        if not following and speed.size and speed.max() > limit:
            return f"moves at {speed.max():.3f} in state {self.final_state}"
        return None


class FaultRig:
    """Everything of a run; `run` goes through it tick by tick."""

    def __init__(self, robot: RobotConfig, scenario: Scenario, planner: Planner, goal: FloatArray, faults: Sequence[Fault], seed: int) -> None:
        self.robot, self.planner, self.goal, self.faults = robot, planner, goal, tuple(faults)
        rng = np.random.default_rng([seed, 77])
        self.plant = MujocoPlant(robot, scenario, rng)
        self.hardware = FaultyRobot(self.plant, faults, rng)
        self.core = DriverCore(robot, self.hardware, keep_out_from_model(self.plant.nominal, robot))
        self.judge = LimitJudge(robot, self.plant.torque_limit, dead=dead_joints(faults))
        self.schedule = Schedule(faults, robot.safety.bridge_timeout_s)
        self._plans = PlansUnderWay(self.schedule, robot.limits("velocity"))

    def run(self, seconds: float) -> FaultRun:
        """Plan, tick, step, judge."""
        ticks = round(seconds * self.robot.rates.tracker_hz)
        per_plan = round(self.robot.rates.control_dt * self.robot.rates.tracker_hz)
        rows: list[tuple[float, FloatArray, FloatArray, FloatArray, bool]] = []
        states: list[State] = []
        contacts = 0
        dt = self.core.tracker.dt
        for tick in range(ticks):
            now = tick * dt
            if tick % per_plan == 0 and tick:
                self._plan(now)
            for plan in self._plans.due(now):
                self.core.offer(plan)
            if self.schedule.ticks(tick, self.plant.data.time):
                self.core.tick(now, self.schedule.signals(now))
            self.hardware.advance(dt)
            reference = self.plant.self_stop.reference
            self.judge.look(self.plant, reference.dq, damped=self.plant.self_stop.damped)
            contacts += self.plant.data.ncon > 0
            truth = self.plant.truth()
            rows.append((truth.t, truth.q, truth.dq, reference.dq.copy(), self.plant.self_stopped))
            states.append(self.core.tracker.state)
        t, q, dq, dq_ref, stopped = (np.array(column) for column in zip(*rows, strict=True))
        tracker = self.core.tracker
        return FaultRun(
            t=t, q=q, dq=dq, dq_ref=dq_ref, states=states, journal=list(tracker.journal), violations=self.judge.count, impacts=self.judge.impacts,
            self_stopped=stopped, contacts=contacts, dropped=dict(tracker.dropped), final_state=tracker.state, final_reason=tracker.reason,
            dead_joints=dead_joints(self.faults),
        )  # fmt: skip

    def _plan(self, now: float) -> None:
        """One plan of the planner, sent on its way."""
        newest = self.core.newest
        if newest is None or self.schedule.active(now, *SILENT):
            return
        goal = self.goal
        if self.schedule.active(now, "goal_jumps") and int(2 * now) % 2:
            goal = goal * np.array([1.0, -1.0, 1.0])
        try:
            plan = self.planner.plan(newest, goal)
        except PlanFailed:
            return
        self._plans.send(plan, now)


def dead_joints(faults: Sequence[Fault]) -> tuple[int, ...]:
    """Joints that nothing can hold: their position and speed are not judged."""
    return tuple(sorted({fault.joint for fault in faults if fault.kind == "joint_dead"}))
