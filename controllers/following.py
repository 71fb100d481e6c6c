"""What any tracker decides before it moves: in which state it is and why, who pressed the e-stop, and which plan is in effect. Knows no robot."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.config import Timeouts
from taustack.controllers.estop import EStop
from taustack.controllers.plan import Plan
from taustack.controllers.plan_gate import Expected, PlanGate
from taustack.controllers.states import Event, next_state
from taustack.layout import State

FloatArray = NDArray[np.float64]


class Signals(NamedTuple):
    """What others ask of the tracker at a tick. hold: why to hold. estop: sources and whether they are pressed."""

    hold: str | None = None
    estop: Mapping[str, bool] = MappingProxyType({})
    reset: bool = False
    self_stopped: bool = False

    def heard(self, source: str, estop: bool, self_stopped: bool) -> Signals:
        """With what the robot itself says."""
        return Signals(hold=self.hold, estop={source: estop, **self.estop}, reset=self.reset, self_stopped=self_stopped)


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of state, for the log."""

    t: float
    before: State
    after: State
    reason: str


class Following:
    """See the module.

    Args:
        gate: which plans may be followed.
        rules: how long plans and e-stop sources are waited for.
        dt: tick [s].
    """

    def __init__(self, gate: PlanGate, rules: Timeouts, dt: float) -> None:
        self.gate, self.rules, self._dt = gate, rules, dt
        self.estop = EStop(timeout_s=rules.estop_timeout_s)
        self.state: State = "idle"
        self.reason = "no measurement yet"
        self.epoch = 0
        self.refused: Counter[str] = Counter()
        self.journal: deque[Transition] = deque(maxlen=200)
        self.transitions = 0
        self.active: Plan | None = None
        self.forbidden: str | None = "no measurement yet"
        self._pending: deque[Plan] = deque(maxlen=16)
        self._held_since = 0.0

    @property
    def newest(self) -> Plan | None:
        """The plan that was taken last."""
        return self._pending[-1] if self._pending else self.active

    @property
    def dropped(self) -> Counter[str]:
        """Plans that were not followed, by reason."""
        return self.gate.dropped + self.refused

    def offer(self, plan: Plan, now: float, expected: Expected) -> bool:
        """Take a plan; False if it was dropped (see `dropped`). expected: the velocity it takes over at."""
        if self.forbidden is not None:
            self.refused["not_now"] += 1
            return False
        if not self.gate.admit(plan, now, expected):
            return False
        # Plans wait in line: a new one often comes before the one ahead of it has taken effect.
        self._pending.append(plan)
        return True

    def listen(self, signals: Signals, now: float) -> None:
        """Hear the e-stop's sources, silence as well."""
        for source, pressed in signals.estop.items():
            self.estop.hear(source, pressed, now)
        self.estop.look(now)

    def reset(self, now: float, *, rests: bool) -> bool:
        """Release the e-stop and begin a new epoch, if nothing presses it any more and the robot rests; False if that is refused."""
        if not rests or self.estop.reset(now) is not None:
            self.refused["reset"] += 1
            return False
        self.epoch += 1
        self.gate.new_epoch(self.epoch)
        self.tell("reset", now, "reset")
        return True

    def judge(self, now: float, fault: str | None, overload: str | None, signals: Signals, begin: Callable[[], str | None]) -> None:
        """Tell the events of this tick, the gravest first; from then on `forbidden` says why no plan may be followed, or None.

        Args:
            fault: of the measurement.
            overload: why the robot should be damped.
            begin: called in idle with everything else in order; it tells `trusted`, or returns why not.
        """
        if overload is not None:
            self.tell("overload", now, overload)
        self.forbidden = self._why_not(now, fault, signals, begin)

    def _why_not(self, now: float, fault: str | None, signals: Signals, begin: Callable[[], str | None]) -> str | None:
        if self.state == "damped":
            return "damped"
        if self.estop.latched is not None:
            self.tell("estop", now, f"e-stop: {self.estop.latched}")
            return "estop"
        if fault is not None:
            self.tell("sensor_fault", now, f"measurement {fault}")
            return "sensor_fault"
        hold = "the robot stopped by itself" if signals.self_stopped else signals.hold
        if hold is not None:
            self.tell("hold", now, hold)
            return "hold"
        return begin() if self.state == "idle" else None

    def choose(self, now: float) -> bool:
        """The plan in effect, and the events that follow from having one or not. True if another one took effect."""
        if self.forbidden is not None:
            self.active = None
            self._pending.clear()
            return False
        changed = False
        while self._pending and now >= self._pending[0].effective_t - 0.5 * self._dt:
            self.active, changed = self._pending.popleft(), True
        plan = self.active
        if plan is not None and now > min(plan.effective_t + self.rules.plan_timeout_s, plan.end_t):
            self.active = None
        if self.active is not None:
            self.tell("plan", now, "following the plan")
        else:
            self.tell("no_plan", now, "plan is stale")
        return changed

    def tire(self, now: float) -> None:
        """A robot that cannot hold for good is damped after a while, whatever made it hold."""
        limit = self.rules.damp_after_s
        if limit is not None and self.state == "holding" and now - self._held_since > limit:
            self.tell("held_long", now, f"held for {limit:g} s")

    def tell(self, event: Event, now: float, reason: str) -> None:
        """An event; if it changes the state, its reason goes into the journal."""
        before, self.state = self.state, next_state(self.state, event)
        if before != self.state:
            self._held_since, self.reason = now, reason
            self.transitions += 1
            self.journal.append(Transition(t=now, before=before, after=self.state, reason=reason))
        elif event in ("estop", "sensor_fault", "hold") and self.state == "holding":
            self.reason = reason
