"""MPPI over an exported plan graph (Williams et al. 2017): numpy and onnxruntime, nothing else."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from taustack.config import MPPIConfig, RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.noise import NoiseBank
from taustack.controllers.plan import Plan
from taustack.errors import PlanFailed, UnknownName
from taustack.layout import Measured, RobotState
from taustack.manifest import DYNAMICS

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
HISTORY = 64  # measurements kept for the references of before
NON_FINITE = 1e30  # sample costs beyond this were not finite (the graph writes 3e38)


class MPPI:
    """Plans H actions from a measured state towards a goal.

    One call: roll the state forward to the time the plan will take effect, over the actions already published; shift the
    old plan by the time that passed; sample, roll out and weight in the plan graph, the samples split over
    single-threaded sessions; set the temperature for the next call.

    Args:
        bundle: verified bundle that fits the robot.
        robot, task: limits, weights and parameters.
        rng: source of the noise.
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
        self.set_weights(task.cost)
        self._executor = executor
        self._all_sessions = [bundle.session(spec.file) for _ in range(spec.shards)]
        self._sessions = self._all_sessions
        self._dynamics = bundle.session(DYNAMICS)
        self._bank = noise_bank(bundle, robot, self.config, rng)
        self._seq = first_seq - 1
        self._rate = robot.limit_fraction * robot.limits("acceleration") * self.dt
        self.reset()

    def reset(self) -> None:
        """Forget the old plan: the robot was moved or the plan was not followed."""
        self._published: deque[Plan] = deque(maxlen=4)
        self._measured: deque[RobotState] = deque(maxlen=HISTORY)
        self._temperature = 1.0

    def take_over(self, other: MPPI) -> None:
        """Go on where another planner stops, between two of its plans: its plans and measurements, its settings, its sequence numbers."""
        self._published, self._measured = other._published, other._measured
        self._temperature, self._seq, self._executor = other._temperature, other._seq, other._executor
        self.set_temperature(other.config.temperature)
        weights = dict(zip(other.terms, other.weights.tolist(), strict=True))
        self.set_weights({name: weights.get(name, float(own)) for name, own in zip(self.terms, self.weights, strict=True)})

    def set_weights(self, cost: Mapping[str, float]) -> None:
        """Set the weights of the cost terms; terms that are not named get 0.

        Raises:
            UnknownName: a term that the plan graph does not have.
        """
        for name in cost:
            if name not in self.terms:
                raise UnknownName("cost term", name, self.terms)
        self.weights = np.array([cost.get(name, 0.0) for name in self.terms], dtype=np.float32)

    def set_temperature(self, temperature: float) -> None:
        """Set lambda as a fraction of the median of S - min S."""
        self.config = self.config.model_copy(update={"temperature": temperature})

    def use_shards(self, shards: int | None) -> None:
        """Plan with fewer samples: only so many of the shards; None: all of them."""
        self._sessions = self._all_sessions[:shards] if shards is not None else self._all_sessions

    def next_seq(self) -> int:
        """The sequence number for a plan that another planner makes in this one's place."""
        self._seq += 1
        return self._seq

    def plan(self, measured: Measured, goal: FloatArray, tau: float = 0.0) -> Plan:
        """Plan from a measurement to a goal (3,) [m], to be reached in `tau` steps (0: as soon as possible).

        Raises:
            PlanFailed: the state or the goal is not finite, or no sample had a finite cost.
        """
        started = time.perf_counter()
        state = measured.state
        if state.q.shape != (self.robot.n,) or state.dq.shape != (self.robot.n,):
            raise PlanFailed(f"state of {state.q.size} and {state.dq.size} joints, expected {self.robot.n}")
        if not (np.all(np.isfinite(state.x())) and np.all(np.isfinite(goal))):
            raise PlanFailed(f"state or goal is not finite: x {state.x()}, goal {goal}")
        effective_t = state.t + self.latency_s
        self._measured.append(state)
        x = self.predict(state, effective_t)
        mean = self._shifted(effective_t, x)
        outputs = self._run_shards(x, mean, goal, tau)
        sample_cost = np.concatenate([out[4] for out in outputs])
        finite = sample_cost < NON_FINITE
        if not finite.any():
            raise PlanFailed(f"none of {len(sample_cost)} samples had a finite cost")
        share = self._shard_shares(outputs, sample_cost)

        def mix(i: int) -> FloatArray:
            return np.asarray(np.tensordot(share, np.stack([out[i] for out in outputs]).astype(float), 1))

        weight = np.exp(-(sample_cost[finite].astype(float) - sample_cost.min()) / self._temperature)
        self._temperature = max(1e-6, self.config.temperature * float(np.median(sample_cost[finite] - sample_cost.min())))
        self._seq += 1
        plan = Plan(
            seq=self._seq, state_seq=measured.seq, epoch=measured.epoch, state_t=state.t, effective_t=effective_t, dt=self.dt,
            actions=mix(0), states=mix(1), cost=dict(zip(self.terms, mix(2).tolist(), strict=True)), disagreement=mix(3),
            effective_samples=float(weight.sum() ** 2 / (weight**2).sum()), nonfinite_samples=int((~finite).sum()),
            plan_time_s=time.perf_counter() - started, bundle_sha256=self.bundle.sha256,
        )  # fmt: skip
        if not (np.all(np.isfinite(plan.actions)) and np.all(np.isfinite(plan.states))):
            raise PlanFailed("the plan graph returned values that are not finite")
        self._published.append(plan)
        return plan

    def rehearse(self, x: FloatArray) -> list[list[Float32]]:
        """Run every session once from x (nx,), for its first allocations; leaves no trace in later plans. The outputs of each shard."""
        out = self._run_shards(x, np.zeros((self.horizon, self.robot.n), dtype=np.float32), np.asarray(self.robot.workspace.centre), 0.0)
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
            mean, _ = self._dynamics.run(None, {"x": x[None].astype(np.float32), "u": u[None].astype(np.float32)})
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

    def _run_shards(self, x: FloatArray, mean: Float32, goal: FloatArray, tau: float) -> list[list[Float32]]:
        feeds = []
        for _ in self._sessions:
            noise = self._bank.draw()
            feeds.append({
                "x": x.astype(np.float32), "goal": goal.astype(np.float32), "tau": np.float32(tau), "mean": mean, "noise": noise,
                "weights": self.weights, "temperature": np.float32(self._temperature),
            })  # fmt: skip
        feeds = [{key: np.asarray(value) for key, value in feed.items()} for feed in feeds]
        if self._executor is None:
            return [session.run(None, feed) for session, feed in zip(self._sessions, feeds, strict=True)]
        others = [self._executor.submit(session.run, None, feed) for session, feed in zip(self._sessions[1:], feeds[1:], strict=True)]
        first = self._sessions[0].run(None, feeds[0])
        return [first, *(future.result() for future in others)]

    def _shard_shares(self, outputs: list[list[Float32]], sample_cost: Float32) -> FloatArray:
        """Share of each shard's softmax in the softmax over all samples (shards,), exact."""
        best = float(sample_cost.min())
        mass = np.array([np.exp(-(out[4].astype(float) - best) / self._temperature).sum() for out in outputs])
        return np.asarray(mass / mass.sum())


def noise_bank(bundle: Bundle, robot: RobotConfig, config: MPPIConfig, rng: np.random.Generator) -> NoiseBank:
    """The noise bank that fits a bundle's plan graph."""
    spec = bundle.manifest.plan
    return NoiseBank(
        horizon=spec.horizon, knots=config.noise_knots, std=config.noise_std * robot.limits("velocity"), floor=config.noise_floor,
        samples=spec.samples_per_shard, members=spec.members, rng=rng,
    )  # fmt: skip
