"""The tracker: at each tick it samples the newest plan and moves the filtered reference. It never waits for a planner."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.estop import EStop
from taustack.controllers.keep_out import KeepOut
from taustack.controllers.load import LoadEstimate
from taustack.controllers.monitors import OverloadMonitor, SensorMonitor
from taustack.controllers.plan import Plan, PlanGate, PlanRules
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.controllers.states import Event, next_state
from taustack.layout import RobotState, State

FloatArray = NDArray[np.float64]
Load = tuple[FloatArray, FloatArray]  # torque and error (n,), see LoadEstimate
OUTSIDE = 1e-3  # [rad or m] that a robot may stand outside its position limits and still start
JUMP_STEPS = 3.0  # control steps of full acceleration that a plan's first action may be away from the reference


@dataclass(frozen=True, kw_only=True)
class Signals:
    """What others ask of the tracker at a tick. hold: why to hold. estop: sources and whether they are pressed."""

    hold: str | None = None
    estop: dict[str, bool] = field(default_factory=dict)
    reset: bool = False
    self_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of state, for the log."""

    t: float
    before: State
    after: State
    reason: str


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
        self.estop = EStop(timeout_s=robot.safety.estop_timeout_s)
        self.state: State = "idle"
        self.reason = "no measurement yet"
        self.epoch = 0
        self.reference = Reference.at_rest(robot.home)
        self.acted: Counter[str] = Counter()
        self.acted_most: dict[str, float] = {}
        self.refused: Counter[str] = Counter()
        self.journal: deque[Transition] = deque(maxlen=200)
        self.transitions = 0
        self._zero = np.zeros(robot.n)
        self._active: Plan | None = None
        self._pending: deque[Plan] = deque(maxlen=16)
        self._start = self._zero
        self._held_since = 0.0
        self._forbidden: str | None = "no measurement yet"

    @property
    def active(self) -> Plan | None:
        """The plan that is followed."""
        return self._active

    @property
    def plan_seq(self) -> int:
        """Sequence number of the plan that is followed, 0 if none."""
        return self._active.seq if self._active else 0

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
        return self.gate.dropped + self.refused

    def offer(self, plan: Plan, now: float) -> bool:
        """Hand over a plan; False if it was dropped (see `dropped`)."""
        if self._forbidden is not None:
            self.refused["not_now"] += 1
            return False
        if not self.gate.admit(plan, now, self._expected):
            return False
        # Plans wait in line: a new one often comes before the one ahead of it has taken effect.
        self._pending.append(plan)
        return True

    def _expected(self, t: float) -> FloatArray:
        """Velocity of the reference (n,) at time t [s], by the newest plan."""
        newest = self._pending[-1] if self._pending else self._active
        return newest.velocity(t, self._start)[0] if newest is not None else self.reference.dq

    def step(self, now: float, sample: RobotState, signals: Signals = Signals()) -> Reference:
        """One tick at driver time `now` [s] over the newest measurement: the reference to apply until the next (see also `damped`)."""
        fault = self.sensors.look(sample, now, self.reference.dq)
        for source, pressed in signals.estop.items():
            self.estop.hear(source, pressed, now)
        self.estop.look(now)
        if signals.reset:
            self._reset(now)
        load = None
        if fault is None and not signals.self_stopped and self.state not in ("idle", "damped"):
            load = self.load.look(self.reference, sample.q, sample.dq)
        self._forbidden = self._judge(now, sample, fault, signals, load)
        self._choose_plan(now)
        self._tire(now)
        self._move(now, sample, fault, signals, load)
        return self.reference

    def _reset(self, now: float) -> None:
        """Release the e-stop and begin a new epoch, if nothing presses it any more and the robot stands still."""
        if not self.reference.rests or self.estop.reset(now) is not None:
            self.refused["reset"] += 1
            return
        self.epoch += 1
        self.gate.new_epoch(self.epoch)
        self.overload.reset()
        self._raise("reset", now, "reset")

    def _judge(self, now: float, sample: RobotState, fault: str | None, signals: Signals, load: Load | None) -> str | None:
        """Raise the events of this tick, the gravest first. Returns why no plan may be followed, or None."""
        if fault is not None or signals.self_stopped:  # the reference is the robot's own then, and still moves
            self.overload.reset()
        elif load is not None:
            overload = self.overload.look(*load)
            if overload is not None:
                self._raise("overload", now, overload)
        if self.state == "damped":
            return "damped"
        if self.estop.latched is not None:
            self._raise("estop", now, f"e-stop: {self.estop.latched}")
            return "estop"
        if fault is not None:
            self._raise("sensor_fault", now, f"measurement {fault}")
            return "sensor_fault"
        hold = "the robot stopped by itself" if signals.self_stopped else signals.hold
        if hold is not None:
            self._raise("hold", now, hold)
            return "hold"
        if self.state == "idle":
            return self._begin(now, sample)
        return None

    def _begin(self, now: float, sample: RobotState) -> str | None:
        """From idle to ready, unless the robot stands outside its limits."""
        outside = (sample.q < self.robot.q_min - OUTSIDE) | (sample.q > self.robot.q_max + OUTSIDE)
        if outside.any():
            i = int(np.argmax(outside))
            limits = list(self.robot.joints[i].position)
            self.reason = f"{self.robot.joint_names[i]} stands at {sample.q[i]:.3f}, outside its limits {limits}: move it back by hand"
            return "outside"
        self.reference = Reference.at_rest(sample.q_ref)
        self._raise("trusted", now, "measurements are trusted")
        return None

    def _choose_plan(self, now: float) -> None:
        """The plan in effect, and the events that follow from having one or not."""
        if self._forbidden is not None:
            self._active = None
            self._pending.clear()
            return
        while self._pending and now >= self._pending[0].effective_t - 0.5 * self.dt:
            self._active, self._start = self._pending.popleft(), self.reference.dq
        plan = self._active
        if plan is not None and now > min(plan.effective_t + self.rules.plan_timeout_s, plan.end_t):
            self._active = None
        if self._active is not None:
            self._raise("plan", now, "following the plan")
        else:
            self._raise("no_plan", now, "plan is stale")

    def _tire(self, now: float) -> None:
        """A robot that cannot hold for good is damped after a while, whatever made it hold."""
        limit = self.rules.damp_after_s
        if limit is not None and self.state == "holding" and now - self._held_since > limit:
            self._raise("held_long", now, f"held for {limit:g} s")

    def _move(self, now: float, sample: RobotState, fault: str | None, signals: Signals, load: Load | None) -> None:
        if self.state in ("idle", "damped") or signals.self_stopped:
            self.load.forget()
            if fault is None:
                self.reference = Reference.at_rest(sample.q if self.damped else sample.q_ref)
            return
        if self._active is None:
            self.reference = self.filter.stop(self.reference)
            self.load.remember(self.reference)
            return
        dq, ddq = self._active.velocity(now + self.dt, self._start)
        self.reference, acted = self.filter.step(self.reference, dq, ddq, load[0] if load is not None else None)
        self.load.remember(self.reference)
        for rule, amount in acted.items():
            self.acted[rule] += 1
            self.acted_most[rule] = max(amount, self.acted_most.get(rule, 0.0))

    def _raise(self, event: Event, now: float, reason: str) -> None:
        before, self.state = self.state, next_state(self.state, event)
        if before != self.state:
            self._held_since, self.reason = now, reason
            self.transitions += 1
            self.journal.append(Transition(t=now, before=before, after=self.state, reason=reason))
        elif event in ("estop", "sensor_fault", "hold") and self.state == "holding":
            self.reason = reason
