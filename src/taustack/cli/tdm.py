"""`taustack train tdm`: a temporal difference model, trained online in simulation, exported and drawn."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import table, write_json
from taustack.errors import BadInput
from taustack.models.tdm.spec import HELD_FOR_QUANTILES

if TYPE_CHECKING:
    from taustack.models.tdm.learner import TDMLearner
    from taustack.models.tdm.replay import Replay
    from taustack.models.tdm.spec import TDMConfig

GOAL_SPACES = ("end_effector_position", "joint_positions", "base_position", "base_velocity")
JOINTS = "joint_positions"
STEPS, UPDATES_FROM_LOGS = 5000, 40_000
RATES_FROM_LOGS = 0.03
FOR_JOINTS: dict[str, Any] = {"hidden": [128, 128], "learner": "td3", "actor_rate": 1e-4, "final_rates": 1.0}
"""Chains of subgoals are searched in 20 ms: a small network, and f is what counts in it, not the policy."""
FOR_OTHERS: dict[str, Any] = {"hidden": [300, 300], "learner": "ddpg", "actor_rate": 1e-3, "final_rates": 0.1}
LOOKS = (4 / 15, 9 / 15, 1.0)
"""Shares of tau_max at which a chain's links are looked at."""
GRAPH, CURVE, PICTURE, CHECKPOINT = "tdm.onnx", "curve.json", "curve.png", "checkpoint.pt"


def add(kinds: Any) -> None:
    command = kinds.add_parser("tdm", help="train a temporal difference model online in simulation and export it")
    command.add_argument("task", help="double_integrator, planar_reacher, pusher, half_cheetah, ant, or a robot by name or folder")
    command.add_argument("--out", type=Path, required=True, help="folder of the training: graph, curve, checkpoint")
    command.add_argument(
        "--goal-space",
        choices=GOAL_SPACES,
        help="of a robot: what a goal is; subgoals are planned over joint_positions (default: end_effector_position, on legs base_position)",
    )
    command.add_argument(
        "--from", dest="sources", type=Path, nargs="+", metavar="BAG", help="learn from these bags or datasets alone, without walking (joint_positions)"
    )
    command.add_argument("--scenario", default="nominal", help="scenario of the robot (default: %(default)s)")
    command.add_argument("--steps", type=int, help=f"steps of the task (default: {STEPS}); with --from updates (default: {UPDATES_FROM_LOGS})")
    command.add_argument("--tau-max", type=int, default=15, help="most steps left to a goal (default: %(default)s)")
    command.add_argument("--updates", type=int, default=10, help="updates a step (default: %(default)s)")
    command.add_argument("--hidden", type=int, nargs="+", help="units of the hidden layers (default: 300 300; 128 128 for joint_positions)")
    command.add_argument("--learner", choices=("td3", "ddpg"), help="with twins, or as in the paper (default: ddpg; td3 for joint_positions)")
    command.add_argument("--actor-rate", type=float, help="learning rate of the policy (default: 1e-3; 1e-4 for joint_positions)")
    command.add_argument(
        "--final-rates",
        type=float,
        help=f"share of the learning rates that is left at the end (default: 0.1; 1 for joint_positions; with --from {RATES_FROM_LOGS:g})",
    )
    command.add_argument("--quantiles", type=float, nargs="*", default=[], help="of the state reached, for noisy dynamics, e.g. 0.1 0.5 0.9 (default: none)")
    command.add_argument(
        "--held",
        type=float,
        help=f"share of the training, its end, in which the policy stays and f alone is learned (default: {HELD_FOR_QUANTILES:g} with --quantiles, else 0)",
    )
    command.add_argument("--seed", type=int, default=0, help="seed (default: %(default)s)")
    command.add_argument("--evaluate-every", type=int, default=500, help="steps between two looks (default: %(default)s)")
    command.add_argument("--json", type=Path, help="write the curve to this file")
    command.set_defaults(function=train_tdm)


def train_tdm(options: argparse.Namespace) -> int:
    _choose_what_was_left_open(options)
    _check(options)
    return from_logs(options) if options.sources else online(options)


