"""`taustack collect` and `taustack train`: data, model, bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from taustack.cli import tdm, walk, walk_learn
from taustack.cli.output import add_workers, table, threads_of, workers_of, write_json
from taustack.errors import BadInput, UnknownName
from taustack.robot_folders import has_legs

RUN_SECONDS = 30.0
MINUTES, EPOCHS, WALK_TASK = 10.0, 120, "velocity"


def add(commands: Any) -> None:
    collect_command = commands.add_parser("collect", help="smooth random motion in simulation, to a dataset on disk")
    _collect_arguments(collect_command)
    collect_command.add_argument("--out", type=Path, required=True, help="folder of the dataset")
    collect_command.set_defaults(function=collect)

    train = commands.add_parser("train", help="train models")
    kinds = train.add_subparsers(dest="kind", required=True, metavar="KIND")
    dynamics = kinds.add_parser("dynamics", help="train an ensemble on a dataset and export a bundle")
    dynamics.add_argument("robot", help="robot, by name or folder")
    dynamics.add_argument("--data", type=Path, required=True, help="folder of the dataset")
    _train_arguments(dynamics)
    dynamics.add_argument("--workers", type=int, help="threads of the training (default: one a core)")
    dynamics.set_defaults(function=train_dynamics, ray="")

    bundle = kinds.add_parser("bundle", help="collect, train and export: a bundle from nothing")
    _collect_arguments(bundle)
    _train_arguments(bundle)
    bundle.set_defaults(function=train_bundle)
    tdm.add(kinds)
    walk.add_strides(kinds)


def _collect_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("--scenario", default="nominal", help="scenario by name or path (default: %(default)s)")
    command.add_argument("--minutes", type=float, help="minutes of the robot's time (default: 10; on legs 4.5)")
    command.add_argument("--seed", type=int, default=0, help="seed (default: %(default)s)")
    add_workers(command)


def _train_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--task", help="task whose plan graph is exported (default: reach; on legs velocity)")
    command.add_argument("--epochs", type=int, help="passes over the data (default: 120; arms)")
    command.add_argument("--updates", type=int, help="steps of the optimiser (default: 5000, with --start 1500; robots on legs)")
    command.add_argument("--start", type=Path, help="bundle to go on from, by whose planner the robot walks (robots on legs)")
    command.add_argument("--train-seed", type=int, default=0, help="seed of the training (default: %(default)s)")
    command.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    command.add_argument("--work", type=Path, default=Path("data"), help="folder for datasets, checkpoints and the learning curve (default: %(default)s)")
    command.add_argument("--version", default="1", help="version that the manifest states (default: %(default)s)")
    command.add_argument("--json", type=Path, help="write the metrics to this file")


def collect(options: argparse.Namespace) -> int:
    if has_legs(options.robot):
        options.task = WALK_TASK
        return walk_learn.collect_walks(options)
    _collect(options, options.out)
    return 0


def _collect(options: argparse.Namespace, folder: Path) -> None:
    from tqdm import tqdm

    from taustack.config import load_robot
    from taustack.models.dataset import write_dataset
    from taustack.pool import run_all
    from taustack.sim.scenario import load_scenario

    options.minutes = MINUTES if options.minutes is None else options.minutes
    if not 0 < options.minutes <= 600:
        raise BadInput("argument", "--minutes", options.minutes, "more than 0, at most 600")
    robot = load_robot(options.robot)
    load_scenario(options.scenario, robot.n)
    _require_writable(folder)
    count = max(2, round(options.minutes * 60 / RUN_SECONDS))
    jobs = [(robot.folder, options.scenario, options.minutes * 60 / count, options.seed * 100_003 + i) for i in range(count)]
    with tqdm(total=count, desc="collecting", unit="run", disable=None) as bar:
        runs = run_all(_collect_job, jobs, workers_of(options), bar.update)
    card = write_dataset(folder, runs, robot=robot.name, joint_names=robot.joint_names, dt=robot.rates.control_dt, scenario=options.scenario, seed=options.seed)
    print(f"{folder}: {len(card.runs)} runs, {card.minutes:g} minutes of {robot.name} ({options.scenario})")


def _collect_job(job: tuple[Path, str, float, int]) -> Any:
    from taustack.config import load_robot
    from taustack.sim.collect import collect_run
    from taustack.sim.scenario import load_scenario

    folder, scenario, seconds, seed = job
    robot = load_robot(folder)
    return collect_run(robot, load_scenario(scenario, robot.n), seconds, seed)


def train_bundle(options: argparse.Namespace) -> int:
    if _on_legs(options):
        return walk_learn.train_walk_bundle(options)
    options.minutes = MINUTES if options.minutes is None else options.minutes
    data = options.work / f"{Path(options.robot).name}_{Path(options.scenario).stem}_{options.minutes:g}min_seed{options.seed}"
    if not (data / "dataset.yaml").is_file():
        _collect(options, data)
    options.data = data
    return _train_arm(options)


def _on_legs(options: argparse.Namespace) -> bool:
    """True for a robot on legs; fills in the defaults of either kind, and refuses what is of the other."""
    legs = has_legs(options.robot)
    for name in ("epochs",) if legs else ("updates", "start"):
        if getattr(options, name) is not None:
            raise BadInput("argument", f"--{name}", str(getattr(options, name)), f"none for {options.robot}, which {'has legs' if legs else 'is an arm'}")
    options.task = options.task or (WALK_TASK if legs else "reach")
    options.epochs = EPOCHS if options.epochs is None else options.epochs
    return legs


def train_dynamics(options: argparse.Namespace) -> int:
    if _on_legs(options):
        return walk_learn.train_walk_dynamics(options)
    return _train_arm(options)


def _train_arm(options: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.costs import COST_TERMS
    from taustack.manifest import DataSource
    from taustack.models.dataset import read_dataset
    from taustack.models.delay import aligned, identify_delay
    from taustack.models.export import write_bundle
    from taustack.models.train_dynamics import TrainConfig, disagreement, open_loop_errors, split_by_run, train, transitions
    from taustack.sim.gate import state_holdout
    from taustack.sim.mjcf import chain_from_model, compile_model

    torch.set_num_threads(threads_of(options))
    robot = load_robot(options.robot)
    task = load_task(robot, options.task)
    for name in task.cost:
        if name not in COST_TERMS:
            raise UnknownName(f"{robot.folder}/tasks/{task.name}.yaml: cost", name, COST_TERMS)
    if task.terminal == "tdm":
        raise BadInput("argument", "--task", task.name, "one with `terminal: distance`; then `taustack models terminal` with the bundle")
    if options.epochs < 1:
        raise BadInput("argument", "--epochs", options.epochs, "at least 1")
    card, runs = read_dataset(options.data)
    if card.joint_names != robot.joint_names or abs(card.dt - robot.rates.control_dt) > 1e-9:
        raise BadInput(
            options.data / "dataset.yaml",
            "joint_names, dt",
            f"{list(card.joint_names)}, {card.dt}",
            f"{list(robot.joint_names)}, {robot.rates.control_dt}, as in robot.yaml",
        )
    logged, delay = runs, identify_delay(runs, card.joint_names)
    runs = aligned(runs, delay.steps)
    _require_writable(options.out.parent)
    config = TrainConfig(epochs=options.epochs, seed=options.train_seed)
    chain = chain_from_model(compile_model(robot), robot)
    prismatic = tuple(joint.kind == "prismatic" for joint in robot.joints)
    tag = f"{options.data.name}_epochs{options.epochs}_seed{options.train_seed}"
    with tqdm(total=options.epochs, desc="training", unit="epoch", disable=None) as bar:

        def on_epoch(epoch: int, history: Any) -> None:
            bar.n = epoch
            bar.set_postfix(train_nll=f"{history.train_nll[-1]:.3f}", holdout_mse=f"{history.holdout_mse[-1]:.3g}")

        model, history = train(runs, prismatic, card.dt, config, options.work / f"{tag}.pt", on_epoch, law=robot.law)
    _, held = split_by_run(runs, config.holdout)
    errors = open_loop_errors(model, held, chain, task.mppi.horizon)
    metrics = {f"open_loop_ee_error_m_{name}": value for name, value in errors.items()} | {"holdout_mse": min(history.holdout_mse)}
    _learning_curve(history, options.work / f"{tag}.png")
    command = "taustack " + " ".join(sys.argv[1:])
    write_bundle(
        options.out, model, robot, task, chain, COST_TERMS, metrics=metrics, name=f"{robot.name}-{card.scenario}", version=options.version, command=command,
        data=DataSource(scenario=card.scenario, seed=card.seed, minutes=card.minutes, runs=card.runs), seed=options.train_seed, delay_steps=delay.steps,
        transitions=transitions(split_by_run(runs, config.holdout)[0]),
    )  # fmt: skip
    state_holdout(options.out, robot, split_by_run(logged, config.holdout)[1], disagreement(model, transitions(held)))
    load_bundle(options.out, robot)
    if options.json:
        write_json(options.json, metrics)
    rows = [[name, f"{1e3 * value:.2f}"] for name, value in errors.items()]
    print(table([f"open loop over {task.mppi.horizon * card.dt:g} s, held-out runs", "end-effector error [mm], mean"], rows))
    print(f"{options.out}: verified; learning curve in {options.work / (tag + '.png')}")
    return 0


def _learning_curve(history: Any, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), constrained_layout=True)
    left.plot(history.train_nll)
    left.set(xlabel="epoch", ylabel="training NLL, mean over members")
    right.semilogy(history.holdout_mse, color="tab:orange")
    right.set(xlabel="epoch", ylabel="hold-out MSE, normalised")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".write_probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadInput(folder, "", error.strerror or str(error), "a folder that can be written") from None
