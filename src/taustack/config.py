"""robot.yaml and task YAML: what a robot is and what it is asked to do. Robots are data; nothing here knows a name."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from taustack.errors import BadInput, UnknownName
from taustack.obstacles import ROWS_LIMIT, Obstacle
from taustack.robot_folders import has_legs, robot_folder
from taustack.strict_yaml import StrictModel, load

Positive = Annotated[float, Field(gt=0)]
Vector3 = tuple[float, float, float]


class JointConfig(StrictModel):
    """One joint: limits as its maker states them, gains of the impedance law, home."""

    name: str = Field(description="name of the joint in the model")
    kind: Literal["revolute", "prismatic"] = Field(default="revolute", description="as in the model")
    position: tuple[float, float] = Field(description="lower and upper limit [rad or m]")
    velocity: Positive = Field(description="limit [rad/s or m/s]")
    acceleration: Positive = Field(description="limit [rad/s^2 or m/s^2]")
    jerk: Positive = Field(description="limit [rad/s^3 or m/s^3]")
    torque: Positive = Field(description="limit; the law saturates here [N m or N]")
    stiffness: Positive = Field(description="of the impedance law [N m/rad or N/m]")
    damping: Positive = Field(description="of the impedance law [N m s/rad or N s/m]")
    home: float = Field(description="position to start from [rad or m]")

    @model_validator(mode="after")
    def _limits_fit(self) -> JointConfig:
        low, high = self.position
        if low >= high:
            raise ValueError(f"a lower position limit below the upper one in joint {self.name}, came [{low}, {high}]")
        if not low <= self.home <= high:
            raise ValueError(f"home of joint {self.name} within its limits [{low}, {high}], came {self.home}")
        return self


class Rates(StrictModel):
    """Rates of the stack [Hz] and the model's step [s]."""

    plant_hz: Positive = Field(default=1000.0, description="impedance law and simulation [Hz]")
    tracker_hz: Positive = Field(default=500.0, description="reference and its limits [Hz]; divides plant_hz")
    plan_hz: Positive = Field(default=62.5, description="plans [Hz]")
    state_hz: Positive = Field(default=62.5, description="robot_state [Hz]; plan_hz or a multiple: a plan starts when a state arrives")
    control_dt: Positive = Field(default=0.02, description="step of the model and of a plan's actions [s]")

    @model_validator(mode="after")
    def _whole_ratios(self) -> Rates:
        for name, ratio in (("plant_hz / tracker_hz", self.plant_hz / self.tracker_hz), ("control_dt * tracker_hz", self.control_dt * self.tracker_hz)):
            if not 1 - 1e-6 <= ratio <= 1e6 or abs(ratio - round(ratio)) > 1e-6:
                raise ValueError(f"{name} a whole number from 1 to a million, came {ratio:g}")
        return self


class Workspace(StrictModel):
    """Where goals may lie: a box and a sphere in the base frame [m]."""

    low: Vector3 = Field(description="lower corner of the box [m]")
    high: Vector3 = Field(description="upper corner of the box [m]")
    centre: Vector3 = Field(default=(0.0, 0.0, 0.0), description="centre of the sphere [m]")
    radius: Positive = Field(description="radius of the sphere [m]")

    def fault(self, point: NDArray[np.float64]) -> str | None:
        """Say what is wrong with a goal at `point` (3,) [m], or None."""
        if not np.all(np.isfinite(point)):
            return "finite coordinates"
        if np.any(point < self.low) or np.any(point > self.high):
            return f"a point in the box {list(self.low)} to {list(self.high)} m"
        if np.linalg.norm(point - np.asarray(self.centre)) > self.radius:
            return f"a point within {self.radius} m of {list(self.centre)}"
        return None


class Sphere(StrictModel):
    """A part of the robot that keeps clear: a site of the model and a radius around it [m]."""

    site: str = Field(description="site of the model")
    radius: Positive = Field(description="[m]")


class Clearance(StrictModel):
    """What the planner keeps clear of: the floor, and a column around the base axis [m]."""

    floor: float = Field(default=-10.0, description="height of the floor [m]")
    column_radius: Annotated[float, Field(ge=0, description="radius of the column around the base axis [m]")] = 0.0
    column_height: float = Field(default=0.0, description="its height [m]")
    spheres: tuple[Sphere, ...] = Field(default=(), description="parts of the robot that keep clear")


class Timeouts(StrictModel):
    """How long the layer below the planner waits for others."""

    sensor_timeout_s: Positive = Field(default=0.02, description="age of the newest measurement that is trusted [s]")
    sensor_clear_s: Positive = Field(default=0.2, description="time without a sensor fault until plans are followed again [s]")
    command_timeout_s: Positive = Field(default=0.02, description="the robot stops by itself without a command for this long [s]")
    plan_timeout_s: Positive = Field(default=0.1, description="a plan is followed for this long after it took effect [s]")
    bridge_timeout_s: Positive = Field(default=0.1, description="hold without a sign of life from the driver node for this long [s]")
    estop_timeout_s: Positive = Field(default=0.25, description="an e-stop source that is silent for this long counts as pressed [s]")
    estop_topic_timeout_s: Positive = Field(default=0.5, description="the same for sources on the topic `estop`, where discovery may delay a message [s]")
    damp_after_s: Positive | None = Field(default=None, description="time of holding after which the robot is damped [s]; absent: it holds for good")


