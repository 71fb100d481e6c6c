"""MPPI over an exported plan graph (Williams et al. 2017): numpy and onnxruntime, nothing else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.noise import noise_bank
from taustack.controllers.plan import Basis, Plan
from taustack.controllers.shards import Computed, mixed, run_shards
from taustack.controllers.trust import Trust
from taustack.errors import BundleRefused, PlanFailed, UnknownName
from taustack.layout import Measured, RobotState
from taustack.manifest import DYNAMICS, MANIFEST
from taustack.obstacles import Obstacle, obstacle_rows
from taustack.tdm_layout import TERMINAL_TERM

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
HISTORY = 64  # measurements kept for the references of before
POSTURE, TERMINAL = "posture", "terminal"


class MPPI:
    """Plans H actions from a measured state towards a goal.

    One call: roll the state forward to the time the plan will take effect, over the actions already published; shift the
    old plan by the time that passed; sample, roll out and weight in the plan graph, the samples split over
    single-threaded sessions; set the temperature for the next call.

    Args:
        bundle: verified bundle that fits the robot.
        robot, task: limits, weights and parameters.
        rng: source of the noise's seed.
        executor: runs the shards beside the first one; without it they run one after the other, with the same result.
        first_seq: sequence number of the first plan; a planner that takes over from another must begin above its last.
    """

    def __init__(
        self, bundle: Bundle, robot: RobotConfig, task: TaskConfig, rng: np.random.Generator, executor: Executor | None = None, first_seq: int = 1
    ) -> None:
        spec = bundle.manifest.plan
        self.bundle, self.robot, self.config = bundle, robot, task.mppi
        self.dt, self.horizon = robot.rates.control_dt, spec.horizon
        self.latency_s = self.config.latency_steps * self.dt
        self._delay_s = bundle.manifest.delay_steps * self.dt
        self.terms = spec.cost_terms
        self.weights: Float32
        self._end = TERMINAL_TERM if task.terminal == "tdm" else TERMINAL
        if self._end not in self.terms:
            raise BundleRefused(bundle.folder / MANIFEST, "plan.cost_terms", list(self.terms), f"{self._end!r} too: `taustack models terminal`")
        self.set_weights(task.cost, f"{robot.folder}/tasks/{task.name}.yaml: cost")
        self.obstacles: Float32 = obstacle_rows(task.obstacles).astype(np.float32)
        self._executor = executor
        self._session = bundle.session(spec.file)
        self._shards = spec.shards
        self._dynamics = bundle.session(DYNAMICS)
        self._noise_seed = int(rng.integers(2**63))
        self._bank = noise_bank(bundle, robot, self.config, self._noise_seed)
        self._seq = first_seq - 1
        self._rate = robot.limit_fraction * robot.limits("acceleration") * self.dt
        self.reset()

    def reset(self) -> None:
        """Forget the old plan: the robot was moved or the plan was not followed."""
        self._published: deque[Plan] = deque(maxlen=4)
        self._measured: deque[RobotState] = deque(maxlen=HISTORY)
        self._temperature = 1.0
        holdout = self.bundle.manifest.holdout
        self.trust = Trust.whole(self.horizon, holdout.disagreement.q99 if holdout is not None else None)

    def take_over(self, other: MPPI) -> None:
        """Go on where another planner stops, between two of its plans: its plans and measurements, its settings, its sequence numbers."""
        self._published, self._measured = other._published, other._measured
        self._temperature, self._seq, self._executor = other._temperature, other._seq, other._executor
        self.set_temperature(other.config.temperature)
        self.obstacles = other.obstacles
        weights = dict(zip(other.terms, other.weights.tolist(), strict=True))
        self.weights = np.array([weights.get(name, float(own)) for name, own in zip(self.terms, self.weights, strict=True)], dtype=np.float32)

    def set_weights(self, cost: Mapping[str, float], source: str = "cost term") -> None:
        """Set the weights of the cost terms; terms that are not named get 0. That of `terminal` goes to the term that the task ends with.

        Args:
            cost: weights by name.
            source: where they stand, for the error.

        Raises:
            UnknownName: a term that the plan graph does not have.
        """
        for name in cost:
            if name not in self.terms:
                raise UnknownName(source, name, self.terms)
        self.weights = np.zeros(len(self.terms), dtype=np.float32)
        for name, weight in cost.items():
            self.set_weight(name, weight)

    def set_weight(self, term: str, weight: float) -> None:
        """Set the weight of one term, as `set_weights` does of all."""
        at = self.terms.index(self._end if term == TERMINAL else term)
        self.weights = self.weights.copy()
        self.weights[at] = weight

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from the next plan on."""
        self.obstacles = obstacle_rows(obstacles).astype(np.float32)

    def set_temperature(self, temperature: float) -> None:
        """Set lambda as a fraction of the median of S - min S."""
        self.config = self.config.model_copy(update={"temperature": temperature})

    def use_shards(self, shards: int | None) -> None:
        """Plan with fewer samples: only so many of the shards; None: all of them."""
        self._shards = shards if shards is not None else self.bundle.manifest.plan.shards

    def next_seq(self) -> int:
        """The sequence number for a plan that another planner makes in this one's place."""
        self._seq += 1
        return self._seq

    def plan(self, measured: Measured, goal: FloatArray, tau: float = 0.0) -> Plan:
        """Plan from a measurement to a goal, to be reached in `tau` steps (0: as soon as possible).

        A goal is a point (3,) [m]; with joint positions (n,) after it, these are kept near, too (cost term `posture`).

        Raises:
            PlanFailed: the state or the goal is not finite, or no sample had a finite cost.
        """
        started = time.perf_counter()
        state = measured.state
        if state.q.shape != (self.robot.n,) or state.dq.shape != (self.robot.n,):
            raise PlanFailed(f"state of {state.q.size} and {state.dq.size} joints, expected {self.robot.n}")
        if not (np.all(np.isfinite(state.x())) and np.all(np.isfinite(goal))):
            raise PlanFailed(f"state or goal is not finite: x {state.x()}, goal {goal}")
        if np.shape(goal) not in ((3,), (3 + self.robot.n,)):
            raise PlanFailed(f"goal of shape {np.shape(goal)}, expected 3 coordinates, or these and {self.robot.n} joint positions")
        effective_t = state.t + self.latency_s
        x = self.expect(state, effective_t)
        basis = self._basis(np.array(goal, dtype=float), tau, self._shifted(effective_t, x))
        done = self.compute(x, basis, self._seq + 1)
        self._seq += 1
        self._temperature = max(1e-6, self.config.temperature * done.median_excess)
        self.trust = self.trust.after(done.disagreement)
        plan = Plan(
            seq=self._seq, state_seq=measured.seq, epoch=measured.epoch, state_t=state.t, effective_t=effective_t, dt=self.dt,
            actions=done.actions, states=done.states, cost=done.cost, disagreement=done.disagreement,
            effective_samples=done.effective_samples, nonfinite_samples=done.nonfinite_samples,
            plan_time_s=time.perf_counter() - started, bundle_sha256=self.bundle.sha256, basis=basis,
        )  # fmt: skip
        self.publish(plan)
        return plan

    def expect(self, state: RobotState, t: float) -> FloatArray:
        """Take a measurement, and say what it will have become at time t [s]: see `predict`."""
        self._measured.append(state)
        return self.predict(state, t)

    def publish(self, plan: Plan) -> None:
        """A plan that the tracker gets, this planner's or one in its place."""
        self._published.append(plan)

    def compute(self, x: FloatArray, basis: Basis, seq: int) -> Computed:
        """The plan step itself: a pure function of the state (nx,) at its start, the basis and the plan's number.

        Raises:
            PlanFailed: no sample had a finite cost, or the result is not finite.
        """
        return mixed(self._run_shards(x, basis, seq), self.terms, basis.temperature)

    def rehearse(self, x: FloatArray) -> list[list[Float32]]:
        """Run every session once from x (nx,), for its first allocations; leaves no trace in later plans. The outputs of each shard."""
        basis = self._basis(np.asarray(self.robot.workspace.centre), 0.0, np.zeros((self.horizon, self.robot.n), dtype=np.float32))
        out = self._run_shards(x, basis, 0)
        self._dynamics.run(None, {"x": x[None].astype(np.float32), "u": np.zeros((1, self.robot.n), dtype=np.float32)})
        return out

    def predict(self, state: RobotState, t: float) -> FloatArray:
        """State (nx,) when the reference of time t [s] takes effect, rolled forward by the model over the actions already published.

        A robot that follows late (`delay_steps` of the bundle) is still under the reference of before: the roll starts there.
        """
        n = self.robot.n
        now = state.t - self._delay_s
        x = np.concatenate([state.q, state.dq, *self._reference_then(now)])
        for _ in range(round((t - now) / self.dt)):
            now += self.dt
            u = self._reference_at(now, x[3 * n :])
            mean, *_ = self._dynamics.run(None, {"x": x[None].astype(np.float32), "u": u[None].astype(np.float32)})
            x = mean[0].astype(float)
        return x

    def _reference_at(self, t: float, dq_ref: FloatArray) -> FloatArray:
        """Reference velocity (n,) the tracker had or will have at time t: as measured, from the newest plan in effect, else on its way to rest."""
        if t <= self._measured[-1].t:
            return self._reference_then(t)[1]
        plan = next((p for p in reversed(self._published) if p.effective_t < t), None)
        wanted = np.zeros_like(dq_ref)
        if plan is not None and t <= plan.end_t:
            wanted, _ = plan.velocity(t, plan.states[0, 3 * self.robot.n :])
        return np.minimum(np.maximum(wanted, dq_ref - self._rate), dq_ref + self._rate)

    def _reference_then(self, t: float) -> tuple[FloatArray, FloatArray]:
        """q_ref and dq_ref (n,) at a time t [s] that was measured: between measurements, the oldest one before them."""
        after = self._measured[-1]
        for before in reversed(self._measured):
            if before.t <= t:
                h, s = max(1e-9, after.t - before.t), min(1.0, (t - before.t) / max(1e-9, after.t - before.t))
                # Between two measurements the velocity of the reference is linear to a first order; the position goes through both.
                q_ref = before.q_ref + s * (after.q_ref - before.q_ref) + 0.5 * h * s * (1 - s) * (before.dq_ref - after.dq_ref)
                return q_ref, before.dq_ref + s * (after.dq_ref - before.dq_ref)
            after = before
        return after.q_ref, after.dq_ref

    def _shifted(self, effective_t: float, x: FloatArray) -> Float32:
        """The newest plan (H, n) read at the new plan's times; its last action is kept to the end. Rest if there is none."""
        n = self.robot.n
        if not self._published:
            return np.zeros((self.horizon, n), dtype=np.float32)
        old = self._published[-1]
        knots = np.concatenate([old.states[:1, 3 * n :], old.actions])
        last = len(old.actions)  # of another horizon, if it was another planner's
        at = np.clip((effective_t - old.effective_t) / self.dt + 1.0 + np.arange(self.horizon), 0.0, float(last))
        low = np.minimum(at.astype(int), last - 1)
        share = (at - low)[:, None]
        return np.asarray((1 - share) * knots[low] + share * knots[low + 1], dtype=np.float32)

    def _basis(self, goal: FloatArray, tau: float, mean: Float32) -> Basis:
        return Basis(
            goal=goal, tau=float(tau), trust=self.trust.steps, mean=mean, weights=self.weights, temperature=self._temperature,
            noise_seed=self._noise_seed, shards=self._shards, obstacles=self.obstacles,
        )  # fmt: skip

    def _posture(self, basis: Basis) -> FloatArray:
        """Joint positions (n,) that the goal asks for, or any."""
        return basis.goal[3:] if basis.goal.size > 3 else self.robot.home

    def _in_force(self, basis: Basis) -> Float32:
        """Weights (T,): that of the posture only where the goal asks for one."""
        if basis.goal.size > 3 or POSTURE not in self.terms:
            return basis.weights
        return np.where(np.array(self.terms) == POSTURE, np.float32(0.0), basis.weights)

    def _run_shards(self, x: FloatArray, basis: Basis, seq: int) -> list[list[Float32]]:
        same = {
            "x": x, "goal": basis.goal[:3], "posture": self._posture(basis), "tau": basis.tau, "trust": basis.trust, "mean": basis.mean,
            "weights": self._in_force(basis), "temperature": basis.temperature, "obstacles": basis.obstacles,
        }  # fmt: skip
        same = {key: np.asarray(value, dtype=np.float32) for key, value in same.items()}
        if self._bank.seed != basis.noise_seed:  # a logged plan of another planner is computed again
            self._bank = noise_bank(self.bundle, self.robot, self.config, basis.noise_seed)
        feeds = [same | {"noise": self._bank.draw(seq, shard)} for shard in range(basis.shards)]
        return run_shards(self._session, feeds, self._executor)
