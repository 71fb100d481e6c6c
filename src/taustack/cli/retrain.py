"""`taustack retrain`: from a robot's logs to a candidate that the gate has judged."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import add_workers, table, threads_of, workers_of, write_json
from taustack.errors import BadInput, TaustackError, while_writing

if TYPE_CHECKING:
    from taustack.config import RobotConfig
    from taustack.legged import LeggedConfig
    from taustack.models.gate import Verdict
    from taustack.models.registry import Registry
    from taustack.retraining.pipeline import Trained
    from taustack.retraining.tracking import Record
    from taustack.sim.gate import GateSuite

REFUSED = 3
ARM_TASK, SUBGOAL_TASK = "reach", "wall"
KEEP = 0.1
STEPS, MOST_EPOCHS = 40_000, 1500  # of training: few minutes of log need many passes, hours of it few


def add(commands: Any) -> None:
    command = commands.add_parser("retrain", help="learn from a robot's logs; the gate judges, a person promotes")
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("--from", dest="sources", type=Path, nargs="+", required=True, metavar="BAG", help="bags (folders or .mcap files) or datasets")
    command.add_argument("--minutes", type=float, help="learn from the newest so many minutes of motion (default: all)")
    command.add_argument("--watch", action="store_true", help="stay, and retrain whenever the live model drifts in what is logged into the folders of --from")
    command.add_argument("--auto-promote", action="store_true", help="with --watch: what passes the gate goes live without a person")
    command.add_argument("--persist", type=float, default=20.0, help="with --watch: seconds of motion for which the drift must last (default: %(default)s)")
    command.add_argument("--every", type=float, default=15.0, help="with --watch: seconds between two looks at the log (default: %(default)s)")
    command.add_argument("--base", help="bundle to start from and to beat: a folder, or a version of the registry (default: the live one)")
    command.add_argument("--scratch", action="store_true", help="start from random weights instead of the base's")
    command.add_argument("--keep", type=float, help=f"of an arm: share of old data in the mix, where the new says nothing (default: {KEEP})")
    command.add_argument("--epochs", type=int, help=f"of an arm: passes over the data (default: what makes {STEPS} steps, at most {MOST_EPOCHS})")
    command.add_argument("--updates", type=int, help="of a robot on legs: steps of the optimiser (default: 1500, from scratch 5000)")
    command.add_argument("--seed", type=int, default=0, help="seed of split and training (default: %(default)s)")
    command.add_argument("--work", type=Path, default=Path("data/retrain"), help="folder of dataset, checkpoint and candidate (default: %(default)s)")
    add_gate_arguments(command)
    command.set_defaults(function=retrain)


def add_gate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--task", help="task of the closed loop (default: reach; of a robot on legs goal)")
    command.add_argument(
        "--subgoal-task",
        default=SUBGOAL_TASK,
        help="task on which a temporal difference model has to lead around something; none: not tried (default: %(default)s)",
    )
    command.add_argument("--scenario", nargs="+", default=["nominal"], help="scenarios of the closed loop: the robot as it is now (default: nominal)")
    command.add_argument("--episodes", type=int, default=20, help="episodes a scenario and bundle (default: %(default)s)")
    command.add_argument("--gate-seed", type=int, default=101, help="seed of the closed loop (default: %(default)s)")
    command.add_argument("--rules", type=Path, help="YAML file of the gate's rules (default: the stack's own)")
    add_workers(command)
    command.add_argument("--registry", type=Path, help="folder of the registry (default: TAUSTACK_REGISTRY, or ./registry)")
    command.add_argument("--json", type=Path, help="write the gate's report to this file")


def gate_suite(options: argparse.Namespace, robot: RobotConfig) -> GateSuite:
    """What the closed loop is tried on. Raises UnknownName for a task that the robot has not, or a scenario that is none."""
    from taustack.config import load_task
    from taustack.sim.gate import GateSuite
    from taustack.sim.scenario import load_scenario

    task = options.task or ARM_TASK
    missing = options.subgoal_task == SUBGOAL_TASK and not (robot.folder / "tasks" / f"{SUBGOAL_TASK}.yaml").is_file()  # not every robot has the default
    led = None if options.subgoal_task == "none" or missing else options.subgoal_task
    for name in (task, *([led] if led else [])):
        load_task(robot, name)
    for scenario in options.scenario:
        load_scenario(scenario, robot.n)
    return GateSuite(
        task=task, scenarios=tuple(options.scenario), episodes=options.episodes, seed=options.gate_seed, workers=workers_of(options), subgoal_task=led
    )


def retrain(options: argparse.Namespace) -> int:
    import torch

    from taustack.cli.walk_retrain import retrain_walks
    from taustack.config import load_robot
    from taustack.models.registry import Registry, registry_root
    from taustack.robot_folders import has_legs

    if options.minutes is not None and not options.minutes > 0:
        raise BadInput("argument", "--minutes", options.minutes, "more than 0")
    if has_legs(options.robot):
        return retrain_walks(options)
    options.task, options.keep = options.task or ARM_TASK, KEEP if options.keep is None else options.keep
    if (options.epochs is not None and options.epochs < 1) or not 0 <= options.keep < 1:
        raise BadInput("argument", "--epochs, --keep", f"{options.epochs}, {options.keep}", "at least 1, and 0 to less than 1")
    if options.updates is not None:
        raise BadInput("argument", "--updates", options.updates, "--epochs: this robot is an arm")
    if options.auto_promote and not options.watch:
        raise BadInput("argument", "--auto-promote", "without --watch", "--watch with it, or `taustack models promote`")
    torch.set_num_threads(threads_of(options))
    robot = load_robot(options.robot)
    gate_suite(options, robot)  # refused before anything is learned
    registry = Registry(registry_root(options.registry), robot.name)
    return watch(options, robot, registry) if options.watch else retrain_once(options, robot, registry, options.sources, options.work)[0]


def retrain_once(options: argparse.Namespace, robot: RobotConfig, registry: Registry, sources: list[Path], work: Path) -> tuple[int, str]:
    """From the sources to a judged candidate: exit code and version, see `conclude`."""
    from taustack.retraining.data import gather

    base = base_bundle(options.base, robot, registry)
    data = gather(sources, robot, options.minutes)
    for path, why in data.harvest.quarantined.items():
        print(f"left out {path}: {why}")
    delays = ", ".join("-" if steps < 0 else f"{1e3 * steps * robot.rates.control_dt:.0f}" for steps in data.delay.per_joint)
    together = f"{1e3 * data.delay.steps * robot.rates.control_dt:.0f}"
    print(f"{data.harvest.minutes:.2f} minutes in {len(data.runs)} runs; delay by joint [ms]: {delays}; of all {together}")
    with while_writing(work):
        trained, record = train_candidate(options, robot, base, data, work)
    verdict = judge_candidate(options, robot, trained.folder, base, trained)
    with while_writing(work):
        code, version = conclude(options, registry, trained.folder, verdict, work / "report")
    record.end(verdict.passed, verdict.figures(), sorted((work / "report").iterdir()))
    return code, version


def watch(options: argparse.Namespace, robot: RobotConfig, registry: Registry) -> int:
    """Retrain whenever the live model drifts for long; until SIGINT or SIGTERM."""
    from taustack.controllers.bundle import load_bundle
    from taustack.retraining.watch import DriftWatch
    from taustack.sim.mjcf import chain_from_model, compile_model
    from taustack.stop_flag import stop_on_signals

    for folder in options.sources:
        if not folder.is_dir():
            raise BadInput("--from", "", folder, "with --watch: the folder that the logger writes its bags into")
    stop = stop_on_signals()
    drift = DriftWatch(robot, chain_from_model(compile_model(robot), robot), options.sources)
    print(f"watching {', '.join(map(str, options.sources))}", flush=True)
    rounds = 0
    while not stop.is_set():
        try:
            lasted = drift.look(load_bundle(base_bundle(None, robot, registry), robot))
            if lasted >= options.persist:
                rounds += 1
                print(f"the live model has drifted for {lasted:.0f} s of motion: retraining", flush=True)
                code, version = retrain_once(options, robot, registry, drift.drifting, options.work / f"round{rounds}")
                if code == 0 and options.auto_promote:
                    registry.promote(version)
                    print(f"promoted: version {version}", flush=True)
                drift.forget()
        except TaustackError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            drift.forget()
        stop.wait(options.every)
    return 0


def base_bundle(given: str | None, robot: RobotConfig | LeggedConfig, registry: Registry) -> Path:
    """The bundle to beat: as given, else what is live."""
    from taustack.models.registry import SHIPPED

    if given and (Path(given) / "manifest.yaml").is_file():
        return Path(given)
    if given:
        return registry.path(given)
    version = registry.live().version
    return robot.folder / "bundle" if version == SHIPPED else registry.path(version)


def train_candidate(options: argparse.Namespace, robot: RobotConfig, base: Path, data: Any, work: Path) -> tuple[Trained, Record]:
    from tqdm import tqdm

    from taustack.models.train_dynamics import TrainConfig
    from taustack.retraining.pipeline import RetrainSpec, fine_tune
    from taustack.retraining.tracking import Record

    batches = max(1.0, data.harvest.minutes * 60 / robot.rates.control_dt / TrainConfig().batch)
    epochs = options.epochs or max(1, min(MOST_EPOCHS, round(STEPS / batches)))
    spec = RetrainSpec(
        task=options.task, base=base, scratch=options.scratch, keep=options.keep, epochs=epochs, seed=options.seed,
        command="taustack " + " ".join(sys.argv[1:]),
    )  # fmt: skip
    record = Record(robot.name, asdict(spec) | {"minutes": f"{data.harvest.minutes:.3f}", "runs": len(data.runs), "delay_steps": data.delay.steps}, work)
    with tqdm(total=epochs, desc="training", unit="epoch", disable=None) as bar:

        def on_epoch(epoch: int, history: Any) -> None:
            bar.n = epoch
            bar.set_postfix(train_nll=f"{history.train_nll[-1]:.3f}", holdout_mse=f"{history.holdout_mse[-1]:.3g}")
            record.epoch(epoch, {"train_nll": history.train_nll[-1], "holdout_mse": history.holdout_mse[-1]})

        return fine_tune(data, robot, spec, work, on_epoch), record


def judge_candidate(options: argparse.Namespace, robot: RobotConfig, candidate: Path, base: Path, trained: Trained) -> Verdict:
    from tqdm import tqdm

    from taustack.models.gate import load_rules
    from taustack.sim.gate import run_gate

    suite = gate_suite(options, robot)
    with tqdm(total=2 * options.episodes * (len(suite.scenarios) + (suite.subgoal_task is not None)), desc="gate", unit="episode", disable=None) as bar:
        return run_gate(candidate, base, robot, trained.held, suite, load_rules(options.rules), bar.update)


def conclude(options: argparse.Namespace, registry: Registry, candidate: Path, verdict: Verdict, folder: Path) -> tuple[int, str]:
    """Put candidate and report into the registry, and say what the gate said. Exit code (3 if it refused) and the version, if it has one."""
    from taustack.retraining.report import failing, write_report

    files = write_report(folder, verdict)
    rows = [["ok" if line.passed else "NO", line.what, f"{line.candidate:.4g}", f"{line.live:.4g}", line.limit] for line in verdict.lines]
    print(table(["", "rule", "candidate", "live", "limit"], rows))
    if options.json:
        write_json(options.json, verdict.as_data())
    if verdict.candidate.refused:
        print(f"refused: {verdict.candidate.refused}", file=sys.stderr)
        return REFUSED, ""
    version = registry.add(candidate, files)
    where = registry.folder / version
    if not verdict.passed:
        for line in failing(verdict):
            print(f"refused: {line}", file=sys.stderr)
        print(f"kept as version {version} for a look ({where / 'report.html'}); it cannot be promoted")
        return REFUSED, version
    print(f"passed: version {version} ({where / 'report.html'}); taustack models promote {registry.robot} {version} makes it live")
    return 0, version
