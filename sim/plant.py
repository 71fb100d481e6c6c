"""A robot in MuJoCo behind the hardware interface: impedance law with gravity compensation, at the plant's rate."""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.layout import RobotState
from taustack.sim.mjcf import compile_model, joint_addresses
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]


class MujocoPlant:
    """`step()` advances 1 / plant_hz; who calls it decides the clock (lockstep or real time).

    The law is torque = stiffness (q_ref - q) + damping (dq_ref - dq) + gravity(q), clipped to the torque limits. Gravity
    comes from the nominal model: a payload of the scenario is unknown to it, as on a real arm.
    """

    def __init__(self, robot: RobotConfig, scenario: Scenario | None = None, rng: np.random.Generator | None = None) -> None:
        self.robot = robot
        self.scenario = scenario or Scenario()
        self.rng = rng or np.random.default_rng(0)
        self.nominal = compile_model(robot)
        self.model = _apply(self.scenario, robot)
        self.dt = 1.0 / robot.rates.plant_hz
        self.model.opt.timestep = self.dt
        self.data = mujoco.MjData(self.model)
        self._gravity_data = mujoco.MjData(self.nominal)
        self._qpos, self._dof, self._ctrl = joint_addresses(self.model, robot)
        self._site = self.model.site(robot.end_effector_site).id
        self._stiffness = np.array([joint.stiffness for joint in robot.joints])
        self._damping = np.array([joint.damping for joint in robot.joints])
        self.torque_limit = robot.limits("torque")
        self._gravity = np.zeros(self.nominal.nv)
        self.saturated_steps = 0
        self.reset()

    def reset(self, q: FloatArray | None = None) -> None:
        """At rest in q (n,); the scenario's initial_q or home if not given."""
        initial = self.scenario.initial_q
        start = q if q is not None else np.array(initial) if initial is not None else self.robot.home
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self._qpos] = start
        mujoco.mj_forward(self.model, self.data)
        self._q_ref, self._dq_ref = np.array(start, dtype=float), np.zeros(self.robot.n)
        self._lagged_q, self._lagged_dq = self._q_ref.copy(), self._dq_ref.copy()
        self._delayed: deque[tuple[FloatArray, FloatArray]] = deque()
        self._torque = np.zeros(self.robot.n)
        self._sample: RobotState | None = None
        self._collision_data = mujoco.MjData(self.model)

    def read(self) -> RobotState:
        """Newest measurement, with the scenario's noise and dropped samples."""
        scenario = self.scenario
        if self._sample is not None and scenario.dropped_samples and self.rng.random() < scenario.dropped_samples:
            return self._sample
        q, dq = self.data.qpos[self._qpos], self.data.qvel[self._dof]
        if scenario.position_noise:
            q = q + self.rng.normal(0.0, scenario.position_noise, q.shape)
        if scenario.velocity_noise:
            dq = dq + self.rng.normal(0.0, scenario.velocity_noise, dq.shape)
        self._sample = RobotState(
            t=self.data.time, q=np.array(q), dq=np.array(dq), q_ref=self._q_ref, dq_ref=self._dq_ref,
            torque=self._torque, ee=self.data.site_xpos[self._site].copy(),
        )  # fmt: skip
        return self._sample

    def write(self, q_ref: FloatArray, dq_ref: FloatArray) -> None:
        """Reference of the impedance law until the next write."""
        self._q_ref, self._dq_ref = np.array(q_ref), np.array(dq_ref)

    def safe_action(self) -> None:
        """Hold the last reference position."""
        self._dq_ref = np.zeros(self.robot.n)

    def advance(self, seconds: float) -> None:
        """Simulate this long, in whole steps."""
        for _ in range(round(seconds / self.dt)):
            self.step()

    def step(self) -> None:
        """Advance the simulation by one step of dt [s]."""
        q_ref, dq_ref = self._through_delay_and_lag()
        q, dq = self.data.qpos[self._qpos], self.data.qvel[self._dof]
        torque = self._stiffness * (q_ref - q) + self._damping * (dq_ref - dq) + self._gravity_torque()
        self._torque = np.minimum(np.maximum(torque, -self.torque_limit), self.torque_limit)
        self.saturated_steps += bool(np.any(self._torque != torque))
        self.data.ctrl[self._ctrl] = self._torque
        mujoco.mj_step(self.model, self.data)

    def _through_delay_and_lag(self) -> tuple[FloatArray, FloatArray]:
        q_ref, dq_ref = self._q_ref, self._dq_ref
        if self.scenario.actuator_delay_s:
            self._delayed.append((q_ref, dq_ref))
            steps = round(self.scenario.actuator_delay_s / self.dt)
            q_ref, dq_ref = self._delayed.popleft() if len(self._delayed) > steps else self._delayed[0]
        if self.scenario.reference_lag_s:
            share = 1.0 - np.exp(-self.dt / self.scenario.reference_lag_s)
            self._lagged_q = self._lagged_q + share * (q_ref - self._lagged_q)
            self._lagged_dq = self._lagged_dq + share * (dq_ref - self._lagged_dq)
            q_ref, dq_ref = self._lagged_q, self._lagged_dq
        return q_ref, dq_ref

    def _gravity_torque(self) -> FloatArray:
        data = self._gravity_data
        data.qpos[self._qpos] = self.data.qpos[self._qpos]
        mujoco.mj_kinematics(self.nominal, data)
        mujoco.mj_comPos(self.nominal, data)
        mujoco.mj_rne(self.nominal, data, 0, self._gravity)
        return self._gravity[self._dof]

    def in_collision(self, q: FloatArray) -> bool:
        """True if the robot at q (n,) touches itself or the scenario (kinematic check, the simulation is not moved)."""
        data = self._collision_data
        data.qpos[self._qpos] = q
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_collision(self.model, data)
        return bool(data.ncon > 0)


def _apply(scenario: Scenario, robot: RobotConfig) -> mujoco.MjModel:
    """The robot's model with the scenario's obstacles, payload and friction."""
    if not (scenario.obstacles or scenario.payload_kg):
        model = compile_model(robot)
    else:
        spec = mujoco.MjSpec.from_file(str(robot.model_path))
        kinds = {"box": mujoco.mjtGeom.mjGEOM_BOX, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE}
        for i, obstacle in enumerate(scenario.obstacles):
            size = np.zeros(3)
            size[: len(obstacle.size)] = obstacle.size
            spec.worldbody.add_geom(name=f"obstacle{i}", type=kinds[obstacle.shape], pos=obstacle.position, size=size, rgba=[0.9, 0.45, 0.2, 1.0])
        if scenario.payload_kg:
            site = next((s for s in spec.sites if s.name == robot.end_effector_site), None)
            if site is None:
                raise BadInput(robot.model_path, "site", robot.end_effector_site, "the site to hang the payload on")
            body = site.parent.add_body(name="payload", pos=site.pos)
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.03, 0, 0], mass=scenario.payload_kg, contype=0, conaffinity=0, rgba=[0.9, 0.45, 0.2, 1.0])
        model = spec.compile()
    _, dof, _ = joint_addresses(model, robot)
    model.dof_damping[dof] *= scenario.damping_scale
    model.dof_frictionloss[dof] = scenario.joint_friction * robot.limits("torque")
    return model
