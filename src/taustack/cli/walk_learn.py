"""`taustack collect` and `taustack train` of a robot on legs: walks, model, bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import table, workers_of, write_json
from taustack.errors import BadInput

if TYPE_CHECKING:
    from taustack.models.walk_dataset import WalkRun

RUN_SECONDS = 30.0
MINUTES = 4.5
"""Of the robot's time, as in Yang et al. 2019."""
HOLDOUT = 0.1
"""Share of each dataset's steps that is held out, by whole runs."""
RANDOM_SHARE = 0.6
"""Of the minutes of a bundle from nothing that are walked at random commands; the rest is walked by the first model that they give."""


def collect_walks_to(options: argparse.Namespace, folder: Path, minutes: float, seed: int, bundle: Path | None) -> None:
    """Walk on the pool, at random commands or (with a bundle) as its planner does, and write the dataset."""
    from tqdm import tqdm

    from taustack.legged import load_legged
    from taustack.models.walk_dataset import write_walks
    from taustack.pool import run_all
    from taustack.sim.legged_scenario import load_legged_scenario

    if not 0 < minutes <= 600:
        raise BadInput("argument", "--minutes", minutes, "more than 0, at most 600")
    robot = load_legged(options.robot)
    load_legged_scenario(options.scenario)
    count = max(2, round(minutes * 60 / RUN_SECONDS))
    jobs = [(robot.folder, options.scenario, minutes * 60 / count, [seed, i, int(bundle is not None)], bundle, options.task) for i in range(count)]
    with tqdm(total=count, desc="walking", unit="run", disable=None) as bar:
        runs = [run for done in run_all(_walk_job, jobs, workers_of(options), bar.update) for run in done]
    card = write_walks(
        folder, runs, robot=robot.name, joint_names=robot.joint_names, dt=1.0 / robot.rates.plan_hz, scenario=options.scenario, seed=seed
    )  # fmt: skip
    falls = sum(run.falls for run in runs)
    print(f"{folder}: {len(card.runs)} runs, {card.minutes:g} minutes of {robot.name} ({options.scenario}), {falls} falls")


def _walk_job(job: tuple[Path, str, float, list[int], Path | None, str]) -> list[WalkRun]:
    import numpy as np

    from taustack.legged import load_legged
    from taustack.sim.legged_scenario import load_legged_scenario
    from taustack.sim.walk_collect import OwnWalks, RandomCommands, collect_walks
    from taustack.sim.walk_planners import MPPI, make_walk_planner
    from taustack.walk_task import load_walk_task

    folder, scenario, seconds, seed, bundle, task = job
    robot, rngs = load_legged(folder), [np.random.default_rng([*seed, stream]) for stream in range(3)]
    if bundle is None:
        commands: RandomCommands | OwnWalks = RandomCommands(robot, rngs[0])
    else:
        commands = OwnWalks(make_walk_planner(MPPI, robot, load_walk_task(robot, task), bundle, rngs[2]), robot, rngs[0])
    return collect_walks(robot, load_legged_scenario(scenario), seconds, commands, rngs[1])


def collect_walks(options: argparse.Namespace) -> int:
    """`taustack collect`."""
    collect_walks_to(options, options.out, MINUTES if options.minutes is None else options.minutes, options.seed, None)
    return 0


def train_walk_bundle(options: argparse.Namespace) -> int:
    """`taustack train bundle`: from nothing, or from another bundle's walks on."""
    from taustack.controllers.walk_bundle import load_walk_bundle
    from taustack.legged import load_legged
    from taustack.manifest import MANIFEST, sha256_of
    from taustack.retraining.walk_pipeline import UPDATES

    _check_updates(options)
    minutes = MINUTES if options.minutes is None else options.minutes
    tag = f"{Path(options.robot).name}_{Path(options.scenario).stem}_{minutes:g}min_seed{options.seed}"
    sources: list[Path] = []
    first = options.start
    if first is not None:
        load_walk_bundle(first, load_legged(options.robot))  # refused before anything is walked
    else:
        sources.append(_walked(options, options.work / f"{tag}_random", RANDOM_SHARE * minutes, None))
        first = options.work / f"{tag}_train{options.train_seed}_first"
        _train(options, sources, first, None, max(1, (UPDATES if options.updates is None else options.updates) // 2))
        minutes *= 1 - RANDOM_SHARE
    own = options.work / f"{tag}_own_{sha256_of(first / MANIFEST)[:8]}"  # of this very bundle
    sources.append(_walked(options, own, minutes, first))
    _train(options, sources, options.out, options.start, options.updates)
    return 0


def _check_updates(options: argparse.Namespace) -> None:
    if options.updates is not None and options.updates < 1:
        raise BadInput("argument", "--updates", options.updates, "at least 1")


def _walked(options: argparse.Namespace, folder: Path, minutes: float, bundle: Path | None) -> Path:
    if not (folder / "dataset.yaml").is_file():
        collect_walks_to(options, folder, minutes, options.seed, bundle)
    return folder


def train_walk_dynamics(options: argparse.Namespace) -> int:
    """`taustack train dynamics`."""
    _check_updates(options)
    _train(options, [options.data], options.out, options.start, options.updates)
    return 0


def _train(options: argparse.Namespace, sources: list[Path], out: Path, start: Path | None, updates: int | None) -> None:
    from tqdm import tqdm

    from taustack.legged import load_legged
    from taustack.retraining.walk_pipeline import WalkTraining, load_learned_task, split_sources, train_and_write

    robot = load_legged(options.robot)
    load_learned_task(robot, options.task)
    cards, data = split_sources(sources, robot, HOLDOUT)
    training = WalkTraining(
        task=options.task, base=start, updates=updates, seed=options.train_seed, name=f"{robot.name}-{cards[-1].scenario}", version=options.version,
        command="taustack " + " ".join(sys.argv[1:]),
    )  # fmt: skip
    with tqdm(total=training.config.updates, desc="training", unit="update", disable=None) as bar:

        def on_update(update: int, history: Any) -> None:
            bar.n = update
            bar.set_postfix(loss=f"{history.loss[-1]:.3f}", holdout=f"{history.holdout[-1]:.3f}")

        errors, metrics = train_and_write(robot, data, training, out, on_update)
    if options.json:
        write_json(options.json, metrics | {"minutes": data.source.minutes, "falls": data.falls})
    rows = [[str(k + 1), *(f"{value:.3f}" for value in errors[k])] for k in sorted({0, len(errors) // 2, len(errors) - 1})]
    print(table(["steps ahead, held-out runs", "forward [m/s]", "sideways [m/s]", "turn [rad/s], RMS"], rows))
    print(f"{out}: verified; {data.source.minutes:g} minutes, {data.falls} falls")
