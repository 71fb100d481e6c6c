"""Data in, judged candidate out: the steps of `taustack retrain`, each of which can be repeated after a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from taustack.config import RobotConfig, load_task
from taustack.controllers.costs import COST_TERMS
from taustack.manifest import MANIFEST, DataSource, Manifest, sha256_of
from taustack.models.again import carried_terminal
from taustack.models.base import read_training
from taustack.models.dataset import Run, write_dataset
from taustack.models.delay import aligned
from taustack.models.export import write_bundle
from taustack.models.tdm.bundle import join
from taustack.models.train_dynamics import History, Start, TrainConfig, disagreement, split_by_run, train, transitions
from taustack.retraining.data import LoggedData
from taustack.sim.gate import state_holdout
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.strict_yaml import load

HOLDOUT = 0.2


@dataclass(frozen=True, kw_only=True)
class RetrainSpec:
    """What a retraining depends on, beside the data. `scratch`: take nothing from the base but the comparison."""

    task: str
    base: Path
    scratch: bool = False
    keep: float = 0.1
    epochs: int = 400
    seed: int = 0
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A candidate on disk, and the runs that it never saw."""

    folder: Path
    held: list[Run]
    history: History
    minutes: float


def fine_tune(data: LoggedData, robot: RobotConfig, spec: RetrainSpec, work: Path, on_epoch: Callable[[int, History], None]) -> Trained:
    """Train on the logged runs and write the candidate bundle into `work`. The held-out runs stay as logged, for the gate."""
    runs = [data.runs[i] for i in np.random.default_rng(spec.seed).permutation(len(data.runs))]
    card = write_dataset(work / "dataset", runs, robot=robot.name, joint_names=robot.joint_names, dt=robot.rates.control_dt, scenario="logs", seed=spec.seed)
    (work / "card.json").write_text(json.dumps(data.card(robot), indent=1))
    steps = data.delay.steps
    prismatic = tuple(joint.kind == "prismatic" for joint in robot.joints)
    start = None
    if not spec.scratch:
        base, old = read_training(spec.base, prismatic)
        start = Start(model=base, old=old, keep=spec.keep)
    config = TrainConfig(epochs=spec.epochs, seed=spec.seed, holdout=HOLDOUT, learning_rate=1e-3 if spec.scratch else 5e-4)
    source = hashlib.sha256(json.dumps([card.runs, sha256_of(spec.base / MANIFEST), spec.scratch, spec.keep, steps]).encode()).hexdigest()
    model, history = train(
        aligned(runs, steps), prismatic, robot.rates.control_dt, config, work / "checkpoint.pt", on_epoch, start=start, source=source, law=robot.law
    )
    task = load_task(robot, spec.task)
    learned, held = split_by_run(runs, HOLDOUT)
    write_bundle(
        work / "candidate", model, robot, task, chain_from_model(compile_model(robot), robot), COST_TERMS,
        metrics={"holdout_mse": min(history.holdout_mse)}, name=f"{robot.name}-retrained", version="candidate", command=spec.command,
        data=DataSource(scenario="logs", seed=spec.seed, minutes=card.minutes, runs=card.runs), seed=spec.seed, delay_steps=steps,
        transitions=transitions(aligned(learned, steps)), terminal=carried_terminal(spec.base),
    )  # fmt: skip
    state_holdout(work / "candidate", robot, held, disagreement(model, transitions(aligned(held, steps))))
    if load(Manifest, spec.base / MANIFEST).tdm is not None:
        join(work / "candidate", spec.base, work / "candidate")
    return Trained(folder=work / "candidate", held=held, history=history, minutes=card.minutes)
