"""What of a robot and its plans is shown, by its kind."""

from __future__ import annotations

from typing import Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.attitude import yaw_of
from taustack.controllers.bundle import Bundle
from taustack.controllers.noise import NoiseBank, noise_bank
from taustack.controllers.plan import Plan
from taustack.controllers.walk_bundle import WalkBundle
from taustack.controllers.walk_mppi import walk_noise_bank
from taustack.controllers.walk_state import WalkState
from taustack.errors import BadInput
from taustack.layout import PARTS, RobotState
from taustack.legged import LeggedConfig
from taustack.legged_layout import layout, state_size
from taustack.manifest import DYNAMICS
from taustack.sim.legged_plant import compile_legged
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.view.looks import Planned
from taustack.walk_task import WalkTaskConfig

FloatArray = NDArray[np.float64]
SHOWN = 16
"""Sampled rollouts of a plan that are drawn."""
LIFT_M = 0.02  # of a walk's path over the floor, to be seen


class Eyes(Protocol):
    """Of a kind of robot. on_floor: goals are places on the floor."""

    model: mujoco.MjModel
    on_floor: bool

    @property
    def goal(self) -> FloatArray:
        """Where the handle of the goal (3,) begins, by what was seen last [m]."""
        ...

    @property
    def place(self) -> FloatArray:
        """Where the robot (3,) was seen last [m]."""
        ...

    def planned(self, plan: Plan) -> Planned:
        """A plan as it is drawn; its samples only if the bundle that made it is known. Raises BadInput for one of another kind of robot."""
        ...


class ArmEyes:
    """`Eyes` for an arm.

    Args:
        robot, task: as it runs.
    """

    on_floor = False

    def __init__(self, robot: RobotConfig, task: TaskConfig) -> None:
        self.robot, self.task, self.model = robot, task, compile_model(robot)
        self._chain = chain_from_model(self.model, robot)
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self.goal, self.place = self._chain.position(robot.home), np.zeros(3)
        self._bundle: Bundle | None = None
        self._bank: NoiseBank | None = None

    def use(self, bundle: Bundle) -> None:
        """The bundle that plans come from."""
        self._bundle = bundle

    def qpos(self, state: RobotState) -> FloatArray:
        """Of the model (nq,); joints that are not driven stay as they are at home."""
        qpos = self.model.qpos0.copy()
        qpos[self._joints] = state.q
        return np.asarray(qpos)

    def planned(self, plan: Plan) -> Planned:
        n = self.robot.n
        _check_width(plan, len(PARTS) * n)
        path = self._chain.position(plan.states[:, :n]) if plan.states.size else np.zeros((0, 3))
        samples, bundle, basis = np.zeros((0, 0, 3)), self._bundle, plan.basis
        if bundle is not None and basis is not None and plan.states.size and bundle.sha256 == plan.bundle_sha256:
            if self._bank is None or self._bank.seed != basis.noise_seed:
                self._bank = noise_bank(bundle, self.robot, self.task.mppi, basis.noise_seed)
            limit = self.robot.limits("velocity")
            x = tried(bundle.session(DYNAMICS), plan, self._bank, (-limit, limit))
            samples = self._chain.position(x[..., :n])
        return _as_drawn(plan, path, samples)


