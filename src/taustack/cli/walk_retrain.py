"""`taustack retrain` and `taustack models gate` of a robot on legs."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import threads_of, workers_of
from taustack.errors import BadInput, while_writing

if TYPE_CHECKING:
    from taustack.legged import LeggedConfig
    from taustack.models.gate import Verdict
    from taustack.models.registry import Registry
    from taustack.models.walk_dataset import WalkRun
    from taustack.retraining.walk_data import LoggedWalks
    from taustack.retraining.walk_pipeline import WalkData
    from taustack.sim.walk_gate import WalkGateSuite

TASK, HOLDOUT = "goal", 0.2


def retrain_walks(options: argparse.Namespace) -> int:
    """From the sources to a judged candidate: exit code, see `conclude`."""
    import torch

    from taustack.cli.retrain import base_bundle, conclude
    from taustack.legged import load_legged
    from taustack.models.registry import Registry, registry_root
    from taustack.retraining.tracking import Record
    from taustack.retraining.walk_data import gather_walks

    _refuse_what_arms_have(options)
    torch.set_num_threads(threads_of(options))
    robot = load_legged(options.robot)
    _gate_suite(options, robot)  # refused before anything is learned
    registry = Registry(registry_root(options.registry), robot.name)
    base = base_bundle(options.base, robot, registry)
    logged = gather_walks(options.sources, robot, options.minutes)
    _say(logged)
    parameters = {"base": str(base), "scratch": options.scratch, "seed": options.seed, "updates": options.updates, "sources": logged.sources}
    with while_writing(options.work):
        data = _dataset(logged, robot, options.seed, options.work)
        record = Record(robot.name, parameters | {"minutes": f"{logged.harvest.minutes:.3f}", "runs": len(logged.runs)}, options.work)
        candidate = _train(options, robot, base, data, record)
    verdict = _judged(options, robot, candidate, base, data.held)
    with while_writing(options.work):
        code = conclude(options, registry, candidate, verdict, options.work / "report")[0]
    record.end(verdict.passed, verdict.figures(), sorted((options.work / "report").iterdir()))
    return code


def judge_walks(options: argparse.Namespace, registry: Registry) -> int:
    """`taustack models gate`."""
    from taustack.cli.retrain import base_bundle, conclude
    from taustack.legged import load_legged
    from taustack.retraining.walk_data import gather_walks

    robot = load_legged(options.robot)
    verdict = _judged(options, robot, options.bundle, base_bundle(options.base, robot, registry), gather_walks(options.data, robot).runs)
    return conclude(options, registry, options.bundle, verdict, options.work / "report")[0]


def _refuse_what_arms_have(options: argparse.Namespace) -> None:
    if options.watch:
        raise BadInput("argument", "--watch", "a robot on legs", "an arm: nobody watches a walk's model for drift yet")
    if options.epochs is not None or options.keep is not None:
        given = "--epochs" if options.epochs is not None else "--keep"
        raise BadInput("argument", given, "a robot on legs", "--updates, and old walks among the sources of --from: a bundle carries none")
    if options.updates is not None and options.updates < 1:
        raise BadInput("argument", "--updates", options.updates, "at least 1")


def _say(logged: LoggedWalks) -> None:
    harvest = logged.harvest
    for path, why in harvest.quarantined.items():
        print(f"left out {path}: {why}")
    cut = ", ".join(f"{seconds:.1f} s {why}" for why, seconds in harvest.cut_s.items() if seconds >= 0.05)
    print(f"{harvest.minutes:.2f} minutes of walking in {len(logged.runs)} runs, {harvest.falls} falls; left out: {cut or 'nothing'}")
    if logged.still:
        print(f"hardly used in this log: {', '.join(logged.still)}; of these the model keeps what it knew")


def _dataset(logged: LoggedWalks, robot: LeggedConfig, seed: int, work: Path) -> WalkData:
    """Write the walks beside their card, and split them by run."""
    import numpy as np

    from taustack.manifest import DataSource
    from taustack.models.walk_dataset import write_walks
    from taustack.models.walk_train import split_walks
    from taustack.retraining.walk_pipeline import WalkData

    runs: list[WalkRun] = [logged.runs[i] for i in np.random.default_rng(seed).permutation(len(logged.runs))]
    card = write_walks(
        work / "dataset", runs, robot=robot.name, joint_names=robot.joint_names, dt=1.0 / robot.rates.plan_hz, scenario="logs", seed=seed
    )  # fmt: skip
    (work / "card.json").write_text(json.dumps(logged.card(), indent=1))
    learn, held = split_walks(runs, HOLDOUT)
    source = DataSource(scenario="logs", seed=seed, minutes=card.minutes, runs=card.runs)
    return WalkData(learn=learn, held=held, falls=logged.harvest.falls, source=source)


def _train(options: argparse.Namespace, robot: LeggedConfig, base: Path, data: WalkData, record: Any) -> Path:
    from tqdm import tqdm

    from taustack.retraining.walk_pipeline import WalkTraining, train_and_write

    out: Path = options.work / "candidate"
    training = WalkTraining(
        task=options.task or TASK, base=None if options.scratch else base, updates=options.updates, seed=options.seed, name=f"{robot.name}-retrained",
        version="candidate", command="taustack " + " ".join(sys.argv[1:]),
    )  # fmt: skip
    with tqdm(total=training.config.updates, desc="training", unit="update", disable=None) as bar:

        def on_update(update: int, history: Any) -> None:
            bar.n = update
            bar.set_postfix(loss=f"{history.loss[-1]:.3f}", holdout=f"{history.holdout[-1]:.3f}")
            record.epoch(update, {"loss": history.loss[-1], "holdout": history.holdout[-1]})

        train_and_write(robot, data, training, out, on_update)
    return out


def _judged(options: argparse.Namespace, robot: LeggedConfig, candidate: Path, base: Path, held: list[WalkRun]) -> Verdict:
    from tqdm import tqdm

    from taustack.models.gate import WALK_RULES, load_rules
    from taustack.sim.walk_gate import run_walk_gate

    suite = _gate_suite(options, robot)
    with tqdm(total=2 * options.episodes * len(suite.scenarios), desc="gate", unit="episode", disable=None) as bar:
        return run_walk_gate(candidate, base, robot, held, suite, load_rules(options.rules, WALK_RULES), bar.update)


def _gate_suite(options: argparse.Namespace, robot: LeggedConfig) -> WalkGateSuite:
    """What the closed loop is tried on. Raises UnknownName for a task or scenario that is none."""
    from taustack.retraining.walk_pipeline import load_learned_task
    from taustack.sim.legged_scenario import load_legged_scenario
    from taustack.sim.walk_gate import WalkGateSuite

    task = options.task or TASK
    load_learned_task(robot, task)
    for scenario in options.scenario:
        load_legged_scenario(scenario)
    return WalkGateSuite(task=task, scenarios=tuple(options.scenario), episodes=options.episodes, seed=options.gate_seed, workers=workers_of(options))
