"""Load a bundle on the robot: hashes before anything is parsed, then contract, shapes, and golden outputs replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.bundle_files import checked_contents, compare, read_golden, replay, session_of
from taustack.controllers.session import Sessions
from taustack.controllers.tdm_bundle import tdm_of
from taustack.errors import BundleRefused
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS, GOLDEN, MANIFEST, Manifest, RobotContract, sha256_of
from taustack.strict_yaml import load

Float32 = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle. `sha256` is the hash of its manifest, which holds the hashes of all other files."""

    folder: Path
    manifest: Manifest
    sha256: str
    graphs: dict[str, bytes]
    golden: dict[str, NDArray[np.float32]]
    sessions: Sessions = field(repr=False)

    def session(self, file: str) -> ort.InferenceSession:
        """The session of a graph, on one core, that neither spins nor falls back. Any number of threads may run it at once."""
        return self.sessions.of(file)


def load_bundle(folder: Path, robot: RobotConfig | None = None) -> Bundle:
    """Verify everything about a bundle and load it.

    Args:
        folder: the bundle's folder.
        robot: if given, the robot it must fit.

    Raises:
        BundleRefused: a file is missing, altered, leaves the folder, carries data outside itself, belongs to another robot
            or joint order, or does not reproduce its golden outputs. Names the file and both values.
    """
    manifest = load(Manifest, folder / MANIFEST)
    contents = checked_contents(folder, manifest.files, {DYNAMICS, GOLDEN, manifest.plan.file, *_tdm_files(manifest)})
    if robot is not None:
        compare(folder / MANIFEST, manifest.contract, RobotContract.of(robot))
    if manifest.state_layout != PARTS:
        raise BundleRefused(folder / MANIFEST, "state_layout", list(manifest.state_layout), str(list(PARTS)))
    golden = read_golden(folder / GOLDEN, contents[GOLDEN])
    graphs = {name: data for name, data in contents.items() if name.endswith(".onnx")}
    bundle = Bundle(folder=folder, manifest=manifest, sha256=sha256_of(folder / MANIFEST), graphs=graphs, golden=golden, sessions=Sessions(graphs))
    for name in (DYNAMICS, manifest.plan.file, *_tdm_files(manifest)):
        replay(folder / name, session_of(folder / name, bundle.sessions, name), golden, manifest.contract)
    if robot is not None and manifest.tdm is not None:
        tdm_of(bundle, robot)
    return bundle


def _tdm_files(manifest: Manifest) -> tuple[str, ...]:
    return (manifest.tdm.file, manifest.tdm.plan) if manifest.tdm is not None else ()
