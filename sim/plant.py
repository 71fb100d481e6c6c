"""A robot in MuJoCo behind the hardware interface: impedance law with gravity compensation, at the plant's rate."""

from __future__ import annotations

from collections import deque

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.watchdog import SelfStop
from taustack.errors import BadInput
from taustack.layout import RobotState
from taustack.sim.mjcf import compile_model, joint_addresses
from taustack.sim.model_file import model_file, robot_spec
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]


class MujocoPlant:
    """`step()` advances 1 / plant_hz; who calls it decides the clock (lockstep or real time).

    The law is torque = stiffness (q_ref - q) + damping (dq_ref - dq) + gravity(q), clipped to the torque limits. Gravity
    comes from the nominal model: a payload of the scenario is unknown to it, as on a real arm. Without commands it stops by
    itself; damped, it is torque = -damping dq + gravity(q).
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
        self._tip = int(self.model.site_bodyid[self._site])
        stiffness, self._damping, self.torque_limit = robot.law
        self._stiffness = self.scenario.stiffness_scale * stiffness
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
        self.self_stop = SelfStop(self.robot, np.array(start, dtype=float), self.dt)
        self.estop_pressed = False
        self.torque_scale = np.ones(self.robot.n)
        self.push = np.zeros(3)
        self.actuator_delay_s = self.scenario.actuator_delay_s
        self._lagged_q, self._lagged_dq = self.self_stop.reference.q, self.self_stop.reference.dq
        self._delayed: deque[tuple[FloatArray, FloatArray]] = deque()
        self._torque = np.zeros(self.robot.n)
        self._sample: RobotState | None = None
        self._collision_data = mujoco.MjData(self.model)

    def read(self) -> RobotState:
        """Newest measurement, with the scenario's noise and dropped samples."""
        scenario = self.scenario
        if self._sample is not None and scenario.dropped_samples and self.rng.random() < scenario.dropped_samples:
            return self._sample
        state = self.truth()
        if scenario.position_noise:
            state = state._replace(q=state.q + self.rng.normal(0.0, scenario.position_noise, state.q.shape))
        if scenario.velocity_noise:
            state = state._replace(dq=state.dq + self.rng.normal(0.0, scenario.velocity_noise, state.dq.shape))
        self._sample = state
        return state

    def truth(self) -> RobotState:
        """What is, without noise."""
        reference = self.self_stop.reference
        return RobotState(
            t=self.data.time, q=self.data.qpos[self._qpos], dq=self.data.qvel[self._dof], q_ref=reference.q, dq_ref=reference.dq,
            torque=self._torque, ee=self.data.site_xpos[self._site].copy(),
        )  # fmt: skip

    def write(self, q_ref: FloatArray, dq_ref: FloatArray) -> None:
        """Reference of the impedance law until the next write."""
        self.self_stop.command(q_ref, dq_ref)

    def damp(self) -> None:
        """Give up the reference."""
        self.self_stop.damp()

    @property
    def self_stopped(self) -> bool:
        """True if it stopped for want of commands."""
        return self.self_stop.stopped

    def advance(self, seconds: float) -> None:
        """Simulate this long, in whole steps."""
        for _ in range(round(seconds / self.dt)):
            self.step()

    def step(self) -> None:
        """Advance the simulation by one step of dt [s]."""
        q, dq = self.data.qpos[self._qpos], self.data.qvel[self._dof]
        reference = self.self_stop.step(q)
        q_ref, dq_ref = self._through_delay_and_lag(reference.q, reference.dq)
        pull = self._stiffness * (q_ref - q) + self._damping * (dq_ref - dq) if not self.self_stop.damped else -self._damping * dq
        torque = pull + self._gravity_torque()
        limit = self.torque_limit * self.torque_scale
        self._torque = np.minimum(np.maximum(torque, -limit), limit)
        self.saturated_steps += bool(np.any(self._torque != torque))
        self.data.ctrl[self._ctrl] = self._torque
        self.data.xfrc_applied[self._tip, :3] = self.push
        mujoco.mj_step(self.model, self.data)

    def _through_delay_and_lag(self, q_ref: FloatArray, dq_ref: FloatArray) -> tuple[FloatArray, FloatArray]:
        if self.actuator_delay_s:
            self._delayed.append((q_ref, dq_ref))
            steps = round(self.actuator_delay_s / self.dt)
            while len(self._delayed) > steps + 1:
                self._delayed.popleft()
            q_ref, dq_ref = self._delayed[0]
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
        spec = robot_spec(robot)
        kinds = {"box": mujoco.mjtGeom.mjGEOM_BOX, "sphere": mujoco.mjtGeom.mjGEOM_SPHERE}
        for i, obstacle in enumerate(scenario.obstacles):
            size = np.zeros(3)
            size[: len(obstacle.size)] = obstacle.size
            spec.worldbody.add_geom(name=f"obstacle{i}", type=kinds[obstacle.shape], pos=obstacle.position, size=size, rgba=[0.9, 0.45, 0.2, 1.0])
        if scenario.payload_kg:
            site = next((s for s in spec.sites if s.name == robot.end_effector_site), None)
            if site is None:
                raise BadInput(model_file(robot), "site", robot.end_effector_site, "the site to hang the payload on")
            body = site.parent.add_body(name="payload", pos=site.pos)
            body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.03, 0, 0], mass=scenario.payload_kg, contype=0, conaffinity=0, rgba=[0.9, 0.45, 0.2, 1.0])
        model = spec.compile()
    _, dof, _ = joint_addresses(model, robot)
    model.dof_damping[dof] *= scenario.damping_scale
    model.dof_frictionloss[dof] = scenario.joint_friction * robot.limits("torque")
    return model
