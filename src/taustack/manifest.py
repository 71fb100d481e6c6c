"""manifest.yaml of a bundle: what it is, what it was made from, and the hash of each of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from taustack.config import RobotConfig
from taustack.strict_yaml import StrictModel
from taustack.tdm_layout import ChainSpec

MANIFEST = "manifest.yaml"
GOLDEN = "golden.npz"
DYNAMICS = "dynamics.onnx"
TRAINING = "training.npz"
"""What retraining goes on from; the robot does not read it."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class RobotContract(StrictModel):
    """What the graphs assume of the robot; compared with robot.yaml at load, and repeated in each ONNX file's metadata."""

    robot: str
    joint_names: tuple[str, ...]
    units: str = "rad, rad/s, m, N m, s"
    control_dt: float
    stiffness: tuple[float, ...]
    damping: tuple[float, ...]
    velocity_limit: tuple[float, ...]
    acceleration_limit: tuple[float, ...]
    torque_limit: tuple[float, ...]
    limit_fraction: float

    @classmethod
    def of(cls, robot: RobotConfig) -> RobotContract:
        return cls(
            robot=robot.name,
            joint_names=robot.joint_names,
            control_dt=robot.rates.control_dt,
            stiffness=tuple(joint.stiffness for joint in robot.joints),
            damping=tuple(joint.damping for joint in robot.joints),
            velocity_limit=tuple(joint.velocity for joint in robot.joints),
            acceleration_limit=tuple(joint.acceleration for joint in robot.joints),
            torque_limit=tuple(joint.torque for joint in robot.joints),
            limit_fraction=robot.limit_fraction,
        )


class PlanSpec(StrictModel):
    """Shapes of a plan graph: K samples in each of `shards` sessions, H steps, T cost terms in order."""

    planner: Literal["mppi"]
    file: str
    samples_per_shard: int
    shards: int
    horizon: int
    members: int
    cost_terms: tuple[str, ...]

    @classmethod
    def sized(cls, file: str, *, samples: int, shards: int, horizon: int, members: int, cost_terms: tuple[str, ...]) -> PlanSpec:
        """With about so many samples over all shards: each member has the same number of them in each shard, at least two."""
        group = max(2, round(samples / shards / members))
        return cls(planner="mppi", file=file, samples_per_shard=group * members, shards=shards, horizon=horizon, members=members, cost_terms=cost_terms)


class TDMSpec(StrictModel):
    """The temporal difference model of a bundle, over joint positions, and the graph that plans chains of subgoals over it."""

    file: str = "tdm.onnx"
    plan: str = "plan_tdm.onnx"
    chain: ChainSpec
    steps: int
    """Of the robot, that it learned from."""
    source: str
    """The command that made it."""


class DataSource(StrictModel):
    """A dataset the model was trained on."""

    scenario: str
    seed: int
    minutes: float
    runs: dict[str, Sha256]


class Quantiles(StrictModel):
    """Of errors on held-out runs."""

    q50: float
    q95: float
    q99: float


class HoldoutErrors(StrictModel):
    """End-effector errors [m] of open-loop rollouts over held-out runs: what to expect of this model on its robot."""

    rollouts: int
    one_step_m: Quantiles
    horizon_m: Quantiles
    disagreement: Quantiles
    """Of the ensemble over one step, normalised: beyond it the model is not trusted."""


class Manifest(StrictModel):
    """See the module."""

    format: Literal[4] = 4
    name: str
    version: str
    created: str
    code_version: str
    command: str
    task: str
    contract: RobotContract
    state_layout: tuple[str, ...]
    delay_steps: int = 0
    """Control steps by which the robot follows its reference late: the model's q_ref and dq_ref are that old."""
    feature_mean: tuple[float, ...]
    feature_std: tuple[float, ...]
    target_mean: tuple[float, ...]
    target_std: tuple[float, ...]
    plan: PlanSpec
    tdm: TDMSpec | None = None
    data: DataSource
    metrics: dict[str, float]
    holdout: HoldoutErrors | None = None
    files: dict[str, Sha256]


def sha256_of(path: Path) -> str:
    """Hash of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
