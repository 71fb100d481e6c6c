"""The tracker: at each tick it samples the newest plan and moves the filtered reference. It never waits for a planner."""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.following import Following, Signals, Transition
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.load import Load, LoadEstimate
from taustack.controllers.monitors import OverloadMonitor, SensorMonitor
from taustack.controllers.plan import Plan
from taustack.controllers.plan_gate import Expected, PlanGate, PlanRules, velocity_of
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.layout import RobotState, State

FloatArray = NDArray[np.float64]
OUTSIDE = 1e-3  # [rad or m] that a robot may stand outside its position limits and still start
JUMP_STEPS = 3.0  # control steps of full acceleration that a plan's first action may be away from the reference


class Tracker:
    """Follows plans while they are fresh; otherwise brings the reference to rest and holds it there.

    Args:
        robot: limits, margins and tick.
        keep_out: the robot's parts and its cell, for the safety filter.
    """

    def __init__(self, robot: RobotConfig, keep_out: KeepOut | None = None) -> None:
        self.dt = 1.0 / robot.rates.tracker_hz
        self.robot, self.rules = robot, robot.safety
        self.gate = PlanGate(PlanRules(nu=robot.n, max_jump=JUMP_STEPS * robot.rates.control_dt * robot.limits("acceleration")))
        self.filter = SafetyFilter(robot, self.dt, keep_out)
        self.sensors, self.overload = SensorMonitor(robot), OverloadMonitor(robot, self.dt)
        self.load = LoadEstimate(robot, self.dt)
        self.following = Following(self.gate, robot.safety, self.dt)
        self.estop = self.following.estop
        self.reference = Reference.at_rest(robot.home)
        self.acted: Counter[str] = Counter()
        self.acted_most: dict[str, float] = {}
        self._zero = np.zeros(robot.n)
        self._start = self._zero

    @property
    def state(self) -> State:
        """Of the table in `controllers/states`."""
        return self.following.state

    @property
    def reason(self) -> str:
        """Why it is in that state."""
        return self.following.reason

    @property
    def epoch(self) -> int:
        """Counts resets."""
        return self.following.epoch

    @property
    def journal(self) -> deque[Transition]:
        """The newest changes of state; `transitions` counts all."""
        return self.following.journal

    @property
    def transitions(self) -> int:
        return self.following.transitions

    @property
    def active(self) -> Plan | None:
        """The plan that is followed."""
        return self.following.active

    @property
    def plan_seq(self) -> int:
        """Sequence number of the plan that is followed, 0 if none."""
        return self.active.seq if self.active else 0

    @property
    def commands(self) -> bool:
        """False until the first trusted measurement: before it there is no reference that the robot could be given."""
        return self.sensors.trusted is not None

    @property
    def damped(self) -> bool:
        """True if the robot gets no reference."""
        return self.state == "damped"

    @property
    def dropped(self) -> Counter[str]:
        """Plans that were not followed, by reason."""
        return self.following.dropped

    def offer(self, plan: Plan, now: float) -> bool:
        """Hand over a plan; False if it was dropped (see `dropped`)."""
        newest = self.following.newest
        return self.following.offer(plan, now, Expected(newest, self._start if newest is not None else self.reference.dq))

    def step(self, now: float, sample: RobotState, signals: Signals = Signals()) -> Reference:
        """One tick at driver time `now` [s] over the newest measurement: the reference to apply until the next (see also `damped`)."""
        fault = self.sensors.look(sample, now, self.reference.dq)
        self.following.listen(signals, now)
        if signals.reset and self.following.reset(now, rests=self.reference.rests):
            self.overload.reset()
        load = None
        if fault is None and not signals.self_stopped and self.state not in ("idle", "damped"):
            load = self.load.look(self.reference, sample.q, sample.dq)
        self.following.judge(now, fault, self._overload(fault, signals, load), signals, lambda: self._begin(now, sample))
        if self.following.choose(now):
            self._start = self.reference.dq
        self.following.tire(now)
        self._move(now, sample, fault, signals, load)
        return self.reference

    def _overload(self, fault: str | None, signals: Signals, load: Load | None) -> str | None:
        """Why the robot should be damped, or None."""
        if fault is not None or signals.self_stopped:  # the reference is the robot's own then, and still moves
            self.overload.reset()
            return None
        if load is not None and not load.amiss:  # the look would find as much, for the price of a call
            self.overload.reset()
            return None
        return self.overload.look(load.torque, load.error) if load is not None else None

    def _begin(self, now: float, sample: RobotState) -> str | None:
        """From idle to ready, unless the robot stands outside its limits."""
        outside = (sample.q < self.robot.q_min - OUTSIDE) | (sample.q > self.robot.q_max + OUTSIDE)
        if outside.any():
            i = int(np.argmax(outside))
            limits = list(self.robot.joints[i].position)
            self.following.reason = f"{self.robot.joint_names[i]} stands at {sample.q[i]:.3f}, outside its limits {limits}: move it back by hand"
            return "outside"
        self.reference = Reference.at_rest(sample.q_ref)
        self.following.tell("trusted", now, "measurements are trusted")
        return None

    def _move(self, now: float, sample: RobotState, fault: str | None, signals: Signals, load: Load | None) -> None:
        if self.state in ("idle", "damped") or signals.self_stopped:
            self.load.forget()
            if fault is None:
                self.reference = Reference.at_rest(sample.q if self.damped else sample.q_ref)
            return
        plan = self.active
        if plan is None:
            self.reference = self.filter.stop(self.reference)
            self.load.remember(self.reference)
            return
        dq, ddq = velocity_of(plan, now + self.dt, self._start)
        self.reference, acted = self.filter.step(self.reference, dq, ddq, load.torque if load is not None else None)
        self.load.remember(self.reference)
        for rule, amount in acted.items():
            self.acted[rule] += 1
            self.acted_most[rule] = max(amount, self.acted_most.get(rule, 0.0))
