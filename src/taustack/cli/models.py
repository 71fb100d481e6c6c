"""`taustack models`: look at bundles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add(commands: Any) -> None:
    command = commands.add_parser("models", help="look at bundles")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("verify", help="check hashes, contract, shapes and golden outputs of a bundle")
    check.add_argument("bundle", type=Path, help="folder of the bundle")
    check.add_argument("--robot", help="robot it must fit, by name or folder (default: the one it names)")
    check.set_defaults(function=verify)
    show = actions.add_parser("show", help="print a bundle's manifest in short")
    show.add_argument("bundle", type=Path, help="folder of the bundle")
    show.set_defaults(function=show_manifest)


def verify(options: argparse.Namespace) -> int:
    from taustack.config import load_robot
    from taustack.controllers.bundle import load_bundle
    from taustack.manifest import MANIFEST, Manifest
    from taustack.strict_yaml import load

    manifest = load(Manifest, options.bundle / MANIFEST)
    robot = load_robot(options.robot or robot_beside(options.bundle) or manifest.contract.robot)
    bundle = load_bundle(options.bundle, robot)
    print(f"ok: {options.bundle} ({manifest.name}/{manifest.version}, {len(manifest.files)} files, manifest {bundle.sha256})")
    return 0


def robot_beside(bundle: Path) -> Path | None:
    """The robot's folder, if the bundle lies in one."""
    parent = bundle.resolve().parent
    return parent if (parent / "robot.yaml").is_file() else None


def show_manifest(options: argparse.Namespace) -> int:
    from taustack.cli.output import table
    from taustack.manifest import MANIFEST, Manifest
    from taustack.strict_yaml import load

    manifest = load(Manifest, options.bundle / MANIFEST)
    rows = [
        ["robot", manifest.contract.robot], ["name", f"{manifest.name}/{manifest.version}"], ["created", manifest.created],
        ["code", manifest.code_version], ["command", manifest.command], ["data", f"{manifest.data.minutes:g} min, scenario {manifest.data.scenario}"],
        ["plan", f"K {manifest.plan.samples_per_shard} x {manifest.plan.shards}, H {manifest.plan.horizon}, E {manifest.plan.members}"],
        *([key, f"{value:.4g}"] for key, value in manifest.metrics.items()),
    ]  # fmt: skip
    print(table(["entry", "value"], rows))
    return 0