def _choose_what_was_left_open(options: argparse.Namespace) -> None:
    chosen = {
        **(FOR_JOINTS if options.goal_space == JOINTS else FOR_OTHERS),
        "steps": UPDATES_FROM_LOGS if options.sources else STEPS,
        "held": HELD_FOR_QUANTILES if options.quantiles else 0.0,
    }
    if options.sources:
        chosen["final_rates"] = RATES_FROM_LOGS
    for name, value in chosen.items():
        if getattr(options, name) is None:
            setattr(options, name, value)


def online(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from taustack.errors import while_writing
    from taustack.models.tdm.train import Curve, Schedule, train
    from taustack.retraining.tracking import Record
    from taustack.sim.tdm_tasks.catalogue import make_task

    task = make_task(options.task, options.tau_max, options.scenario, options.goal_space)
    if options.tau_max >= task.steps:
        raise BadInput("argument", "--tau-max", options.tau_max, f"less than the {task.steps} steps of an episode")
    config = _config(options)
    if options.steps * (1 - config.held) <= config.warmup_steps:
        stays = f", before the policy stays for the last {100 * config.held:.0f} % (--held)" if config.held else ""
        raise BadInput("argument", "--steps", options.steps, f"more than the {config.warmup_steps} random steps of the warm-up{stays}")
    schedule = Schedule(steps=options.steps, evaluate_every=options.evaluate_every)
    with while_writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        record = Record(f"tdm-{task.name}", {name: value for name, value in vars(options).items() if name not in ("function", "json", "out")}, options.out)
        with tqdm(total=options.steps, desc="training", unit="step", disable=None) as bar:

            def on_step(step: int, curve: Curve) -> None:
                bar.update(step - bar.n)
                if curve.steps and curve.steps[-1] == step:
                    bar.set_postfix(final_distance=f"{curve.distance[-1]:.4f}")
                    record.epoch(10 * len(curve.steps), {"final_distance": curve.distance[-1]})

            learner, replay, curve = train(task, config, schedule, options.out / CHECKPOINT, on_step)
        _export(options, learner, replay, task.name)
        (options.out / CURVE).write_text(json.dumps(vars(curve), indent=1) + "\n")
        _draw(curve, options.out / PICTURE, task.name)
        record.end(True, {"final_distance": curve.distance[-1]}, [options.out / PICTURE])
    if options.json:
        write_json(options.json, vars(curve))
    rows = [[f"{step}", f"{mean:.4f}", f"{worst:.4f}", f"{s:.0f}"] for step, mean, worst, s in zip(*vars(curve).values(), strict=True)]
    print(table(["steps", "final distance, mean", "worst", "seconds"], rows))
    print(f"{options.out / GRAPH}: f, Q and policy; learning curve in {options.out / PICTURE}")
    return 0


def from_logs(options: argparse.Namespace) -> int:
    """Train on what a robot did; nothing is tried out."""
    from tqdm import tqdm

    from taustack.config import load_robot
    from taustack.errors import while_writing
    from taustack.manifest import sha256_of
    from taustack.models.tdm.offline import paths_of, train_offline
    from taustack.models.tdm.train import Curve
    from taustack.retraining.data import gather
    from taustack.tdm_arm import layout_of

    robot = load_robot(options.task)
    data = gather(options.sources, robot)
    layout = layout_of(robot, options.tau_max)
    replay = paths_of(data.runs, layout, robot.rates.control_dt)
    config = _config(options)
    source = json.dumps([sha256_of(path) for place in options.sources for path in sorted(place.iterdir() if place.is_dir() else [place]) if path.is_file()])
    with while_writing(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "card.json").write_text(json.dumps(data.card(robot), indent=1) + "\n")
        with tqdm(total=options.steps, desc="training", unit="update", disable=None) as bar:

            def on_update(update: int, curve: Curve) -> None:
                bar.update(update - bar.n)
                if curve.steps and curve.steps[-1] == update:
                    bar.set_postfix(loss=f"{curve.distance[-1]:.5f}")

            learner, curve = train_offline(replay, layout, config, options.steps, options.out / CHECKPOINT, source, on_update)
        _export(options, learner, replay, f"{robot.name}_joints, {data.harvest.minutes:.2f} minutes of log")
        (options.out / CURVE).write_text(json.dumps(vars(curve), indent=1) + "\n")
    if options.json:
        write_json(options.json, vars(curve))
    print(f"{options.out}: {len(replay)} steps of {data.harvest.minutes:.2f} minutes of log, loss {curve.distance[0]:.5f} to {curve.distance[-1]:.5f}")
    print(f"next: taustack models join {robot.folder / 'bundle'} {options.out} --out FOLDER")
    return 0


def _config(options: argparse.Namespace) -> TDMConfig:
    from taustack.models.tdm.spec import WITHOUT_HINDSIGHT, Relabel, TDMConfig

    joints = options.goal_space == JOINTS
    return TDMConfig(
        hidden=tuple(options.hidden), updates_per_step=options.updates, learner=options.learner, quantiles=tuple(options.quantiles), seed=options.seed,
        actor_rate=options.actor_rate, final_rates=options.final_rates, held=options.held, unit="spread" if joints else "reach",
        relabel=WITHOUT_HINDSIGHT if options.quantiles else Relabel(),
    )  # fmt: skip


def _export(options: argparse.Namespace, learner: TDMLearner, replay: Replay, task: str) -> None:
    """Graphs: for a bundle where goals are the joints, else the model alone."""
    from taustack.models.tdm.bundle import write_for_bundles
    from taustack.models.tdm.export import write_tdm
    from taustack.tdm_layout import ChainSpec

    if options.goal_space != JOINTS:
        write_tdm(options.out / GRAPH, learner, replay, task)
        return
    from taustack.config import load_robot
    from taustack.sim.mjcf import chain_from_model, compile_model

    robot = load_robot(options.task)
    tau_max = options.tau_max
    spec = ChainSpec(taus=tuple(sorted({round(share * tau_max) for share in LOOKS})))
    given = [f"--learner {options.learner}", f"--steps {options.steps}", f"--seed {options.seed}"]
    given += [f"--final-rates {options.final_rates:g}"]
    given += [f"--quantiles {' '.join(map(str, options.quantiles))}"] if options.quantiles else []
    given += [f"--held {options.held:g}"] if options.held else []
    given += [f"--from {' '.join(map(str, options.sources))}"] if options.sources else [f"--scenario {options.scenario}"]
    command = f"taustack train tdm {robot.name} --goal-space joint_positions {' '.join(given)}"
    write_for_bundles(options.out, learner, replay, robot, chain_from_model(compile_model(robot), robot), spec, task, command)


def _check(options: argparse.Namespace) -> None:
    for name, least in (("steps", 1), ("tau_max", 1), ("updates", 1), ("evaluate_every", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise BadInput("argument", f"--{name.replace('_', '-')}", getattr(options, name), f"at least {least}")
    if min(options.hidden) < 1:
        raise BadInput("argument", "--hidden", options.hidden, "at least 1 each")
    if options.sources and options.goal_space != JOINTS:
        raise BadInput("argument", "--goal-space", options.goal_space or "nothing", f"{JOINTS}, with --from")
    if not 0 < options.actor_rate < 1:
        raise BadInput("argument", "--actor-rate", options.actor_rate, "more than 0, less than 1")
    if not 0 <= options.held < 1:
        raise BadInput("argument", "--held", options.held, "at least 0, less than 1")
    if not 0 < options.final_rates <= 1:
        raise BadInput("argument", "--final-rates", options.final_rates, "more than 0, at most 1")
    levels = options.quantiles
    if levels and not (len(levels) >= 2 and levels == sorted(set(levels)) and levels[0] > 0 and levels[-1] < 1):
        raise BadInput("argument", "--quantiles", levels, "at least two rising values between 0 and 1")


def _draw(curve: Any, path: Path, name: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2), constrained_layout=True)
    axes.semilogy(curve.steps, curve.distance, marker="o", label="mean")
    axes.semilogy(curve.steps, curve.worst, linestyle="--", label="worst")
    axes.set(xlabel="steps of the task", ylabel="final distance to the goal", title=name)
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
