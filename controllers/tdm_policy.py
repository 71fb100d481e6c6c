"""The policy of a temporal difference model as a planner of its own: it acts towards the configuration of a subgoal (Pong et al. 2018, section 4)."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.mppi import MPPI
from taustack.controllers.plan import Plan
from taustack.controllers.tdm_bundle import TDMBundle
from taustack.errors import PlanFailed
from taustack.layout import Measured
from taustack.tdm_arm import joint_state

FloatArray = NDArray[np.float64]
REACHED = 0.02  # [rad or m] that f may stay away of the configuration and it counts as reached
LEAST_TAU = 1.0  # to come to rest: with less the policy is at the goal in a step, at whatever speed that takes, and must come back
NAME = "tdm_policy"


class TDMPolicy:
    """Rolls the policy out over the plan's length, the least tau first with which f comes to the goal; joints follow as they do now.

    Args:
        mppi: predicts the state at which a plan takes effect, and keeps what was published.
        model: of the robot's joints.
        robot: limits.
    """

    def __init__(self, mppi: MPPI, model: TDMBundle, robot: RobotConfig) -> None:
        self.mppi, self.model = mppi, model.model
        layout = model.contract.layout
        self._taus = np.arange(layout.tau_max + 1, dtype=float)
        self._n, self._steps = robot.n, round(layout.dt / mppi.dt)
        self._rate = robot.limit_fraction * robot.limits("acceleration") * mppi.dt

    def plan(self, measured: Measured, goal: FloatArray, tau: float = 0.0) -> Plan:
        """Plan towards a point with a configuration after it (3 + n,), as soon as possible whatever `tau` is.

        Raises:
            PlanFailed: the goal has no configuration, or a value is not finite.
        """
        started = time.perf_counter()
        state, mppi, n = measured.state, self.mppi, self._n
        if np.shape(goal) != (3 + n,) or not (np.isfinite(state.x()).all() and np.isfinite(goal).all()):
            raise PlanFailed(f"goal of shape {np.shape(goal)}, expected 3 coordinates and {n} joint positions, all finite: subgoals by `tdm`")
        effective_t = state.t + mppi.latency_s
        x = mppi.expect(state, effective_t)
        states = [x]
        left = self._least_tau(x, goal[3:])
        while len(states) <= mppi.horizon:
            wanted = self.model.act(joint_state(x)[None], goal[None, 3:], np.array([left]))[0]
            slope = np.clip((wanted - x[3 * n :]) / self._steps, -self._rate, self._rate)
            for _ in range(self._steps):
                x = self._followed(x, slope)
                states.append(x)
            left = max(LEAST_TAU, left - 1.0)
        rolled = np.array(states[: mppi.horizon + 1])
        plan = Plan(
            seq=mppi.next_seq(), state_seq=measured.seq, epoch=measured.epoch, state_t=state.t, effective_t=effective_t, dt=mppi.dt,
            actions=rolled[1:, 3 * n :], states=rolled, plan_time_s=time.perf_counter() - started, planner=NAME, bundle_sha256=mppi.bundle.sha256,
        )  # fmt: skip
        mppi.publish(plan)
        return plan

    def reset(self) -> None:
        """Forget earlier plans."""
        self.mppi.reset()

    def _least_tau(self, x: FloatArray, q: FloatArray) -> float:
        """The fewest steps after the next one with which f comes to q (n,), tau_max if none do."""
        s, g = (np.tile(row, (len(self._taus), 1)) for row in (joint_state(x), q))
        f, _ = self.model.reach(s, self.model.act(s, g, self._taus), g, self._taus)
        reached = np.abs(f[:, f.shape[1] // 2] - q).max(-1) < REACHED
        return max(LEAST_TAU, float(self._taus[np.argmax(reached)] if reached.any() else self._taus[-1]))

    def _followed(self, x: FloatArray, slope: FloatArray) -> FloatArray:
        """One control step of a reference that speeds up by slope (n,), the joints as far behind it as they are."""
        q, dq, q_ref, dq_ref = x.reshape(4, -1)
        after = dq_ref + slope
        moved = 0.5 * self.mppi.dt * (dq_ref + after)
        return np.concatenate([q + moved, dq + slope, q_ref + moved, after])
