"""Load a bundle of a robot on legs: hashes before anything is parsed, then contract, shapes, and golden outputs replayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime as ort

from taustack.controllers.bundle_files import checked_contents, compare, read_golden, replay, session_of
from taustack.controllers.session import Sessions
from taustack.errors import BundleRefused
from taustack.legged import LeggedConfig
from taustack.legged_layout import ACTIONS, LEARNED
from taustack.manifest import DYNAMICS, GOLDEN, MANIFEST, sha256_of
from taustack.strict_yaml import load
from taustack.walk_manifest import LeggedContract, WalkManifest


@dataclass(frozen=True, kw_only=True)
class WalkBundle:
    """A verified bundle. `sha256` is the hash of its manifest, which holds the hashes of all other files."""

    folder: Path
    manifest: WalkManifest
    sha256: str
    sessions: Sessions = field(repr=False)

    def session(self, file: str) -> ort.InferenceSession:
        """The session of a graph, on one core. Any number of threads may run it at once."""
        return self.sessions.of(file)


def load_walk_bundle(folder: Path, robot: LeggedConfig | None = None) -> WalkBundle:
    """Verify everything about a bundle and load it.

    Args:
        folder: the bundle's folder.
        robot: if given, the robot it must fit.

    Raises:
        BundleRefused: a file is missing, altered, leaves the folder, carries data outside itself, belongs to another robot or joint order, or does
            not reproduce its golden outputs. Names the file and both values.
    """
    manifest = load(WalkManifest, folder / MANIFEST)
    needed = (DYNAMICS, manifest.plan.file)
    contents = checked_contents(folder, manifest.files, {GOLDEN, *needed})
    if robot is not None:
        compare(folder / MANIFEST, manifest.contract, LeggedContract.of(robot))
    for key, found, expected in (("state_layout", manifest.state_layout, LEARNED), ("action_layout", manifest.action_layout, ACTIONS)):
        if found != expected:
            raise BundleRefused(folder / MANIFEST, key, list(found), str(list(expected)))
    golden = read_golden(folder / GOLDEN, contents[GOLDEN])
    sessions = Sessions({name: data for name, data in contents.items() if name.endswith(".onnx")})
    for name in needed:
        replay(folder / name, session_of(folder / name, sessions, name), golden, manifest.contract)
    return WalkBundle(folder=folder, manifest=manifest, sha256=sha256_of(folder / MANIFEST), sessions=sessions)