class SafetyConfig(Timeouts):
    """What the layer below the planner keeps, and how long it waits for others."""

    box_low: Vector3 = Field(default=(-10.0, -10.0, -10.0), description="lower corner of the box that every moving part stays in [m]")
    box_high: Vector3 = Field(default=(10.0, 10.0, 10.0), description="its upper corner [m]")
    margin: Annotated[float, Field(ge=0, description="distance kept to the box and between parts of the robot [m]")] = 0.02
    position_margin: Annotated[float, Field(ge=0, description="kept to the position limits, for what the joint overshoots its reference [rad or m]")] = 0.03
    largest_error: Positive = Field(default=0.3, description="between reference and measured position; beyond it the robot is damped [rad or m]")
    response_s: Annotated[float, Field(ge=0, description="the robot may follow its reference this late before it counts as load [s]")] = 0.1
    overload_s: Positive = Field(default=0.1, description="time at the torque limit until the robot is damped [s]")


class GoalSpaceConfig(StrictModel):
    """A space that goals of temporal difference models lie in."""

    dt: Positive = Field(description="step of such a model [s]")


class ArmGoalSpaces(StrictModel):
    """What goals of an arm's temporal difference models may be."""

    end_effector_position: GoalSpaceConfig = Field(default=GoalSpaceConfig(dt=0.05), description="places of the end effector [m]")
    joint_positions: GoalSpaceConfig = Field(default=GoalSpaceConfig(dt=0.1), description="positions of the joints, which have further to go [rad]")


class RobotConfig(StrictModel):
    """A robot, as data."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    description: str = ""
    model: str = Field(description="MJCF file in the robot's folder, or `menagerie:NAME[/ENTRY]` of MuJoCo Menagerie")
    base_frame: str = Field(description="frame of goals and positions")
    end_effector_site: str = Field(description="site of the model that is brought to the goal")
    action_space: Literal["velocity"] = Field(default="velocity", description="what an action is")
    limit_fraction: Annotated[float, Field(gt=0, le=1, description="share of the velocity and acceleration limits that planner and tracker use")] = 0.9
    rates: Rates = Field(default=Rates(), description="see Rates")
    workspace: Workspace = Field(description="see Workspace")
    clearance: Clearance = Field(default=Clearance(), description="see Clearance")
    safety: SafetyConfig = Field(default=SafetyConfig(), description="see SafetyConfig")
    goal_spaces: ArmGoalSpaces = Field(default=ArmGoalSpaces(), description="see ArmGoalSpaces")
    joints: Annotated[tuple[JointConfig, ...], Field(min_length=1, description="in the order from base to tip")]
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _joints_are_unique(self) -> RobotConfig:
        names = [joint.name for joint in self.joints]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each joint once, came {', '.join(twice)} twice")
        return self

    @property
    def n(self) -> int:
        """Number of joints."""
        return len(self.joints)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        return tuple(joint.name for joint in self.joints)

    @cached_property
    def q_min(self) -> NDArray[np.float64]:
        return np.array([joint.position[0] for joint in self.joints])

    @cached_property
    def q_max(self) -> NDArray[np.float64]:
        return np.array([joint.position[1] for joint in self.joints])

    @cached_property
    def home(self) -> NDArray[np.float64]:
        return np.array([joint.home for joint in self.joints])

    def limits(self, what: Literal["velocity", "acceleration", "jerk", "torque"]) -> NDArray[np.float64]:
        """The maker's limits (n,), SI units."""
        return np.array([getattr(joint, what) for joint in self.joints])

    @cached_property
    def law(self) -> NDArray[np.float64]:
        """Stiffness, damping and torque limit (3, n) of the impedance law [N m/rad, N m s/rad, N m, or N/m, N s/m, N]."""
        return np.array([[getattr(joint, name) for joint in self.joints] for name in ("stiffness", "damping", "torque")])


class SuccessConfig(StrictModel):
    """When a goal counts as reached."""

    tolerance: Positive = Field(default=0.02, description="distance that counts as reached [m]")
    hold_s: Positive = Field(default=0.5, description="time to stay within it [s]")
    timeout_s: Positive = Field(default=3.0, description="time to come within it [s]")


