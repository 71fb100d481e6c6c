"""How a simulated robot on legs, and the ground below it, differ from its model: `sim/scenarios/legged/*.yaml`."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

import mujoco
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from taustack.config import Positive, Vector3
from taustack.errors import UnknownName
from taustack.legged import LeggedConfig
from taustack.sim.model_file import robot_spec
from taustack.strict_yaml import StrictModel, load

FOLDER = Path(__file__).resolve().parent / "scenarios" / "legged"
TILE_M, TILES = 0.8, 8  # side of a tile; tiles each way from the start
NotNegative = Annotated[float, Field(ge=0)]


class LeggedScenario(StrictModel):
    """See the module. Noise is of the sensors, normal and white."""

    description: str = ""
    payload_kg: NotNegative = 0.0
    payload_at: Vector3 = Field(default=(0.0, 0.0, 0.08), description="in the base [m]")
    friction: Positive = Field(default=0.8, description="sliding friction between feet and floor")
    strength: Annotated[float, Field(gt=0, le=1.5, description="of the motors, as a share of their torque limits")] = 1.0
    delay_s: Annotated[float, Field(ge=0, le=0.1, description="between a target and its effect on the motors [s]")] = 0.0
    stiff_joint: int | None = Field(default=None, description="joint whose friction is multiplied, from 0")
    stiff_factor: Positive = 6.0
    slope: Annotated[float, Field(ge=-0.4, le=0.4, description="of the floor, rising forward [rad]")] = 0.0
    steps: Annotated[
        float, Field(ge=0, le=0.2, description="height of every other tile of the floor, as on a chessboard; the robot begins on a low one [m]")
    ] = 0.0
    position_noise: NotNegative = Field(default=0.001, description="[rad]")
    velocity_noise: NotNegative = Field(default=0.05, description="[rad/s]")
    gyro_noise: NotNegative = Field(default=0.01, description="[rad/s]")
    acceleration_noise: NotNegative = Field(default=0.1, description="[m/s^2]")

    def model(self, robot: LeggedConfig) -> mujoco.MjModel:
        """The robot's model with what is different."""
        spec = robot_spec(robot)
        if self.payload_kg:
            payload = spec.body(robot.base_body).add_body(name="payload", pos=self.payload_at)
            payload.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.05, 0, 0], mass=self.payload_kg, contype=0, conaffinity=0, rgba=[0.9, 0.45, 0.2, 1.0])
        if self.steps:
            _add_tiles(spec, self.steps, self.friction)
        model = spec.compile()
        feet = [model.geom(leg.foot).id for leg in robot.legs]
        model.geom_friction[feet, 0] = self.friction
        floor = model.geom("floor").id
        model.geom_friction[floor, 0] = self.friction
        if self.slope:
            model.geom_quat[floor] = [np.cos(-self.slope / 2), 0.0, np.sin(-self.slope / 2), 0.0]
        if self.stiff_joint is not None:
            dof = model.joint(robot.joint_names[self.stiff_joint]).dofadr[0]
            model.dof_frictionloss[dof] *= self.stiff_factor
            model.dof_damping[dof] *= self.stiff_factor
        return model

    def floor_height(self, position: NDArray[np.float64]) -> float:
        """Of the floor below a position (3,) [m]."""
        return float(position[0]) * self._rise + (self.steps if _raised(position) else 0.0)

    @cached_property
    def _rise(self) -> float:
        return float(np.tan(self.slope))


def _raised(position: NDArray[np.float64]) -> bool:
    """True on a high tile."""
    return bool((np.floor(position[0] / TILE_M + 0.5) + np.floor(position[1] / TILE_M + 0.5)) % 2)


def _add_tiles(spec: mujoco.MjSpec, height: float, friction: float) -> None:
    """Put the high tiles on the floor, as far as TILES each way."""
    for i in range(-TILES, TILES + 1):
        for j in range(-TILES, TILES + 1):
            if (i + j) % 2:
                spec.worldbody.add_geom(
                    type=mujoco.mjtGeom.mjGEOM_BOX, size=[TILE_M / 2, TILE_M / 2, height / 2], pos=[i * TILE_M, j * TILE_M, height / 2],
                    friction=[friction, 0.02, 0.01], rgba=[0.7, 0.72, 0.7, 1.0],
                )  # fmt: skip


def load_legged_scenario(name_or_path: str | Path) -> LeggedScenario:
    """Load a scenario by name or path.

    Raises:
        UnknownName: no such scenario.
        BadInput: the file is at fault.
    """
    found = {path.stem: path for path in FOLDER.glob("*.yaml")}
    path = found.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        raise UnknownName("scenario", str(name_or_path), found)
    return load(LeggedScenario, path)
