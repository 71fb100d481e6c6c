"""The tracker of a robot on legs: at each tick it estimates the base, samples the newest plan, and moves the gait. It never waits for a planner.

Without a plan the strides end and the robot stands; a robot that has fallen, or a leg that does not follow, is damped. Depends on nothing learned.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import rotation
from taustack.controllers.base_estimator import BaseEstimator
from taustack.controllers.base_state import BaseEstimate, ImuSample
from taustack.controllers.following import Following, Signals
from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import GaitCommand, LegTargets
from taustack.controllers.leg_monitors import FallMonitor, LegSensorMonitor, Level
from taustack.controllers.legs import Legs
from taustack.controllers.plan import Plan
from taustack.controllers.plan_gate import Expected, PlanGate, PlanRules
from taustack.controllers.rise import Rise
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig
from taustack.legged_layout import NU

FloatArray = NDArray[np.float64]
REFUSED = 2.0
"""Of the largest strides, beyond which a plan is refused; what is within is clipped."""
MOST_STEPS = 10
"""Of the estimator over a gap between measurements, and of the gait over one between ticks."""
OUTSIDE = 0.05
"""[rad] that a joint may be outside its limits, where its stops give, and still start."""
STILL = 0.5
"""Joint velocity [rad/s] below which a damped robot rests."""
SETTLES_S = 0.3
"""For which a walk that was stopped stands before it goes on [s]: one broken off and taken up again, over and over, tips over."""
STAND = GaitCommand(velocity=np.zeros(3))


class WalkTracker:
    """See the module.

    Args:
        robot: legs, gait, limits and tick.
    """

    def __init__(self, robot: LeggedConfig) -> None:
        self.robot, self.dt = robot, 1.0 / robot.rates.tracker_hz
        self._most = np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing])
        self.gate = PlanGate(PlanRules(nu=NU, max_jump=REFUSED * self._most))
        self._no_jump = Expected(None, np.zeros(NU))
        self.following = Following(self.gate, robot.safety, self.dt)
        self.sensors, self.falls = LegSensorMonitor(robot), FallMonitor(robot, self.dt)
        self.gait, self._estimator, self._legs = Gait(robot, self.dt), BaseEstimator(robot, self.dt), Legs(robot)
        self.acted: Counter[str] = Counter()
        self.acted_most: dict[str, float] = {}
        self.state: WalkState | None = None
        self.targets: LegTargets | None = None
        self._stance = np.ones(len(robot.legs), dtype=bool)
        self._base: BaseEstimate | None = None
        self._rise: Rise | None = None
        self._level = Level()
        self._seen_t = self._moved_t = self._seen_at = self._walked_at = -np.inf
        self._still = np.zeros(robot.n)

    @property
    def rests(self) -> bool:
        """True if the robot stands, or is still on the floor or half way up."""
        if self._rise is not None or self.following.state in ("idle", "damped"):
            return self.sensors.trusted is None or bool(np.abs(self.sensors.trusted.dq).max() < STILL)
        return not self.gait.state.walks and not self.gait.state.velocity.any()

    def offer(self, plan: Plan, now: float) -> bool:
        """Hand over a plan; False if it was dropped."""
        return self.following.offer(plan, now, self._no_jump)

    def step(self, now: float, sample: ImuSample, signals: Signals = Signals()) -> LegTargets | None:
        """One tick at driver time now [s] over the newest measurement: targets to follow until the next; None: the joints are damped."""
        fault = self.sensors.look(sample, now, self._still if self.targets is None else self.targets.dq)
        self._seen_at = now if fault is None else self._seen_at
        self.following.listen(signals, now)
        if signals.reset and self.following.reset(now, rests=self.rests):
            self.falls.reset()
        if fault is None and self.following.state != "idle":
            self._estimate(sample)
        up = self._up(sample, fault)
        stands = self.following.state not in ("idle", "damped")
        asked = signals._replace(hold=signals.hold or (self.sensors.in_the_air(now) if stands else None))
        self.following.judge(now, fault, self._overload(now, fault, signals, sample), asked, lambda: self._begin(now, sample, up))
        if self._rise is not None:
            if self.following.forbidden is None:  # an e-stop, or any other hold, stops it where it is
                self._rise.go_on(self.dt)
            self.following.forbidden = self.following.forbidden or "standing up"
        if self.following.state == "holding" and now - self._walked_at < SETTLES_S:
            self.following.forbidden = self.following.forbidden or "coming to a stand"
        self.following.choose(now)
        self.following.tire(now)
        self.targets = self._move(now)
        self._walked_at = self._walked_at if self.rests else now
        return self.targets

    def _up(self, sample: ImuSample, fault: str | None) -> FloatArray | None:
        """The vertical (3,) in the base of a robot that nobody moves; None while it is not known, or one that moves."""
        if fault is not None or self.following.state != "idle":
            self._level.forget()
            return None
        return self._level.look(sample.acceleration)

    def _estimate(self, sample: ImuSample) -> None:
        """Take in a measurement that was not seen yet. Over a short gap it is taken to have lasted; after a longer one the estimate is owned to be lost:
        believed on, it would contradict the feet, and they would be taken to slip."""
        if sample.t <= self._seen_t:
            return
        steps = max(1, round((sample.t - self._seen_t) / self.dt)) if np.isfinite(self._seen_t) else 1
        if steps > MOST_STEPS:
            self._estimator.lose(sample.t - self._seen_t)
            steps = 1
        for _ in range(steps):
            self._base = self._estimator.step(sample, self._stance)
        self._seen_t = sample.t
        assert self._base is not None
        self.state = WalkState(t=sample.t, base=self._base, q=sample.q, dq=sample.dq, gait=self.gait.state)

    def _overload(self, now: float, fault: str | None, signals: Signals, sample: ImuSample) -> str | None:
        """Why the robot should be damped, or None."""
        if self.following.state in ("idle", "damped"):
            return None
        if signals.self_stopped:
            return "the robot stopped by itself"
        if now - self._seen_at > self.robot.safety.blind_s:
            return f"no measurement to be trusted for {now - self._seen_at:.1f} s: {fault}"
        if fault is not None or self._base is None or self.targets is None:
            return None
        if self._rise is not None:
            tilted = self.falls.tilted(rotation(self._base.quaternion)[2])
            return f"fallen: {tilted}" if tilted else None
        return self.falls.look(self._base.quaternion, sample.q, self.targets.q)

    def _begin(self, now: float, sample: ImuSample, up: FloatArray | None) -> str | None:
        """From idle to ready: stand up from where the legs are, unless the robot lies on its side or a joint is outside its limits."""
        if up is None:
            self.following.reason = "the base is not at rest"
            return "not at rest"
        height = float(self._legs.foot_radius.max()) - float((self._legs.feet(sample.q) @ up).min())
        wrong = self.falls.tilted(up)
        if height < self.robot.fall.height and not self.robot.safety.stands_up:
            wrong = f"the base is {height:.2f} m over the floor, and `safety.stands_up` is off"
        outside = (sample.q < self.robot.q_min - OUTSIDE) | (sample.q > self.robot.q_max + OUTSIDE)
        if outside.any():
            wrong = f"{self.robot.joint_names[int(np.argmax(outside))]} stands outside its limits"
        if wrong is not None:
            self.following.reason = f"{wrong}: set it on its feet by hand"
            return "outside"
        before = self._base
        place = np.array([*(before.position[:2] if before is not None else np.zeros(2)), height])
        self._estimator.reset(place, before.yaw if before is not None else 0.0, sample.q, up)
        self.gait.reset()
        self._rise = Rise(self.gait, sample.q, self.gait.step(STAND).q)
        self.gait.reset()
        self._seen_t = -np.inf
        self.sensors.touches(now)
        self.following.tell("trusted", now, "measurements are trusted")
        return None

    def _move(self, now: float) -> LegTargets | None:
        if self.following.state in ("idle", "damped"):
            self._rise, self._moved_t = None, -np.inf
            return None
        if self._rise is not None:
            targets = self._rise.targets()
            self._rise = None if self._rise.over else self._rise
            self._moved_t = now
        else:
            targets = self._walk(now)
        self._stance = targets.stance
        return targets

    def _walk(self, now: float) -> LegTargets:
        """The gait at time now [s]: its clock does not wait for ticks that were missed, or feet in the air would hang there, and does not run ahead
        of those that come late. Each of its own steps keeps the joints' limits; after a longer gap the robot has stopped by itself."""
        if not -self.dt <= now - self._moved_t <= MOST_STEPS * self.dt:
            self._moved_t = now - self.dt
        steps = round((now - self._moved_t) / self.dt)
        self._moved_t += steps * self.dt
        targets, command = self.targets, self._command(now)
        for _ in range(steps if targets is not None else 1):
            targets = self.gait.step(command)
        assert targets is not None
        return targets

    def _command(self, now: float) -> GaitCommand:
        """What the plan in effect asks now, within what strides can be; to stand without one."""
        plan = self.following.active
        if plan is None:
            return STAND
        u = plan.actions[min(len(plan.actions) - 1, max(0, int((now - plan.effective_t) / plan.dt + 1e-6)))]
        over = np.abs(u) - self._most
        for rule, amount in (("velocity", over[:3].max()), ("landing", over[3:].max())):
            if amount > 0:
                self.acted[rule] += 1
                self.acted_most[rule] = max(float(amount), self.acted_most.get(rule, 0.0))
        return GaitCommand(velocity=u[:3], landing=u[3:])