class LegsEyes:
    """`Eyes` for a robot on legs, whose plans lead on from where it was seen last.

    Args:
        robot, task: as it runs.
    """

    on_floor = True

    def __init__(self, robot: LeggedConfig, task: WalkTaskConfig) -> None:
        self.robot, self.task, self.model = robot, task, compile_legged(robot)
        self._bundle: WalkBundle | None = None
        self._joints = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self._most = np.array([*robot.gait.velocity, robot.gait.landing, robot.gait.landing])
        self._parts = layout(robot.n)
        self.place, self._yaw = np.zeros(3), 0.0
        self._bank: NoiseBank | None = None

    def use(self, bundle: WalkBundle) -> None:
        """The bundle that plans come from."""
        self._bundle = bundle

    @property
    def goal(self) -> FloatArray:
        """A metre ahead."""
        return np.array([self.place[0] + np.cos(self._yaw), self.place[1] + np.sin(self._yaw), 0.0])

    def qpos(self, state: WalkState) -> FloatArray:
        """Of the model (nq,), with the base where its estimator has it."""
        self.place, self._yaw = state.base.position, yaw_of(state.base.quaternion)
        qpos = self.model.qpos0.copy()
        qpos[:3], qpos[3:7], qpos[self._joints] = state.base.position, state.base.quaternion, state.q
        return np.asarray(qpos)

    def planned(self, plan: Plan) -> Planned:
        _check_width(plan, state_size(self.robot.n))
        path, samples, bundle, basis = np.zeros((0, 3)), np.zeros((0, 0, 3)), self._bundle, plan.basis
        if plan.states.size:
            path = self._walked(plan.states[None], plan.dt)[0]
        if bundle is not None and basis is not None and plan.states.size and bundle.sha256 == plan.bundle_sha256:
            if self._bank is None or self._bank.seed != basis.noise_seed:
                self._bank = walk_noise_bank(bundle, self.task.mppi, basis.noise_seed)
            samples = self._walked(tried(bundle.session(DYNAMICS), plan, self._bank, (-self._most, self._most)), plan.dt)
        return _as_drawn(plan, path, samples)

    def _walked(self, x: FloatArray, dt: float) -> FloatArray:
        """Places on the floor (S, H+1, 3) of states (S, H+1, nx), from where the robot is."""
        velocity, turn = x[..., self._parts["velocity"]], x[..., self._parts["rate"]][..., 2]
        yaw = self._yaw + dt * np.cumsum(turn, axis=1) - dt * turn[:, :1]
        ahead = np.stack([np.cos(yaw), np.sin(yaw)], -1) * velocity[..., :1] + np.stack([-np.sin(yaw), np.cos(yaw)], -1) * velocity[..., 1:2]
        places = np.concatenate([np.zeros((len(x), 1, 2)), dt * np.cumsum(ahead[:, :-1], axis=1)], axis=1) + self.place[:2]
        return np.concatenate([places, np.full((*places.shape[:2], 1), LIFT_M)], -1)


def _check_width(plan: Plan, nx: int) -> None:
    """Raises BadInput for a plan of another kind of robot."""
    if plan.states.size and plan.states.shape[1] != nx:
        raise BadInput("topic plan", "states", f"{plan.states.shape[1]} numbers a state", f"{nx}, of this robot")


def tried(dynamics: Any, plan: Plan, bank: NoiseBank, bounds: tuple[FloatArray, FloatArray]) -> FloatArray:
    """States (S, H+1, nx) of some of the plans that were sampled for a plan: its own noise, rolled out over the ensemble's mean."""
    assert plan.basis is not None
    noise = bank.draw(plan.seq)
    shown = np.linspace(0, noise.shape[1] - 1, SHOWN).astype(int)
    actions = np.clip(plan.basis.mean[:, None] + noise[:, shown], *bounds).astype(np.float32)
    x = np.tile(plan.states[0].astype(np.float32), (SHOWN, 1))
    states = [x]
    for u in actions:
        x = dynamics.run(None, {"x": x, "u": u})[0]
        states.append(x)
    return np.stack(states, axis=1).astype(float)


def _as_drawn(plan: Plan, path: FloatArray, samples: FloatArray) -> Planned:
    weights = plan.basis.weights if plan.basis is not None else np.zeros(0)
    cost = {name: value * float(weight) for (name, value), weight in zip(plan.cost.items(), weights, strict=False)}
    return Planned(planner=plan.planner, path=path, samples=samples, cost=cost, disagreement=plan.disagreement, plan_time_s=plan.plan_time_s)
