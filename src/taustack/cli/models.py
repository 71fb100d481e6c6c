"""`taustack models`: look at bundles, and decide which one is live."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.retrain import ARM_TASK, add_gate_arguments, base_bundle, conclude, gate_suite
from taustack.cli.walk_retrain import judge_walks
from taustack.errors import BadInput

if TYPE_CHECKING:
    from taustack.models.registry import Registry


def add(commands: Any) -> None:
    command = commands.add_parser("models", help="look at bundles; judge, promote, roll back")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="check hashes, contract, shapes and golden outputs of a bundle")
    check.add_argument("bundle", type=Path, help="folder of the bundle")
    check.add_argument("--robot", help="robot it must fit, by name or folder (default: the one it names)")
    check.set_defaults(function=verify)
    show = actions.add_parser("show", help="print a bundle's manifest in short, and what the gate said of it")
    show.add_argument("bundle", type=Path, help="folder of the bundle")
    show.set_defaults(function=show_manifest)
    joining = actions.add_parser("join", help="write a bundle of another one and a temporal difference model")
    joining.add_argument("base", type=Path, help="folder of the bundle")
    joining.add_argument("tdm", type=Path, help="folder of a training of `taustack train tdm --goal-space joint_positions`, or a bundle that has one")
    joining.add_argument("--out", type=Path, required=True, help="folder of the new bundle; may be the base's")
    joining.set_defaults(function=join_tdm)
    ending = actions.add_parser("terminal", help="write a bundle whose plan graph can end in what a temporal difference model says will be left")
    ending.add_argument("base", type=Path, help="folder of the bundle")
    ending.add_argument("tdm", type=Path, help="folder of a finished training of `taustack train tdm ROBOT`, goals the end effector's")
    ending.add_argument("--task", required=True, help="task of the robot whose horizon and samples the plan graph gets")
    ending.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    ending.set_defaults(function=end_in_tdm)
    listing = actions.add_parser("list", help="versions of a robot in the registry, and which one is live")
    listing.add_argument("--journal", action="store_true", help="print every promotion and rollback too")
    promote = actions.add_parser("promote", help="make a version live; a running stack takes it over between two plans")
    promote.add_argument("--force", default="", metavar="REASON", help="promote what did not pass the gate; the reason is journalled and shown")
    rollback = actions.add_parser("rollback", help="make live what was live before")
    rollback.add_argument("--reason", default="", help="for the journal")
    prune = actions.add_parser("prune", help="remove old versions; the live one and the one before it stay")
    prune.add_argument("--keep", type=int, default=5, help="newest versions to keep (default: %(default)s)")
    for action, function in ((listing, list_versions), (promote, promote_version), (rollback, roll_back), (prune, prune_versions)):
        action.add_argument("robot", help="robot, by name or folder")
        action.add_argument("--registry", type=Path, help="folder of the registry (default: TAUSTACK_REGISTRY, or ./registry)")
        action.set_defaults(function=function)
    promote.add_argument("version", help="version in the registry")
    gate = actions.add_parser("gate", help="judge any bundle as retraining does; exit code 3 if it is refused")
    gate.add_argument("robot", help="robot, by name or folder")
    gate.add_argument("bundle", type=Path, help="folder of the candidate")
    gate.add_argument("--data", type=Path, nargs="+", required=True, help="bags or datasets that the candidate never saw")
    gate.add_argument("--base", help="bundle to beat: a folder, or a version of the registry (default: the live one)")
    gate.add_argument("--work", type=Path, default=Path("data/gate"), help="folder of the report (default: %(default)s)")
    add_gate_arguments(gate)
    gate.set_defaults(function=judge)


def verify(options: argparse.Namespace) -> int:
    from taustack.any_manifest import load_manifest
    from taustack.config import load_robot
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.walk_bundle import load_walk_bundle
    from taustack.legged import load_legged
    from taustack.walk_manifest import WalkManifest

    manifest = load_manifest(options.bundle)
    robot = options.robot or robot_beside(options.bundle) or manifest.contract.robot
    walks = isinstance(manifest, WalkManifest)
    bundle = load_walk_bundle(options.bundle, load_legged(robot)) if walks else load_bundle(options.bundle, load_robot(robot))
    print(f"ok: {options.bundle} ({manifest.name}/{manifest.version}, {len(manifest.files)} files, manifest {bundle.sha256})")
    return 0


def join_tdm(options: argparse.Namespace) -> int:
    from taustack.config import load_robot
    from taustack.controllers.bundle import load_bundle
    from taustack.errors import while_writing
    from taustack.models.tdm.bundle import join

    with while_writing(options.out):
        manifest = join(options.base, options.tdm, options.out)
    robot = robot_beside(options.out) or robot_beside(options.base) or manifest.contract.robot
    bundle = load_bundle(options.out, load_robot(robot))
    print(f"ok: {options.out} ({manifest.name}/{manifest.version}, {len(manifest.files)} files, manifest {bundle.sha256})")
    return 0


def robot_beside(bundle: Path) -> Path | None:
    """The robot's folder, if the bundle lies in one."""
    parent = bundle.resolve().parent
    return parent if (parent / "robot.yaml").is_file() else None


