"""A bundle's plan graph written again, of the networks that the bundle carries: for another horizon, or with a term more."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from taustack.config import RobotConfig, TaskConfig
from taustack.kinematics import KinematicChain
from taustack.manifest import MANIFEST, Manifest
from taustack.models.base import read_training
from taustack.models.export import put_in_place, write_bundle
from taustack.models.tdm.bundle import join
from taustack.models.tdm.terminal import TERMINAL_FILE, TDMTerminal, read_terminal
from taustack.rollout import CostTerm
from taustack.strict_yaml import load


def carried_terminal(bundle: Path) -> TDMTerminal | None:
    """The TDM in which a bundle's plan graph can end, if it has one. Raises as `read_terminal`."""
    return read_terminal(bundle / TERMINAL_FILE) if TERMINAL_FILE in load(Manifest, bundle / MANIFEST).files else None


def write_again(
    base: Path, out: Path, robot: RobotConfig, task: TaskConfig, chain: KinematicChain, terms: Mapping[str, CostTerm], terminal: TDMTerminal | None,
    command: str,
) -> Manifest:  # fmt: skip
    """`base` with the plan graph of another task or terminal; it appears in `out` at once or not at all.

    What the held-out runs said stays: of one step it is right, of H steps it is that of the base's horizon.

    Raises:
        BundleRefused: `base` carries no networks, or altered ones.
    """
    prismatic = tuple(joint.kind == "prismatic" for joint in robot.joints)
    model, transitions = read_training(base, prismatic)
    before = load(Manifest, base / MANIFEST)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        work = Path(temporary) / "bundle"
        manifest = write_bundle(
            work, model, robot, task, chain, terms, data=before.data, metrics=before.metrics, name=before.name, version=before.version, command=command,
            seed=before.data.seed, delay_steps=before.delay_steps, transitions=transitions, terminal=terminal,
        )  # fmt: skip
        manifest = manifest.model_copy(update={"holdout": before.holdout})
        (work / MANIFEST).write_text(yaml.safe_dump(manifest.model_dump(mode="json"), sort_keys=False, width=120))
        if before.tdm is not None:
            manifest = join(work, base, work)
        put_in_place(work, out)
    return manifest
