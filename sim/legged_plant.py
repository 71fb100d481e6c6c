"""A robot on legs in MuJoCo: motors with their law, IMU, what was changed on it, kicks."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.controllers.base_state import ImuSample
from taustack.controllers.gait_state import LegTargets
from taustack.errors import BadInput
from taustack.legged import LeggedConfig
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.model_file import IMU, model_file, robot_model, torque_motor_of

FloatArray = NDArray[np.float64]
CLEAR_M = 0.005  # of the feet over the floor at a start
MASS_SHARE = 0.02  # by which the mass that a robot's file states may differ from its model's
BRAKE = 4.0  # times the law's damping, of joints that follow nothing
KICK_S = 0.05  # that a kick lasts: an IMU sees it


@dataclass(frozen=True, kw_only=True)
class BaseTruth:
    """What is, for the judge alone: position, velocity (3,) in the world, quaternion (4,) wxyz."""

    position: FloatArray
    velocity: FloatArray
    quaternion: FloatArray


class LeggedPlant:
    """`step()` advances 1 / plant_hz with the law torque = k (q* - q) + d (dq* - dq) + friction dq* + torque*, clipped to the motors' limits.

    Of the time from now on: `push` (3,) is a force on the base in the world [N], `strength` (n,) shares of the motors' limits, `delay_s` what a
    target takes to the motors.

    Args:
        robot: model, law and limits.
        scenario: what is different from it.
        rng: of the sensors' noise.
    """

    def __init__(self, robot: LeggedConfig, scenario: LeggedScenario | None = None, rng: np.random.Generator | None = None) -> None:
        self.robot, self.scenario = robot, scenario or LeggedScenario()
        self.rng = rng or np.random.default_rng(0)
        compile_legged(robot)  # what does not fit is said before anything is changed
        self.model = self.scenario.model(robot)
        self.dt = 1.0 / robot.rates.plant_hz
        self.model.opt.timestep = self.dt
        self.data = mujoco.MjData(self.model)
        self._stiffness, self._damping, self._friction, self._limit = (
            robot.of_joints(what) for what in ("stiffness", "damping", "viscous_friction", "torque")
        )  # fmt: skip
        self._limit = self._limit * self.scenario.strength
        self._velocity = robot.of_joints("velocity")
        self._q = np.array([self.model.joint(name).qposadr[0] for name in robot.joint_names])
        self._dq = np.array([self.model.joint(name).dofadr[0] for name in robot.joint_names])
        self._ctrl = np.array([torque_motor_of(self.model, name, model_file(robot)) for name in robot.joint_names])
        self._base = self.model.body(robot.base_body).id
        self._feet = np.array([self.model.geom(leg.foot).id for leg in robot.legs])
        self._gyro, self._accelerometer = (self.model.sensor(name).adr[0] for name in IMU)
        self.reset()

    def reset(self, yaw: float = 0.0) -> None:
        """Standing at home over the origin, with a heading [rad]."""
        mujoco.mj_resetData(self.model, self.data)
        home = self.robot.of_joints("home")
        self.data.qpos[:7] = [0.0, 0.0, 1.0, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)]
        self.data.qpos[self._q] = home
        mujoco.mj_kinematics(self.model, self.data)
        feet = self.data.geom_xpos[self._feet]
        above = feet[:, 2] - self.model.geom_size[self._feet, 0] - [self.scenario.floor_height(foot) for foot in feet]
        self.data.qpos[2] += CLEAR_M - float(above.min())
        mujoco.mj_forward(self.model, self.data)
        self._targets: deque[LegTargets] = deque([_resting(self.robot)])
        self.torque = np.zeros(self.robot.n)
        self._push, self._push_until = np.zeros(3), 0.0
        self.push, self.strength, self.delay_s = np.zeros(3), np.ones(self.robot.n), self.scenario.delay_s
        self.fastest = 0.0

    def write(self, targets: LegTargets) -> None:
        """What the motors follow from now on, late by the scenario's delay."""
        self._targets.append(targets)
        while len(self._targets) > 1 + round(self.delay_s / self.dt):
            self._targets.popleft()

    def damp(self) -> None:
        """Nothing is followed any more, the joints are braked, until targets are written again."""
        self._targets.clear()

    def joints(self) -> tuple[FloatArray, FloatArray]:
        """Positions and velocities (n,) as they are, without noise."""
        return self.data.qpos[self._q], self.data.qvel[self._dq]

    def step(self) -> None:
        """Advance by one step of dt [s]."""
        q, dq = self.joints()
        if self._targets:
            target = self._targets[0]
            asked = self._stiffness * (target.q - q) + self._damping * (target.dq - dq) + self._friction * target.dq + target.torque
        else:
            asked = -BRAKE * self._damping * dq
        limit = self.strength * self._limit
        self.torque = np.minimum(np.maximum(asked, -limit), limit)
        self.data.ctrl[self._ctrl] = self.torque
        self.data.xfrc_applied[self._base, :3] = self.push + (self._push if self.data.time < self._push_until else 0.0)
        mujoco.mj_step(self.model, self.data)
        self.fastest = max(self.fastest, float((np.abs(self.data.qvel[self._dq]) / self._velocity).max()))

    def read(self) -> ImuSample:
        """Newest measurement, with noise."""
        s, noise = self.data.sensordata, self.scenario

        def noisy(x: FloatArray, std: float) -> FloatArray:
            return np.array(x) + self.rng.normal(0.0, std, np.shape(x)) if std else np.array(x)

        return ImuSample(
            t=float(self.data.time), q=noisy(self.data.qpos[self._q], noise.position_noise), dq=noisy(self.data.qvel[self._dq], noise.velocity_noise),
            torque=self.torque, gyro=noisy(s[self._gyro : self._gyro + 3], noise.gyro_noise),
            acceleration=noisy(s[self._accelerometer : self._accelerometer + 3], noise.acceleration_noise),
        )  # fmt: skip

    def truth(self) -> BaseTruth:
        """What is, without noise."""
        return BaseTruth(position=self.data.xpos[self._base].copy(), velocity=self.data.qvel[:3].copy(), quaternion=self.data.qpos[3:7].copy())

    def kick(self, velocity: FloatArray) -> None:
        """Push the base by what changes the velocity of the whole robot by (3,) [m/s], over KICK_S."""
        self._push = float(self.model.body_subtreemass[self._base]) * np.asarray(velocity) / KICK_S
        self._push_until = float(self.data.time) + KICK_S

    def drop_payload(self) -> None:
        """The scenario's payload is gone from now on."""
        self.model.body("payload").mass[0] = 1e-6
        self.model.body("payload").inertia[:] = 1e-9

    @property
    def fallen(self) -> bool:
        """True once the base is low or tilted beyond what the robot's file allows."""
        up = float(self.data.xmat[self._base, 8])  # of the vertical in the base's z
        floor = self.scenario.floor_height(self.data.xpos[self._base])
        return float(self.data.xpos[self._base, 2]) - floor < self.robot.fall.height or math.acos(min(1.0, max(-1.0, up))) > self.robot.fall.tilt


