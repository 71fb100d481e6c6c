"""`taustack retrain`: from a robot's logs to a candidate that the gate has judged."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import add_workers, table, workers_of, write_json
from taustack.errors import BadInput

if TYPE_CHECKING:
    from taustack.config import RobotConfig
    from taustack.models.gate import Verdict
    from taustack.models.registry import Registry
    from taustack.retraining.pipeline import Trained

REFUSED = 3
STEPS, MOST_EPOCHS = 40_000, 1500  # of training: few minutes of log need many passes, hours of it few


def add(commands: Any) -> None:
    command = commands.add_parser("retrain", help="learn from a robot's logs; the gate judges, a person promotes")
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("--from", dest="sources", type=Path, nargs="+", required=True, metavar="BAG", help="bags (folders or .mcap files) or datasets")
    command.add_argument("--minutes", type=float, help="learn from the first so many minutes of motion (default: all)")
    command.add_argument("--base", help="bundle to start from and to beat: a folder, or a version of the registry (default: the live one)")
    command.add_argument("--scratch", action="store_true", help="start from random weights instead of the base's")
    command.add_argument("--keep", type=float, default=0.1, help="share of old data in the mix, where the new says nothing (default: %(default)s)")
    command.add_argument("--epochs", type=int, help=f"passes over the data (default: what makes {STEPS} steps, at most {MOST_EPOCHS})")
    command.add_argument("--seed", type=int, default=0, help="seed of split and training (default: %(default)s)")
    command.add_argument("--work", type=Path, default=Path("data/retrain"), help="folder of dataset, checkpoint and candidate (default: %(default)s)")
    add_gate_arguments(command)
    command.set_defaults(function=retrain)


def add_gate_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--task", default="reach", help="task of the closed loop (default: %(default)s)")
    command.add_argument("--scenario", nargs="+", default=["nominal"], help="scenarios of the closed loop: the robot as it is now (default: nominal)")
    command.add_argument("--episodes", type=int, default=20, help="episodes a scenario and bundle (default: %(default)s)")
    command.add_argument("--gate-seed", type=int, default=101, help="seed of the closed loop (default: %(default)s)")
    command.add_argument("--rules", type=Path, help="YAML file of the gate's rules (default: the stack's own)")
    add_workers(command)
    command.add_argument("--registry", type=Path, help="folder of the registry (default: TAUSTACK_REGISTRY, or ./registry)")
    command.add_argument("--json", type=Path, help="write the gate's report to this file")


def retrain(options: argparse.Namespace) -> int:
    import torch

    from taustack.config import load_robot, load_task
    from taustack.models.registry import Registry, registry_root
    from taustack.retraining.data import gather

    if options.minutes is not None and not options.minutes > 0:
        raise BadInput("argument", "--minutes", options.minutes, "more than 0")
    if (options.epochs is not None and options.epochs < 1) or not 0 <= options.keep < 1:
        raise BadInput("argument", "--epochs, --keep", f"{options.epochs}, {options.keep}", "at least 1, and 0 to less than 1")
    torch.set_num_threads(os.cpu_count() or 1)
    robot = load_robot(options.robot)
    load_task(robot, options.task)
    registry = Registry(registry_root(options.registry), robot.name)
    base = base_bundle(options.base, robot, registry)
    data = gather(options.sources, robot, options.minutes)
    for path, why in data.harvest.quarantined.items():
        print(f"left out {path}: {why}")
    delays = ", ".join("-" if steps < 0 else f"{1e3 * steps * robot.rates.control_dt:.0f}" for steps in data.delay.per_joint)
    print(f"{data.harvest.minutes:.2f} minutes in {len(data.runs)} runs; delay by joint [ms]: {delays}")
    trained = train_candidate(options, robot, base, data)
    verdict = judge_candidate(options, robot, trained.folder, base, trained)
    return conclude(options, registry, trained.folder, verdict, options.work / "report")


def base_bundle(given: str | None, robot: RobotConfig, registry: Registry) -> Path:
    """The bundle to beat: as given, else what is live."""
    from taustack.models.registry import SHIPPED

    if given and (Path(given) / "manifest.yaml").is_file():
        return Path(given)
    if given:
        return registry.path(given)
    version = registry.live().version
    return robot.folder / "bundle" if version == SHIPPED else registry.path(version)


def train_candidate(options: argparse.Namespace, robot: RobotConfig, base: Path, data: Any) -> Trained:
    from tqdm import tqdm

    from taustack.models.train_dynamics import TrainConfig
    from taustack.retraining.pipeline import RetrainSpec, fine_tune

    batches = max(1.0, data.harvest.minutes * 60 / robot.rates.control_dt / TrainConfig().batch)
    epochs = options.epochs or max(1, min(MOST_EPOCHS, round(STEPS / batches)))
    spec = RetrainSpec(
        task=options.task, base=base, scratch=options.scratch, keep=options.keep, epochs=epochs, seed=options.seed,
        command="taustack " + " ".join(sys.argv[1:]),
    )  # fmt: skip
    with tqdm(total=epochs, desc="training", unit="epoch", disable=None) as bar:

        def on_epoch(epoch: int, history: Any) -> None:
            bar.n = epoch
            bar.set_postfix(train_nll=f"{history.train_nll[-1]:.3f}", holdout_mse=f"{history.holdout_mse[-1]:.3g}")

        return fine_tune(data, robot, spec, options.work, on_epoch)


def judge_candidate(options: argparse.Namespace, robot: RobotConfig, candidate: Path, base: Path, trained: Trained) -> Verdict:
    from tqdm import tqdm

    from taustack.models.gate import load_rules
    from taustack.sim.gate import GateSuite, run_gate

    suite = GateSuite(task=options.task, scenarios=tuple(options.scenario), episodes=options.episodes, seed=options.gate_seed, workers=workers_of(options))
    with tqdm(total=2 * options.episodes * len(suite.scenarios), desc="gate", unit="episode", disable=None) as bar:
        return run_gate(candidate, base, robot, trained.held, suite, load_rules(options.rules), bar.update)


def conclude(options: argparse.Namespace, registry: Registry, candidate: Path, verdict: Verdict, folder: Path) -> int:
    """Put candidate and report into the registry, and say what the gate said. Exit code 3 if it refused."""
    from taustack.retraining.report import failing, write_report

    files = write_report(folder, verdict)
    rows = [["ok" if line.passed else "NO", line.what, f"{line.candidate:.4g}", f"{line.live:.4g}", line.limit] for line in verdict.lines]
    print(table(["", "rule", "candidate", "live", "limit"], rows))
    if options.json:
        write_json(options.json, verdict.as_data())
    if verdict.candidate.refused:
        print(f"refused: {verdict.candidate.refused}", file=sys.stderr)
        return REFUSED
    version = registry.add(candidate, files)
    where = registry.folder / version
    if not verdict.passed:
        for line in failing(verdict):
            print(f"refused: {line}", file=sys.stderr)
        print(f"kept as version {version} for a look ({where / 'report.html'}); it cannot be promoted")
        return REFUSED
    print(f"passed: version {version} ({where / 'report.html'}); taustack models promote {registry.robot} {version} makes it live")
    return 0
