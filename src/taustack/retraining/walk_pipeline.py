"""Walks in, candidate out: what `taustack train bundle` and `taustack retrain` of a robot on legs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.walk_bundle import load_walk_bundle
from taustack.controllers.walk_costs import WALK_COST_TERMS
from taustack.errors import BadInput, UnknownName
from taustack.legged import LeggedConfig
from taustack.manifest import DataSource
from taustack.models.walk_base import read_walk_ensemble
from taustack.models.walk_dataset import WalkCard, WalkRun, read_walks
from taustack.models.walk_dynamics import GaitClock
from taustack.models.walk_export import write_walk_bundle
from taustack.models.walk_train import WalkHistory, WalkTrainConfig, split_walks, train_walk, velocity_errors
from taustack.walk_task import WalkTaskConfig, load_walk_task

FloatArray = NDArray[np.float64]
UPDATES, AGAIN_UPDATES, AGAIN_RATE = 5000, 1500, 3e-4
"""Steps of the optimiser: from scratch; from another bundle on, and their learning rate."""


@dataclass(frozen=True, kw_only=True)
class WalkData:
    """Runs to learn from and held-out ones; falls in both, and where they come from."""

    learn: list[WalkRun]
    held: list[WalkRun]
    falls: int
    source: DataSource


@dataclass(frozen=True, kw_only=True)
class WalkTraining:
    """What a training depends on, beside the data. base: the bundle to go on from; None: from scratch. updates: None for the usual ones."""

    task: str
    base: Path | None
    updates: int | None
    seed: int
    name: str
    version: str
    command: str

    @property
    def config(self) -> WalkTrainConfig:
        """Of the training: from another bundle on, it is gentler and looks far ahead at once."""
        if self.base is None:
            return WalkTrainConfig(seed=self.seed, updates=self.updates or UPDATES)
        return WalkTrainConfig(seed=self.seed, updates=self.updates or AGAIN_UPDATES, learning_rate=AGAIN_RATE, stages=((8, 1.0),))


def load_learned_task(robot: LeggedConfig, name: str) -> WalkTaskConfig:
    """A task whose every cost term can stand in a plan graph. Raises UnknownName."""
    task = load_walk_task(robot, name)
    for term in task.cost:
        if term not in WALK_COST_TERMS:
            raise UnknownName(f"cost term of task {task.name}", term, WALK_COST_TERMS)
    return task


def train_and_write(
    robot: LeggedConfig, data: WalkData, training: WalkTraining, out: Path, on_update: Callable[[int, WalkHistory], object]
) -> tuple[FloatArray, dict[str, float]]:
    """Train, and write a verified bundle into `out`; errors (H, 3) of velocity ahead on held-out runs, and the metrics that the manifest has."""
    task = load_learned_task(robot, training.task)
    base = read_walk_ensemble(training.base, robot) if training.base is not None else None
    model, history = train_walk(data.learn, data.held, robot.n, 1.0 / robot.rates.plan_hz, GaitClock.of(robot), training.config, on_update, base)
    errors = velocity_errors(model, data.held, task.mppi.horizon)
    parts = ("forward_m_s", "sideways_m_s", "turn_rad_s")
    metrics = {"holdout": min(history.holdout)} | {
        f"velocity_error_{task.mppi.horizon}_steps_{name}": float(v) for name, v in zip(parts, errors[-1], strict=True)
    }
    write_walk_bundle(
        out, model, robot, task, WALK_COST_TERMS, data.held, metrics=metrics, name=training.name, version=training.version, command=training.command,
        falls=data.falls, seed=training.seed, data=data.source,
    )  # fmt: skip
    load_walk_bundle(out, robot)
    return errors, metrics


def split_sources(sources: list[Path], robot: LeggedConfig, holdout: float) -> tuple[list[WalkCard], WalkData]:
    """Cards of datasets, and their runs, each dataset split by its runs.

    Raises:
        BadInput: one is of another robot or rate, or has fewer than two runs.
    """
    cards, learn, held, hashes = list[WalkCard](), list[WalkRun](), list[WalkRun](), dict[str, str]()
    for source in sources:
        card, runs = read_own_walks(source, robot)
        ours, theirs = split_walks(runs, holdout)
        cards, learn, held = [*cards, card], learn + ours, held + theirs
        hashes |= {f"{source.name}/{name}": sha256 for name, sha256 in card.runs.items()}
    minutes = round(sum(card.minutes for card in cards), 3)
    made_of = DataSource(scenario=cards[-1].scenario, seed=cards[-1].seed, minutes=minutes, runs=hashes)
    return cards, WalkData(learn=learn, held=held, falls=sum(card.falls for card in cards), source=made_of)


def read_own_walks(source: Path, robot: LeggedConfig) -> tuple[WalkCard, list[WalkRun]]:
    """A dataset of this robot. Raises BadInput if it is of another one, or of another rate."""
    card, runs = read_walks(source)
    if card.joint_names != robot.joint_names or abs(card.dt - 1.0 / robot.rates.plan_hz) > 1e-9:
        expected = f"{list(robot.joint_names)}, {1.0 / robot.rates.plan_hz}, as in robot.yaml"
        raise BadInput(source / "dataset.yaml", "joint_names, dt", f"{list(card.joint_names)}, {card.dt}", expected)
    return card, runs
