"""Scenarios: what differs from the nominal robot in a simulation, as YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from taustack.config import Positive
from taustack.errors import BadInput, UnknownName
from taustack.obstacles import Obstacle
from taustack.sim.faults import Fault, require_joints
from taustack.strict_yaml import StrictModel, load

FOLDER = Path(__file__).resolve().parent / "scenarios"
NonNegative = Annotated[float, Field(ge=0)]


class Scenario(StrictModel):
    """Options of a simulation; the defaults are the nominal robot. Units: SI."""

    description: str = ""
    initial_q: tuple[float, ...] | None = Field(default=None, description="joint positions to start from; home if absent")
    payload_kg: NonNegative = Field(default=0.0, description="mass held at the end effector, unknown to the gravity compensation [kg]")
    joint_friction: NonNegative = Field(default=0.0, description="dry friction of each joint, as a fraction of its torque limit")
    damping_scale: Positive = Field(default=1.0, description="factor on the joints' viscous damping")
    stiffness_scale: Positive = Field(default=1.0, description="factor on the stiffness of the impedance law: a softer arm sags and lags")
    reference_lag_s: NonNegative = Field(default=0.0, description="time constant of a first-order lag on the reference [s]")
    actuator_delay_s: NonNegative = Field(default=0.0, description="pure delay of the reference [s]")
    position_noise: NonNegative = Field(default=0.0, description="std of the noise on q [rad or m]")
    velocity_noise: NonNegative = Field(default=0.0, description="std of the noise on dq [rad/s or m/s]")
    dropped_samples: Annotated[float, Field(ge=0, lt=1, description="probability that a read returns the sample before")] = 0.0
    obstacles: tuple[Obstacle, ...] = Field(default=(), description="fixed bodies in the way that no planner is told of; those it knows are the task's")
    faults: tuple[Fault, ...] = Field(default=(), description="what goes wrong, see docs/reference/faults.md")
    goals: Literal["front", "anywhere"] = Field(default="front", description="front: x >= 0.2 m; anywhere: the whole sphere around the arm")


def scenario_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_scenario(name: str, n: int) -> Scenario:
    """Load a scenario by name, or from a path that ends in .yaml, for a robot of n joints."""
    path = Path(name) if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not name.endswith(".yaml") and name not in scenario_names():
        raise UnknownName("scenario", name, scenario_names())
    scenario = load(Scenario, path)
    if scenario.initial_q is not None and len(scenario.initial_q) != n:
        raise BadInput(path, "initial_q", f"{len(scenario.initial_q)} values", f"{n}, one a joint")
    require_joints(scenario.faults, n, path)
    return scenario
