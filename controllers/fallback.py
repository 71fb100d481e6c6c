"""What plans when the learned model cannot: resolved-rate control towards the goal, by the robot's kinematics alone (Whitney 1969)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.costs.obstacles import MARGIN_M
from taustack.controllers.plan import Plan
from taustack.errors import PlanFailed, WayBlocked
from taustack.kinematics import KinematicChain
from taustack.layout import Measured
from taustack.obstacles import capsule_distances, obstacle_rows

FloatArray = NDArray[np.float64]
GAIN = 2.0  # [1/s] of the distance; slow on purpose
SPEED = 0.25  # [m/s] of the end effector at most
DAMPING = 0.05  # [m] of the least squares
NEARER_M = 1e-3  # how much nearer it may still come where it stands within the margin of an obstacle
STRIDE = 3  # steps between two looks at the obstacles
NO_OBSTACLES = obstacle_rows(())


class ResolvedRate:
    """Plans a straight, slow way for the end effector; within half the velocity limits of the joints.

    Args:
        robot: limits and step.
        chain: kinematics of the end effector.
        horizon: actions in a plan.
        latency_s: from the state to the effect of its plan [s].
    """

    def __init__(self, robot: RobotConfig, chain: KinematicChain, horizon: int, latency_s: float) -> None:
        self._capsules, self._radius = chain.of_capsules, np.array(chain.capsules)
        self.chain, self.horizon, self.latency_s, self.dt = chain, horizon, latency_s, robot.rates.control_dt
        self._velocity = 0.5 * robot.limits("velocity")
        self._acceleration = 0.5 * robot.limits("acceleration") * self.dt

    def plan(self, measured: Measured, goal: FloatArray, seq: int, obstacles: NDArray[np.floating[Any]] = NO_OBSTACLES) -> Plan:
        """Plan from a measurement to a goal (3,) [m]; it goes straight, so an obstacle (N, 7) in the way ends it.

        Raises:
            PlanFailed: the state or the goal is not finite.
            WayBlocked: the arm would come nearer to an obstacle than MARGIN_M.
        """
        started = time.perf_counter()
        state, n = measured.state, len(self._velocity)
        if state.q.shape != (n,) or state.dq.shape != (n,) or not (np.isfinite(state.x()).all() and np.isfinite(goal).all()):
            raise PlanFailed("state or goal is not finite or of the wrong size")
        q, dq = state.q_ref.copy(), state.dq_ref.copy()
        jacobian, tip = self.chain.jacobian(q)
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING**2 * np.eye(3))
        actions = np.empty((self.horizon, n))
        for h in range(self.horizon):
            error = goal - tip
            velocity = GAIN * error * min(1.0, SPEED / max(1e-9, GAIN * float(np.linalg.norm(error))))
            wanted = inverse @ velocity
            wanted *= min(1.0, float(np.min(self._velocity / np.maximum(np.abs(wanted), 1e-9))))
            dq = np.clip(wanted, dq - self._acceleration, dq + self._acceleration)
            tip = tip + self.dt * (jacobian @ dq)
            actions[h] = dq
        self._require_free(state.q_ref, actions, obstacles)
        return Plan(
            seq=seq, state_seq=measured.seq, epoch=measured.epoch, state_t=state.t, effective_t=state.t + self.latency_s, dt=self.dt, actions=actions,
            states=np.zeros((0, 4 * n)), plan_time_s=time.perf_counter() - started, planner="fallback",
        )  # fmt: skip

    def _require_free(self, q: FloatArray, actions: FloatArray, obstacles: NDArray[np.floating[Any]]) -> None:
        """Raise WayBlocked if the capsules come nearer than MARGIN_M to an obstacle, and nearer than they are."""
        if not len(obstacles):
            return
        way = np.vstack([q, q + self.dt * np.cumsum(actions, 0)])[::STRIDE]
        room = capsule_distances(self._capsules.components(way.T), self._radius, obstacles).min((0, 1))
        if room.min() < min(MARGIN_M, room[0] - NEARER_M):
            raise WayBlocked(f"the fallback goes straight, and an obstacle is {1e3 * float(room.min()):.0f} mm from that way")
