"""MPPI over MuJoCo itself: the walk's planner with the true model of the nominal robot, as a baseline for the learned one.

Splines of actions are rolled out through trajectory generators, motors' law and contacts (`mujoco.rollout`, a pool of threads), from the
estimator's state; cost terms, noise and update are those of the learned planner (Alvarez-Padilla et al. 2024, arXiv 2409.10469).
"""

from __future__ import annotations

import os
from dataclasses import replace

import mujoco
import numpy as np
from mujoco import rollout
from numpy.typing import NDArray

from taustack.controllers.gait import Gait
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.noise import NoiseBank
from taustack.controllers.walk_costs import WALK_COST_TERMS
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig
from taustack.sim.legged_plant import compile_legged
from taustack.sim.model_file import model_file, torque_motor_of
from taustack.walk_rollout import WalkRollout
from taustack.walk_task import WalkTaskConfig

FloatArray = NDArray[np.float64]
SAMPLES = 32
"""Of the 250,000 steps that a second of planning with 256 samples would take, one core does 100,000."""
REPLAN_STEPS = 2
"""Steps from plan to plan."""


class MujocoWalkMPPI:
    """A `WalkLaw` that plans over MuJoCo.

    Args:
        robot, task: as for the learned planner.
        rng: source of the noise's seed.
        threads: of the rollouts.
    """

    def __init__(self, robot: LeggedConfig, task: WalkTaskConfig, rng: np.random.Generator, threads: int | None = None) -> None:
        self._robot, self._config, self._horizon = robot, task.mppi, task.mppi.horizon
        self._model = compile_legged(robot)
        self._motors = np.array([torque_motor_of(self._model, name, model_file(robot)) for name in robot.joint_names])
        with_law(self._model, robot, self._motors)
        self._data = mujoco.MjData(self._model)
        self._threads = [mujoco.MjData(self._model) for _ in range(threads or len(os.sched_getaffinity(0)))]
        self._gain = robot.of_joints("stiffness")
        self._ahead = robot.of_joints("damping") + robot.of_joints("viscous_friction")
        self._q = np.array([self._model.joint(name).qposadr[0] for name in robot.joint_names])
        self._dq = np.array([self._model.joint(name).dofadr[0] for name in robot.joint_names])
        self._most = np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing])
        self._terms = [(WALK_COST_TERMS[name], weight) for name, weight in task.cost.items()]
        self._gait, self._each = Gait(robot, 1.0 / robot.rates.tracker_hz), round(robot.rates.tracker_hz / robot.rates.plan_hz)
        self._bank = NoiseBank(
            horizon=self._horizon, knots=self._config.knots, std=np.array(self._config.noise_std), floor=self._config.noise_floor, samples=SAMPLES,
            members=1, seed=int(rng.integers(2**63)), size=1024,
        )  # fmt: skip
        self._seq = 0
        self.reset()

    def reset(self) -> None:
        """Forget the old plan."""
        self._mean: FloatArray | None = None
        self._temperature, self._age = 1.0, 0

    def command(self, wanted: FloatArray, state: WalkState) -> GaitCommand:
        """The action of a plan from this very state; planning takes no time of the robot's here."""
        if not wanted.any() and not state.gait.walks:
            self.reset()
            return GaitCommand(velocity=np.zeros(3))
        if self._mean is None:
            self._mean = np.tile(np.concatenate([state.gait.velocity, state.gait.landing]), (self._horizon, 1))
        if self._age % REPLAN_STEPS == 0:
            self._mean = self._plan(wanted, state, self._mean)
        u, self._mean, self._age = self._mean[0], np.vstack([self._mean[1:], self._mean[-1:]]), self._age + 1
        return GaitCommand(velocity=u[:3], landing=u[3:])

    def _plan(self, wanted: FloatArray, state: WalkState, mean: FloatArray) -> FloatArray:
        self._seq += 1
        u = np.clip(mean[:, None] + self._bank.draw(self._seq).astype(float), -self._most, self._most)
        rollouts = self.rolled(state, u, wanted)
        total = sum(weight * term(rollouts, np) for term, weight in self._terms)
        total = np.where(np.isfinite(total), total, 3e38)
        score = np.exp(-(total - total.min()) / self._temperature)
        self._temperature = max(1e-6, self._config.temperature * float(np.median(total - total.min())))
        return np.asarray(np.einsum("k,hku->hu", score / score.sum(), u))

    def rolled(self, state: WalkState, u: FloatArray, wanted: FloatArray) -> WalkRollout:
        """Roll out actions u (H, K, nu) from a state."""
        states, _ = rollout.rollout(self._model, self._threads, initial_state=self._start(state), control=self._targets(state, u))
        after = states[:, self._each - 1 :: self._each, 1:].transpose(1, 0, 2)  # (H, K, nq + nv), without time
        quaternion, velocity, rate = after[..., 3:7], after[..., self._model.nq : self._model.nq + 3], after[..., self._model.nq + 3 : self._model.nq + 6]
        w, x, y, z = np.moveaxis(quaternion, -1, 0)
        up = np.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1)
        yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        c, s = np.cos(yaw), np.sin(yaw)
        local = np.stack([c * velocity[..., 0] + s * velocity[..., 1], c * velocity[..., 1] - s * velocity[..., 0], velocity[..., 2]], -1)
        before = np.concatenate([state.gait.velocity, state.gait.landing])
        stride = round(self._robot.rates.plan_hz / self._robot.gait.frequency)
        return WalkRollout(
            up=up, velocity=local, rate=rate, turn=(up * rate).sum(-1), u=u, u_before=before, most=self._most, wanted=wanted, stride=stride,
            disagreement=np.zeros((1, u.shape[1])),
        )  # fmt: skip

    def _start(self, state: WalkState) -> FloatArray:
        """Full state of the simulation by the estimate."""
        data, base = self._data, state.base
        data.qpos[:3], data.qpos[3:7], data.qpos[self._q] = base.position, base.quaternion, state.q
        data.qvel[:3], data.qvel[3:6], data.qvel[self._dq] = base.velocity, base.turn_rate, state.dq
        data.qacc_warmstart[:] = 0
        kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
        full = np.empty(mujoco.mj_stateSize(self._model, kind))
        mujoco.mj_getState(self._model, data, full, kind)
        return full

    def _targets(self, state: WalkState, u: FloatArray) -> FloatArray:
        """Controls (K, H * ticks, nu of the model) by the gait: the law's feed-forward folded into the position that it pulls to."""
        samples = u.shape[1]
        gait = self._gait
        now = state.gait
        many = [np.repeat(part[None], samples, 0) for part in (now.velocity, now.landing, now.feet, now.lifted)]
        gait.go_on(replace(now, velocity=many[0], landing=many[1], feet=many[2], lifted=many[3]))
        out = np.empty((samples, self._horizon * self._each, self._model.nu))
        for tick in range(out.shape[1]):
            action = u[tick // self._each]
            targets = gait.step(GaitCommand(velocity=action[:, :3], landing=action[:, 3:]))
            out[:, tick, self._motors] = targets.q + (self._ahead * targets.dq + targets.torque) / self._gain
        return out


def with_law(model: mujoco.MjModel, robot: LeggedConfig, motors: NDArray[np.intp]) -> None:
    """Replace the torque motors (n,) of a model by their law: force = k (ctrl - q) - d dq, within the torque limits."""
    for motor, joint in zip(motors, robot.joints, strict=True):
        model.actuator_gainprm[motor, 0] = joint.stiffness
        model.actuator_biastype[motor] = mujoco.mjtBias.mjBIAS_AFFINE
        model.actuator_biasprm[motor, :3] = [0.0, -joint.stiffness, -joint.damping]
        model.actuator_ctrllimited[motor] = False
        model.actuator_forcelimited[motor] = True
        model.actuator_forcerange[motor] = [-joint.torque, joint.torque]
    model.opt.timestep = 1.0 / robot.rates.plant_hz
