"""Tasks of robots on legs: `tasks/<name>.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from taustack.config import Positive, Vector3
from taustack.errors import UnknownName
from taustack.legged import LeggedConfig
from taustack.strict_yaml import StrictModel, load

COST = {"velocity": 3.0, "fall": 100.0, "posture": 4.0, "landing": 0.5, "smoothness": 0.2, "disagreement": 5.0}


class WalkMPPIConfig(StrictModel):
    """Parameters of the MPPI planner of walks; those marked (export) are fixed in the plan graph."""

    samples: Annotated[int, Field(ge=8, description="sampled plans a tick, over all shards (export)")] = 192
    horizon: Annotated[int, Field(ge=5, le=100, description="steps ahead (export)")] = 25
    shards: Annotated[int, Field(ge=1, le=16, description="sessions that the samples are split over (export)")] = 2
    knots: Annotated[int, Field(ge=2, description="of the splines that noise is made of")] = 5
    noise_std: tuple[Positive, Positive, Positive, Positive, Positive] = Field(
        default=(0.25, 0.15, 0.3, 0.06, 0.06), description="of the widest noise: forward, sideways [m/s], turn [rad/s], landing forward, sideways [m]"
    )
    noise_floor: Annotated[float, Field(gt=0, le=1, description="of the narrowest noise, as a share of the widest")] = 0.1
    temperature: Positive = Field(default=0.1, description="as a share of the median of S - min S")
    latency_steps: Annotated[int, Field(ge=0, le=5, description="steps between a state and the effect of its plan")] = 2


class WalkTaskConfig(StrictModel):
    """A task of a robot on legs."""

    kind: Literal["goal", "velocity"] = Field(description="a place on the floor to come to, or velocities to keep")
    timeout_s: Positive = Field(description="length of an episode at most [s]")
    tolerance: Positive = Field(default=0.25, description="distance that counts as there [m]")
    distance: tuple[Positive, Positive] = Field(default=(2.0, 5.0), description="of simulated goals [m]")
    velocity: Vector3 = Field(default=(0.8, 0.3, 1.0), description="most that simulated commands ask: forward, sideways [m/s], turn [rad/s]")
    change_s: Positive = Field(default=4.0, description="time between two commands [s]")
    kick_every_s: Positive | None = Field(default=None, description="time between two kicks [s]; absent: none")
    kick: Annotated[float, Field(ge=0, description="change of the base's velocity that a kick makes, in any direction [m/s]")] = 0.0
    scenarios: Annotated[tuple[str, ...], Field(min_length=1, description="of simulated episodes, one after another, unless one is asked for")] = ("nominal",)
    mppi: WalkMPPIConfig = Field(default=WalkMPPIConfig(), description="see WalkMPPIConfig")
    cost: dict[str, Annotated[float, Field(ge=0)]] = Field(default=COST, description="weight of each cost term of controllers/walk_costs")
    name: str = Field(default="", exclude=True)


def load_walk_task(robot: LeggedConfig, name: str) -> WalkTaskConfig:
    """Load `tasks/<name>.yaml` of a robot on legs."""
    tasks = {path.stem: path for path in (robot.folder / "tasks").glob("*.yaml")}
    if name not in tasks:
        raise UnknownName(f"task of robot {robot.name}", name, tasks)
    return load(WalkTaskConfig, tasks[name]).model_copy(update={"name": name})
