"""MPPI over the exported plan graph of a walk (Williams et al. 2017): numpy and onnxruntime, nothing else.

Planning is asynchronous (Yang et al. 2019): a plan starts from the state that is predicted for the moment when it takes effect. What the walk
lately missed of what was wanted is asked for beside it, so that a model that is a little off gives no offset (Pannocchia and Rawlings 2003).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import rotation
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.noise import NoiseBank
from taustack.controllers.plan import Basis, Plan
from taustack.controllers.shards import Computed, mixed, run_shards
from taustack.controllers.steadiness import Steadiness
from taustack.controllers.trust import Trust
from taustack.controllers.walk_bundle import WalkBundle
from taustack.controllers.walk_laws import DisturbanceObserver
from taustack.controllers.walk_state import WalkState
from taustack.errors import PlanFailed, UnknownName
from taustack.legged import LeggedConfig
from taustack.legged_layout import NU
from taustack.manifest import DYNAMICS
from taustack.walk_task import WalkMPPIConfig, WalkTaskConfig

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
NO_OBSTACLES = np.zeros((0, 7), dtype=np.float32)
RESTS_M_S = 0.15
"""Velocity of the base [m/s, rad/s] under which a robot that shall stand is let stand."""
CHANGES = np.array([3.0, 2.0, 5.0])
"""With which the velocity may change that the model is asked for: forward, sideways [m/s^2], turn [rad/s^2]."""
FOLLOWS_S = 0.3
"""With which a planned walk follows what is wanted [s]."""
RESTS_S = 0.2
"""Over which that velocity is averaged [s]."""


class WalkMPPI:
    """Plans H actions of a gait from a state towards a wanted velocity. A `WalkLaw`, too: the action of its plans that is in force.

    Args:
        bundle: verified bundle that fits the robot.
        robot, task: rates, weights and parameters.
        rng: source of the noise's seed.
        executor: runs the shards beside the first one; without it they run one after the other, with the same result.
        first_seq: number of plans before the first one.
    """

    def __init__(
        self, bundle: WalkBundle, robot: LeggedConfig, task: WalkTaskConfig, rng: np.random.Generator, executor: Executor | None = None, first_seq: int = 0
    ) -> None:
        spec = bundle.manifest.plan
        self.bundle, self.config, self.terms, self.horizon = bundle, task.mppi, spec.cost_terms, spec.horizon
        self.dt = 1.0 / robot.rates.plan_hz
        self._latency_s = self.config.latency_steps * self.dt
        self.weights = _weights(self.terms, task.cost, f"{robot.folder}/tasks/{task.name}.yaml: cost")
        self._most = np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing])
        self._session, self._dynamics, self._executor, self._shards = bundle.session(spec.file), bundle.session(DYNAMICS), executor, spec.shards
        self._bank = walk_noise_bank(bundle, self.config, int(rng.integers(2**63)))
        self._seq = first_seq
        self._observer, self._change = DisturbanceObserver(self.dt, lag_s=FOLLOWS_S), CHANGES * self.dt
        self._keep, self._steadiness = float(np.exp(-self.dt / RESTS_S)), Steadiness(self.dt)
        self.reset()

    def reset(self) -> None:
        """Forget the old plans: the robot was moved or they were not followed."""
        self._plans: list[Plan] = []
        self._temperature, self._moves = 1.0, np.zeros(3)
        self._shaped: FloatArray | None = None
        self._given = np.zeros(3)
        self._observer.reset()
        self._steadiness.reset()
        self.trust = Trust.whole(self.horizon, self.bundle.manifest.disagreement.q99)

    def take_over(self, other: WalkMPPI) -> None:
        """Go on where another planner stands: over its plans, and with its cores."""
        self._executor, self._seq, self._plans = other._executor, other._seq, other._plans
        self._temperature, self._moves, self._shaped, self._given = other._temperature, other._moves, other._shaped, other._given
        self._observer, self._steadiness = other._observer, other._steadiness

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
        """Plan, and the action that is in force now; where the robot shall stand and does, nothing is planned."""
        if self.stands(wanted, state):
            return GaitCommand(velocity=np.zeros(3))
        self.plan(state, wanted)
        u = self.action_at(state.t, state)
        return GaitCommand(velocity=u[:3], landing=u[3:])

    def stands(self, wanted: FloatArray, state: WalkState) -> bool:
        """True if the robot shall stand, and does: then there is nothing to plan, and no plan is in force any more. To be asked at each step."""
        self._moves = self._keep * self._moves + (1 - self._keep) * state.base.local_velocity
        if wanted.any() or np.abs(self._moves).max() >= RESTS_M_S:
            return False
        self.forget()
        return True

    def forget(self) -> None:
        """No plan is in force any more."""
        self._plans = []

    def plan(self, state: WalkState, wanted: FloatArray) -> Plan:
        """Plan from a state towards a velocity (3,).

        Raises:
            PlanFailed: state or velocity is not finite, or no sample had a finite cost.
        """
        started = time.perf_counter()
        x = state.x()
        if not (np.isfinite(x).all() and np.isfinite(wanted).all()):
            raise PlanFailed(f"state or wanted velocity is not finite: x {x}, velocity {wanted}")
        effective_t = state.t + self._latency_s
        self._given = self._asked_of_the_model(wanted, state)
        x = self.predict(state, effective_t)
        basis = Basis(
            goal=np.array(self._given, dtype=float), tau=0.0, trust=self.trust.steps, mean=self._shifted(effective_t, x), weights=self.weights,
            temperature=self._temperature, noise_seed=self._bank.seed, shards=self._shards, obstacles=NO_OBSTACLES,
        )  # fmt: skip
        done = self.compute(x, basis, self._seq + 1)
        self._seq += 1
        self._temperature = max(1e-6, self.config.temperature * done.median_excess)
        self.trust = self.trust.after(done.disagreement)
        plan = Plan(
            seq=self._seq, state_seq=0, epoch=0, state_t=state.t, effective_t=effective_t, dt=self.dt, actions=done.actions, states=done.states,
            cost=done.cost, disagreement=done.disagreement, effective_samples=done.effective_samples, nonfinite_samples=done.nonfinite_samples,
            plan_time_s=time.perf_counter() - started, bundle_sha256=self.bundle.sha256, basis=basis,
        )  # fmt: skip
        self._plans = [*self._plans[-self.config.latency_steps - 1 :], plan]
        return plan

    def _asked_of_the_model(self, wanted: FloatArray, state: WalkState) -> FloatArray:
        """The wanted velocity (3,), or less of it if the walk shakes, changed no faster than a walk can be trusted to, and corrected by what was missed
        lately; to stand is to stand."""
        wanted = self._steadiness.look(rotation(state.base.quaternion)[2]) * wanted
        missed = self._observer.look(state.base.local_velocity, self._given)
        if self._shaped is None:  # from how it moves: somebody else may have walked until now
            self._shaped = state.base.local_velocity
        self._shaped = self._shaped + np.clip(wanted - self._shaped, -self._change, self._change)
        return self._shaped - missed if wanted.any() else self._shaped

    def next_seq(self) -> int:
        """A number for a plan that somebody else makes."""
        self._seq += 1
        return self._seq

    def compute(self, x: FloatArray, basis: Basis, seq: int) -> Computed:
        """The plan step itself: a pure function of the state (nx,) at its start, the basis and the plan's number.

        Raises:
            PlanFailed: no sample had a finite cost, or the result is not finite.
        """
        values = {"x": x, "wanted": basis.goal, "trust": basis.trust, "mean": basis.mean, "weights": basis.weights, "temperature": basis.temperature}
        same = {key: np.asarray(value, dtype=np.float32) for key, value in values.items()}
        feeds = [same | {"noise": self._bank.draw(seq, shard)} for shard in range(basis.shards)]
        return mixed(run_shards(self._session, feeds, self._executor), self.terms, basis.temperature)

    def predict(self, state: WalkState, t: float) -> FloatArray:
        """State (nx,) at time t [s], rolled forward by the model over the actions that are in force until then."""
        x, now = state.x(), state.t
        for _ in range(round((t - now) / self.dt)):
            u = self.action_at(now, state)
            mean, _ = self._dynamics.run(None, {"x": x[None].astype(np.float32), "u": u[None].astype(np.float32)})
            x, now = mean[0].astype(float), now + self.dt
        return x

    def action_at(self, t: float, state: WalkState) -> FloatArray:
        """Action (nu,) in force at time t [s]: of the newest plan in effect; before any, the strides as they are."""
        plan = next((plan for plan in reversed(self._plans) if plan.effective_t <= t + 0.5 * self.dt), None)
        if plan is None:
            return np.concatenate([state.gait.velocity, state.gait.landing])
        at = int(np.clip(round((t - plan.effective_t) / self.dt), 0, len(plan.actions) - 1))
        return np.asarray(plan.actions[at])

    def _shifted(self, effective_t: float, x: FloatArray) -> Float32:
        """The newest plan (H, nu) from the new plan's start on; its last action is kept to the end. The strides as they are if there is none."""
        if not self._plans:
            return np.tile(x[-NU - 2 : -2], (self.horizon, 1)).astype(np.float32)
        old = self._plans[-1]
        at = np.clip(round((effective_t - old.effective_t) / self.dt) + np.arange(self.horizon), 0, len(old.actions) - 1)
        return np.asarray(old.actions[at], dtype=np.float32)


def walk_noise_bank(bundle: WalkBundle, config: WalkMPPIConfig, seed: int) -> NoiseBank:
    """The noise bank that fits a bundle's plan graph."""
    spec = bundle.manifest.plan
    return NoiseBank(
        horizon=spec.horizon, knots=config.knots, std=np.array(config.noise_std), floor=config.noise_floor, samples=spec.samples_per_shard,
        members=spec.members, seed=seed,
    )  # fmt: skip


def _weights(terms: tuple[str, ...], cost: Mapping[str, float], source: str) -> Float32:
    """Weights (T,) in the order of the graph; terms that are not named get 0.

    Raises:
        UnknownName: a term that the plan graph does not have.
    """
    for name in cost:
        if name not in terms:
            raise UnknownName(source, name, terms)
    return np.array([cost.get(name, 0.0) for name in terms], dtype=np.float32)
