"""A run under faults, in lockstep: the robot's own driver core and planner; the judge is the plant's state."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.following import Signals, Transition
from taustack.controllers.plan import Plan
from taustack.controllers.planner import Planner
from taustack.errors import PlanFailed
from taustack.layout import State
from taustack.sim.episode import LimitJudge
from taustack.sim.faults import Fault
from taustack.sim.faulty_robot import FaultyRobot
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]
BUTTON, OTHER_BUTTON = "the button", "the other button"
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
        self._on_the_way: deque[tuple[float, Plan]] = deque()
        self._kept: Plan | None = None
        self._bridge_heard = 0.0
        self._plans = 0
        self._was: set[int] = set()

    def active(self, *kinds: str) -> Fault | None:
        """The first active fault of these kinds."""
        now = self.plant.data.time
        return next((fault for fault in self.faults if fault.kind in kinds and fault.active(now)), None)

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
            self._deliver(now)
            if self._ticks(tick):
                self.core.tick(now, self._signals(now))
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

    def _ticks(self, tick: int) -> bool:
        """False if the tracker's process does not run at this tick."""
        if self.active("tracker_stalls"):
            return False
        if any(fault.kind == "tracker_killed" and fault.at_s <= self.plant.data.time for fault in self.faults):
            return False
        missed = self.active("missed_ticks")
        return missed is None or tick % max(1, round(missed.strength)) == 0

    def _signals(self, now: float) -> Signals:
        """Bridge and e-stop sources as the faults have them."""
        if self.active("bridge_dead") is None:
            self._bridge_heard = now
        hold = "no sign of life from the driver node" if now - self._bridge_heard > self.robot.safety.bridge_timeout_s else None
        if self.active("hold_request"):
            hold = "the bridge asks for it"
        estop: dict[str, bool] = {}
        reset = False
        for i, fault in enumerate(self.faults):
            active = fault.active(now)
            if fault.kind in ("estop", "estop_twice", "estop_reset_while_pressed"):
                estop[BUTTON] = estop.get(BUTTON, False) or active
                if fault.kind == "estop_twice":
                    estop[OTHER_BUTTON] = active and now < fault.at_s + 0.05
                reset |= (fault.kind == "estop" and i in self._was and not active) or (fault.kind == "estop_reset_while_pressed" and active)
            elif fault.kind == "estop_silent" and not active:
                estop["the wireless button"] = False
            if active:
                self._was.add(i)
            else:
                self._was.discard(i)
        return Signals(hold=hold, estop=estop, reset=reset)

    def _plan(self, now: float) -> None:
        """One plan of the planner, spoilt and sent on its way."""
        newest = self.core.newest
        if newest is None or self.active("no_plan", "inference_raises", "inference_hangs", "bridge_dead", "tracker_stalls", "tracker_killed"):
            return
        goal = self.goal
        if self.active("goal_jumps") and int(2 * now) % 2:
            goal = goal * np.array([1.0, -1.0, 1.0])
        try:
            plan = self.planner.plan(newest, goal)
        except PlanFailed:
            return
        self._plans += 1
        for fault in self.faults:
            if fault.active(now):
                plan = self._spoil(plan, fault)
        flood, slow = self.active("plan_flood"), self.active("inference_slow")
        arrives = now + (slow.strength if slow else 0.0)
        if self.active("reordered_plan"):
            if self._plans % 2:
                self._kept = plan
                return
            self._on_the_way.append((arrives, plan))
            plan = self._kept or plan
        self._on_the_way.extend([(arrives, plan)] * (round(flood.strength) if flood else 1))

    def _deliver(self, now: float) -> None:
        while self._on_the_way and self._on_the_way[0][0] <= now:
            self.core.offer(self._on_the_way.popleft()[1])

    def _spoil(self, plan: Plan, fault: Fault) -> Plan:
        """A plan under one fault."""
        kind, actions = fault.kind, plan.actions.copy()
        limit = self.robot.limits("velocity")[: actions.shape[1]]  # another fault may have taken a joint
        if kind == "nan_plan":
            actions[0, 0] = np.nan
        elif kind == "infinite_plan":
            actions[-1, -1] = np.inf
        elif kind == "wrong_size_plan":
            actions = actions[:, :-1]
        elif kind == "corner_plan":
            corner = np.where(np.arange(len(limit)) % 2 == 0, 1.0, -1.0)
            actions[:] = fault.strength * corner * limit
        elif kind == "alternating_plan":
            actions[:] = limit if self._plans % 2 else -limit
        elif kind == "swapped_outputs":
            actions[:, [0, -1]] = actions[:, [-1, 0]]
        elif kind == "stale_plan":
            return dataclasses.replace(plan, state_t=plan.state_t - fault.strength)
        elif kind == "future_plan":
            return dataclasses.replace(plan, effective_t=plan.effective_t + fault.strength)
        elif kind == "other_epoch_plan":
            return dataclasses.replace(plan, epoch=plan.epoch + 1)
        return dataclasses.replace(plan, actions=actions)


def dead_joints(faults: Sequence[Fault]) -> tuple[int, ...]:
    """Joints that nothing can hold: their position and speed are not judged."""
    return tuple(sorted({fault.joint for fault in faults if fault.kind == "joint_dead"}))