def compile_legged(robot: LeggedConfig) -> mujoco.MjModel:
    """Compile the robot's MJCF and check it against robot.yaml.

    Raises:
        BadInput: something does not fit; names the key and both values.
    """
    source = robot.folder / "robot.yaml"
    model, path = robot_model(robot), model_file(robot)
    free = [i for i in range(model.njnt) if model.jnt_type[i] == int(mujoco.mjtJoint.mjJNT_FREE)]
    if len(free) != 1 or model.body(model.jnt_bodyid[free[0]]).name != robot.base_body:
        raise BadInput(source, "base_body", robot.base_body, f"the one body of {path.name} that moves freely")
    names = [model.joint(i).name for i in range(model.njnt) if i not in free]
    if sorted(names) != sorted(robot.joint_names):
        raise BadInput(source, "joints", ", ".join(robot.joint_names), f"the joints of {path.name}: {', '.join(names)}")
    for i, joint in enumerate(robot.joints):
        if not np.allclose(model.joint(joint.name).range, joint.position, atol=1e-4):
            found = model.joint(joint.name).range.tolist()
            raise BadInput(source, f"joints.{i}.position", list(joint.position), f"{found}, as in {path.name}")
    mass = float(model.body_subtreemass[model.body(robot.base_body).id])
    if abs(mass - robot.mass) > MASS_SHARE * mass:
        raise BadInput(source, "mass", robot.mass, f"{mass:.3f}, as in {path.name}")
    geoms = [model.geom(i).name for i in range(model.ngeom)]
    for i, leg in enumerate(robot.legs):
        if leg.foot not in geoms:
            raise BadInput(source, f"legs.{i}.foot", leg.foot, f"a geom of {path.name}")
    if "floor" not in geoms:
        raise BadInput(path, "geom", "no floor", "a plane `floor` below the robot")
    sensors = [model.sensor(i).name for i in range(model.nsensor)]
    for name in IMU:
        if name not in sensors:
            raise BadInput(path, "sensor", f"no {name}", "a gyro `imu_gyro` and an accelerometer `imu_accelerometer` at the base")
    return model


def _resting(robot: LeggedConfig) -> LegTargets:
    """Joints at home, nothing else."""
    still = np.zeros(robot.n)
    return LegTargets(q=robot.of_joints("home"), dq=still, torque=still, stance=np.ones(len(robot.legs), dtype=bool))