class MPPIConfig(StrictModel):
    """Parameters of the MPPI planner; those marked (export) are fixed in the plan graph."""

    samples: Annotated[int, Field(ge=8, le=16384, description="K, all shards together (export)")] = 240
    horizon: Annotated[int, Field(ge=2, le=200, description="H, steps of control_dt (export)")] = 25
    shards: Annotated[int, Field(ge=1, le=16, description="single-threaded sessions the samples are split over (export)")] = 2
    noise_std: Annotated[Positive, Field(description="std of the velocity noise as a fraction of the velocity limit")] = 0.25
    noise_floor: Annotated[float, Field(gt=0, le=1, description="std of the narrowest samples as a fraction of noise_std")] = 0.05
    noise_knots: Annotated[int, Field(ge=2, le=50, description="knots of the noise spline over the horizon")] = 6
    temperature: Annotated[Positive, Field(description="lambda divided by the median of S - min S")] = 0.1
    latency_steps: Annotated[int, Field(ge=0, le=10, description="steps of control_dt from the state to the effect of its plan")] = 1


class Region(StrictModel):
    """A box in the base frame [m]."""

    low: Vector3 = Field(description="lower corner [m]")
    high: Vector3 = Field(description="upper corner [m]")

    @model_validator(mode="after")
    def _ordered(self) -> Region:
        if any(low > high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError(f"low: at most high in each entry, came {list(self.low)} and {list(self.high)}")
        return self


class SubgoalConfig(StrictModel):
    """Parameters of the planners of subgoals."""

    points: Annotated[int, Field(ge=1, le=4, description="subgoals between here and the goal")] = 2
    samples: Annotated[int, Field(ge=16, le=4096, description="chains in each round")] = 256
    rounds: Annotated[int, Field(ge=1, le=30, description="rounds of the cross-entropy method")] = 6
    elites: Annotated[float, Field(gt=0, le=0.5, description="share of the chains that the next round is drawn around")] = 0.1
    clearance: Annotated[float, Field(ge=0, description="distance of the way to the obstacles; below it a link costs [m]")] = 0.12
    margin: Positive = Field(default=0.06, description="distance of the arm to the obstacles that `tdm` keeps; below it a chain costs [m]")
    speed: Positive = Field(default=0.6, description="of the end effector, for times [m/s]")
    rate_hz: Positive = Field(default=10.0, description="subgoals [Hz]")


class TaskConfig(StrictModel):
    """A task: goal space, success, planner, weights of the cost terms, and what is in the way."""

    goal_space: Literal["end_effector_position"] = Field(default="end_effector_position", description="what a goal is")
    success: SuccessConfig = Field(default=SuccessConfig(), description="see SuccessConfig")
    mppi: MPPIConfig = Field(default=MPPIConfig(), description="see MPPIConfig")
    cost: dict[str, Annotated[float, Field(ge=0)]] = Field(description="weight of each cost term; terms that are not named weigh nothing")
    terminal: Literal["distance", "tdm"] = Field(
        default="distance",
        description="what `cost.terminal` weighs where the horizon ends: the distance and speed there, or what a temporal difference model says will be left",
    )
    subgoals: SubgoalConfig = Field(default=SubgoalConfig(), description="see SubgoalConfig")
    obstacles: Annotated[
        tuple[Obstacle, ...], Field(max_length=ROWS_LIMIT, description="what the planners know to be in the way; a simulation has it too")
    ] = ()
    start: Region | None = Field(default=None, description="where simulated episodes begin with the end effector; absent: home, or the scenario's initial_q")
    start_near: Annotated[tuple[float, ...] | None, Field(description="joint positions near which that start is looked for; absent: home [rad or m]")] = None
    goals: Region | None = Field(default=None, description="where simulated episodes have their goals; absent: as the scenario says")
    name: str = Field(default="", exclude=True)


def load_robot(name_or_folder: str | Path) -> RobotConfig:
    """Load a robot by name, or from its folder.

    Raises:
        UnknownName: no such robot; names the choices.
        BadInput: its robot.yaml is at fault; names file, key, what came and what was expected.
    """
    folder = robot_folder(name_or_folder)
    try:
        robot = load(RobotConfig, folder / "robot.yaml")
    except BadInput:
        if has_legs(folder):
            expected = "an arm: of robots on legs there are `taustack sim`, `taustack train` and `taustack up sim`"
            raise BadInput(folder / "robot.yaml", "legs", "a robot on legs", expected) from None
        raise
    return robot.model_copy(update={"folder": folder.resolve()})


def load_task(robot: RobotConfig, name: str) -> TaskConfig:
    """Load `tasks/<name>.yaml` of a robot."""
    tasks = {path.stem: path for path in (robot.folder / "tasks").glob("*.yaml")}
    if name not in tasks:
        raise UnknownName(f"task of robot {robot.name}", name, tasks)
    task = load(TaskConfig, tasks[name])
    if task.start_near is not None and len(task.start_near) != robot.n:
        raise BadInput(tasks[name], "start_near", f"{len(task.start_near)} values", f"{robot.n}, one a joint")
    return task.model_copy(update={"name": name})
