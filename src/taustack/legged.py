"""A robot on legs, as data: joints, legs, gait, as data. `robot.yaml` has `legs` then, where an arm's has an end effector."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from taustack.config import GoalSpaceConfig, Positive, Timeouts, Vector3
from taustack.errors import BadInput
from taustack.robot_folders import has_legs, robot_folder
from taustack.strict_yaml import StrictModel, load

FloatArray = NDArray[np.float64]
Share = Annotated[float, Field(ge=0, lt=1)]
PARTS = 3  # joints of a leg: abduction about x, thigh and calf about y


class LegJointConfig(StrictModel):
    """One joint: limits as its maker states them, and the law that its motor follows."""

    name: str = Field(description="name of the joint in the model")
    position: tuple[float, float] = Field(description="lower and upper limit [rad]")
    velocity: Positive = Field(description="limit [rad/s]")
    torque: Positive = Field(description="limit; the law saturates here [N m]")
    stiffness: Positive = Field(description="of the law [N m/rad]")
    damping: Positive = Field(description="of the law [N m s/rad]")
    viscous_friction: Annotated[float, Field(ge=0, description="known friction of the joint, which the law makes up for [N m s/rad]")] = 0.0
    home: float = Field(description="position in which the robot stands [rad]")

    @model_validator(mode="after")
    def _limits_fit(self) -> LegJointConfig:
        low, high = self.position
        if not low <= self.home <= high:
            raise ValueError(f"home of joint {self.name} within its limits [{low}, {high}], came {self.home}")
        return self


class LegConfig(StrictModel):
    """A leg: abduction about x at the hip, thigh and calf about y."""

    name: str
    joints: tuple[str, str, str] = Field(description="abduction, thigh, calf")
    foot: str = Field(description="geom of the foot")
    hip: Vector3 = Field(description="of the abduction's axis in the base [m]")
    lateral: float = Field(description="from there to the thigh's axis, to the left [m]")
    thigh: Positive = Field(description="length [m]")
    calf: Positive = Field(description="length, to the middle of the foot [m]")
    foot_radius: Annotated[float, Field(ge=0, description="of a round foot, which rolls on the floor [m]")] = 0.0


class GaitConfig(StrictModel):
    """Of the trajectory generators: one a leg."""

    frequency: Positive = Field(description="strides [Hz]")
    duty: Annotated[float, Field(gt=0.2, lt=0.9, description="share of a stride on the floor")]
    phases: tuple[Share, ...] = Field(description="of each leg, in strides")
    height: Positive = Field(description="of the base over the feet [m]")
    swing_height: Positive = Field(description="of a foot over the floor, at most [m]")
    foot_offset: float = Field(default=0.0, description="of the feet from below the hips, forward [m]")
    velocity: Vector3 = Field(description="most that is asked of a stride: forward, sideways [m/s], turn [rad/s]")
    acceleration: Vector3 = Field(default=(8.0, 6.0, 15.0), description="with which strides change [m/s^2], [rad/s^2]")
    landing: Positive = Field(default=0.2, description="most that a command may add to where a foot lands [m]")
    landing_rate: Positive = Field(default=2.0, description="with which that changes [m/s]")
    reach: Positive = Field(default=0.2, description="of a foot from below its hip, forward and sideways, at most [m]")


class FallConfig(StrictModel):
    """When a robot counts as fallen."""

    height: Positive = Field(description="of the base over the floor below it, at least [m]")
    tilt: Positive = Field(description="of the base, at most [rad]")


class LegSafetyConfig(Timeouts):
    """What the layer below the planner watches, and how long it waits for others."""

    command_timeout_s: Positive = Field(default=0.08, description="the robot stops by itself without a command for this long [s]; it falls then")
    # Linux may take 50 ms at a time from all real-time threads where they leave nothing to others: not what a walk should end for.
    plan_timeout_s: Positive = Field(default=0.2, description="a plan is followed for this long after it took effect [s]; a stride takes longer")
    stands_up: bool = Field(default=True, description="a robot that lies on its belly stands up by itself; false: it says so and waits for a person")
    low_s: Positive = Field(default=0.1, description="time below the height of a fall until the robot counts as fallen [s]")
    largest_error: Positive = Field(default=0.8, description="between a joint and its target [rad]")
    far_s: Positive = Field(default=0.1, description="time beyond it until the robot is damped [s]")
    contact_s: Positive = Field(default=1.0, description="no walk after no foot carried anything for this long [s]")
    turn_rate: Positive = Field(default=30.0, description="most that the gyro can mean [rad/s]")
    acceleration: Positive = Field(default=300.0, description="most that the accelerometer can mean [m/s^2]")
    blind_s: Positive = Field(default=1.0, description="a robot whose measurements cannot be trusted for this long is damped: it may have fallen [s]")
    response_s: Annotated[float, Field(ge=0, description="a joint that does not move follows its target by this much late at most [s]")] = 0.05


class LegRates(StrictModel):
    """How often what happens; each divides the one before."""

    plant_hz: Positive = Field(default=500.0, description="law of the motors and simulation [Hz]")
    tracker_hz: Positive = Field(default=500.0, description="trajectory generators and estimator [Hz]")
    plan_hz: Positive = Field(default=50.0, description="commands [Hz]")
    state_hz: Positive = Field(default=100.0, description="states to those who plan [Hz]")


class LegGoalSpaces(StrictModel):
    """What goals of temporal difference models of a robot on legs may be."""

    base_position: GoalSpaceConfig = Field(default=GoalSpaceConfig(dt=0.2), description="places of the base on the floor, where its odometry has them [m]")
    base_velocity: GoalSpaceConfig = Field(default=GoalSpaceConfig(dt=0.2), description="forward, sideways [m/s] and turn [rad/s], means over a stride")


class LeggedConfig(StrictModel):
    """A robot on legs, as data."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    model: str = Field(description="MJCF file in the robot's folder, or `menagerie:NAME[/ENTRY]` of MuJoCo Menagerie")
    base_body: str = Field(description="body that moves freely and carries the IMU")
    mass: Positive = Field(description="of the whole robot, which its legs carry [kg]")
    base_frame: str = Field(default="odom", description="frame of goals and of the base's place: where its odometry began")
    rates: LegRates = Field(default=LegRates(), description="see LegRates")
    gait: GaitConfig = Field(description="see GaitConfig")
    fall: FallConfig = Field(description="see FallConfig")
    safety: LegSafetyConfig = Field(default=LegSafetyConfig(), description="see LegSafetyConfig")
    goal_spaces: LegGoalSpaces = Field(default=LegGoalSpaces(), description="see LegGoalSpaces")
    joints: Annotated[tuple[LegJointConfig, ...], Field(min_length=PARTS, description="three a leg, in the legs' order")]
    legs: Annotated[tuple[LegConfig, ...], Field(min_length=1)]
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _parts_fit(self) -> LeggedConfig:
        named = [name for leg in self.legs for name in leg.joints]
        have = [joint.name for joint in self.joints]
        if named != have:
            raise ValueError(f"joints: those of the legs, in their order ({', '.join(named)}), came {', '.join(have)}")
        if len(self.gait.phases) != len(self.legs):
            raise ValueError(f"gait.phases: one a leg ({len(self.legs)}), came {len(self.gait.phases)}")
        return self

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.joints)

    @property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    def of_joints(self, what: Literal["velocity", "torque", "stiffness", "damping", "viscous_friction", "home"]) -> FloatArray:
        """A figure of each joint (n,), SI units."""
        return np.array([getattr(joint, what) for joint in self.joints])

    @cached_property
    def q_min(self) -> FloatArray:
        return np.array([joint.position[0] for joint in self.joints])

    @cached_property
    def q_max(self) -> FloatArray:
        return np.array([joint.position[1] for joint in self.joints])


class StridesConfig(StrictModel):
    """`strides.yaml`: what velocity a commanded one gives, gain @ command + offset, measured by `taustack train strides`."""

    gain: tuple[Vector3, Vector3, Vector3]
    offset: Vector3


def load_strides(robot: LeggedConfig) -> StridesConfig:
    """The robot's measured strides; without a file those that are as commanded."""
    path = robot.folder / "strides.yaml"
    if not path.is_file():
        return StridesConfig(gain=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), offset=(0.0, 0.0, 0.0))
    return load(StridesConfig, path)


def load_legged(name_or_folder: str | Path) -> LeggedConfig:
    """Load a robot on legs by name, or from its folder.

    Raises:
        UnknownName: no such robot.
        BadInput: its robot.yaml is at fault.
    """
    folder = robot_folder(name_or_folder)
    if not has_legs(folder):
        raise BadInput(folder / "robot.yaml", "legs", "none", "a robot on legs")
    return load(LeggedConfig, folder / "robot.yaml").model_copy(update={"folder": folder.resolve()})