def show_manifest(options: argparse.Namespace) -> int:
    from taustack.any_manifest import load_manifest
    from taustack.cli.output import table
    from taustack.models.registry import REPORT
    from taustack.walk_manifest import WalkManifest

    manifest = load_manifest(options.bundle)
    rows = [
        ["robot", manifest.contract.robot], ["name", f"{manifest.name}/{manifest.version}"], ["created", manifest.created],
        ["code", manifest.code_version], ["command", manifest.command], ["data", f"{manifest.data.minutes:g} min, scenario {manifest.data.scenario}"],
        ["falls in it", str(manifest.falls)] if isinstance(manifest, WalkManifest) else ["delay", f"{manifest.delay_steps} steps"],
        ["plan", f"K {manifest.plan.samples_per_shard} x {manifest.plan.shards}, H {manifest.plan.horizon}, E {manifest.plan.members}"],
        *([key, f"{value:.4g}"] for key, value in manifest.metrics.items()),
    ]  # fmt: skip
    if (options.bundle / REPORT).is_file():
        rows.append(["gate", str(options.bundle / "report.html")])
    print(table(["entry", "value"], rows))
    return 0


def end_in_tdm(options: argparse.Namespace) -> int:
    import sys

    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.costs import COST_TERMS
    from taustack.errors import while_writing
    from taustack.models.again import write_again
    from taustack.models.tdm.terminal import trained_terminal
    from taustack.sim.mjcf import chain_from_model, compile_model

    bundle = load_bundle(options.base)
    robot = load_robot(bundle.manifest.contract.robot)
    task, terminal = load_task(robot, options.task), trained_terminal(options.tdm)
    with while_writing(options.out):
        command = "taustack " + " ".join(sys.argv[1:])
        write_again(options.base, options.out, robot, task, chain_from_model(compile_model(robot), robot), COST_TERMS, terminal, command)
    load_bundle(options.out, robot)
    print(f"{options.out}: verified; a task with `terminal: tdm` uses it")
    return 0


def list_versions(options: argparse.Namespace) -> int:
    from taustack.any_manifest import load_manifest
    from taustack.cli.output import table
    from taustack.models.registry import SHIPPED

    registry = registry_of(options)
    live, rows = registry.live().version, []
    for version in registry.versions():
        manifest = load_manifest(registry.path(version))
        gate = "passed" if registry.passed(version) else "refused" if registry.report(version) else "not judged"
        rows.append(["live" if version == live else "", version, manifest.name, manifest.created, f"{manifest.data.minutes:g}", gate])
    rows.insert(0, ["live" if live == SHIPPED else "", SHIPPED, "the robot's own bundle", "", "", ""])
    print(table(["", "version", "name", "created", "minutes", "gate"], rows))
    if options.journal:
        for entry in registry.journal():
            forced = " by force" if entry.forced else ""
            print(f"{entry.at} {entry.who}: {entry.action}{forced}, {entry.before} -> {entry.version}{f' ({entry.reason})' if entry.reason else ''}")
    return 0


def promote_version(options: argparse.Namespace) -> int:
    entry = registry_of(options).promote(options.version, options.force)
    print(f"live: version {entry.version} (before: {entry.before})" + (", by force" if entry.forced else ""))
    return 0


def roll_back(options: argparse.Namespace) -> int:
    entry = registry_of(options).rollback(options.reason)
    print(f"live: version {entry.version} (before: {entry.before})")
    return 0


def prune_versions(options: argparse.Namespace) -> int:
    if options.keep < 0:
        raise BadInput("argument", "--keep", options.keep, "0 or more")
    removed = registry_of(options).prune(options.keep)
    print(f"removed {', '.join(removed) or 'nothing'}")
    return 0


def judge(options: argparse.Namespace) -> int:
    from taustack.config import load_robot, load_task
    from taustack.models.gate import load_rules
    from taustack.retraining.data import gather
    from taustack.robot_folders import has_legs
    from taustack.sim.gate import run_gate

    if has_legs(options.robot):
        return judge_walks(options, registry_of(options))
    robot = load_robot(options.robot)
    load_task(robot, options.task or ARM_TASK)
    registry = registry_of(options)
    suite = gate_suite(options, robot)
    data = gather(options.data, robot)
    verdict = run_gate(options.bundle, base_bundle(options.base, robot, registry), robot, data.runs, suite, load_rules(options.rules))
    return conclude(options, registry, options.bundle, verdict, options.work / "report")[0]


def registry_of(options: argparse.Namespace) -> Registry:
    """The robot's part of the registry, mended if a crash left something undone."""
    from taustack.models.registry import Registry, registry_root
    from taustack.robot_folders import robot_name

    registry = Registry(registry_root(options.registry), robot_name(options.robot))
    mended = registry.mend()
    if mended:
        print(mended)
    return registry
