"""manifest.yaml of a bundle of a robot on legs: what it is, what it was made from, and the hash of each of its files."""

from __future__ import annotations

from typing import Literal

from taustack.legged import LeggedConfig
from taustack.manifest import DataSource, PlanSpec, Quantiles, Sha256
from taustack.strict_yaml import StrictModel


class LeggedContract(StrictModel):
    """What the graphs assume of the robot; compared with robot.yaml at load, and repeated in each ONNX file's metadata."""

    robot: str
    joint_names: tuple[str, ...]
    units: str = "rad, rad/s, m, m/s, s"
    plan_hz: float
    mass: float
    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    viscous_friction: tuple[float, ...]
    torque_limit: tuple[float, ...]
    gait: dict[str, float | tuple[float, ...]]

    @classmethod
    def of(cls, robot: LeggedConfig) -> LeggedContract:
        """As robot.yaml has it."""
        law = {name: tuple(robot.of_joints(name).tolist()) for name in ("stiffness", "damping", "viscous_friction")}
        return cls(
            robot=robot.name, joint_names=robot.joint_names, plan_hz=robot.rates.plan_hz, mass=robot.mass,
            torque_limit=tuple(robot.of_joints("torque").tolist()), gait=robot.gait.model_dump(), **law,
        )  # fmt: skip


class WalkManifest(StrictModel):
    """See the module."""

    format: Literal[1] = 1
    kind: Literal["walk"] = "walk"
    name: str
    version: str
    created: str
    code_version: str
    command: str
    task: str
    contract: LeggedContract
    state_layout: tuple[str, ...]
    action_layout: tuple[str, ...]
    feature_mean: tuple[float, ...]
    feature_std: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]
    plan: PlanSpec
    data: DataSource
    falls: int
    """In the data."""
    metrics: dict[str, float]
    disagreement: Quantiles
    """Of the ensemble over one step on held-out runs, normalised: beyond it the model is not trusted."""
    files: dict[str, Sha256]
