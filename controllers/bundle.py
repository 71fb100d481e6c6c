"""Load a bundle on the robot: hashes before anything is parsed, then contract, shapes, and golden outputs replayed."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.session import cpu_session
from taustack.controllers.tdm_bundle import tdm_of
from taustack.errors import BundleRefused
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS, GOLDEN, MANIFEST, Manifest, RobotContract, sha256_of
from taustack.strict_yaml import load

Float32 = NDArray[np.float32]
GOLDEN_TOLERANCE = 1e-3  # largest difference to the golden outputs, relative to the largest of each; other CPUs round differently


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle. `sha256` is the hash of its manifest, which holds the hashes of all other files."""

    folder: Path
    manifest: Manifest
    sha256: str
    graphs: dict[str, bytes]
    golden: dict[str, NDArray[np.float32]]
    _sessions: dict[str, ort.InferenceSession] = field(default_factory=dict, repr=False)

    def session(self, file: str) -> ort.InferenceSession:
        """The session of a graph, on one core, that neither spins nor falls back. Any number of threads may run it at once."""
        if file not in self._sessions:
            self._sessions[file] = cpu_session(self.graphs[file])
        return self._sessions[file]


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
    contents = _checked_contents(folder, manifest)
    if robot is not None:
        _compare(folder / MANIFEST, manifest.contract, RobotContract.of(robot))
    if manifest.state_layout != PARTS:
        raise BundleRefused(folder / MANIFEST, "state_layout", list(manifest.state_layout), str(list(PARTS)))
    golden = _read_golden(folder / GOLDEN, contents[GOLDEN])
    graphs = {name: data for name, data in contents.items() if name.endswith(".onnx")}
    bundle = Bundle(folder=folder, manifest=manifest, sha256=sha256_of(folder / MANIFEST), graphs=graphs, golden=golden)
    for name in (DYNAMICS, manifest.plan.file, *_tdm_files(manifest)):
        _replay(bundle, name)
    if robot is not None and manifest.tdm is not None:
        tdm_of(bundle, robot)
    return bundle


def _tdm_files(manifest: Manifest) -> tuple[str, ...]:
    return (manifest.tdm.file, manifest.tdm.plan) if manifest.tdm is not None else ()


def _checked_contents(folder: Path, manifest: Manifest) -> dict[str, bytes]:
    needed = {DYNAMICS, GOLDEN, manifest.plan.file, *_tdm_files(manifest)}
    unlisted = needed - set(manifest.files)
    if unlisted:
        raise BundleRefused(folder / MANIFEST, "files", "no entry for " + ", ".join(sorted(unlisted)), "an entry with its sha256")
    contents: dict[str, bytes] = {}
    for name, expected in manifest.files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink():
            raise BundleRefused(folder / MANIFEST, f"files.{name}", "a path that leaves the folder", "a plain file name")
        if not path.is_file():
            raise BundleRefused(path, "", "no such file", "the file that manifest.yaml lists")
        found = sha256_of(path)
        if found != expected:
            raise BundleRefused(path, "sha256", found, expected)
        contents[name] = path.read_bytes()
        # A tensor's data outside its file is named by a `location` entry; bundles hold all weights inside.
        if name.endswith(".onnx") and b"location" in contents[name]:
            raise BundleRefused(path, "external data", "a tensor stored outside the file", "all weights inside the file")
    return contents


def _compare(source: Path, found: RobotContract, expected: RobotContract) -> None:
    for key in RobotContract.model_fields:
        ours, theirs = getattr(expected, key), getattr(found, key)
        if ours != theirs:
            raise BundleRefused(source, f"contract.{key}", list(theirs) if isinstance(theirs, tuple) else theirs, f"{ours!r}, as in robot.yaml")


def _read_golden(path: Path, data: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            golden = {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError) as error:
        raise BundleRefused(path, "", str(error), "arrays without pickled objects") from None
    for key, array in golden.items():
        if not np.all(np.isfinite(array)):
            raise BundleRefused(path, key, "NaN or infinite values", "finite values")
    return golden


def _replay(bundle: Bundle, file: str) -> None:
    """Check metadata and shapes of a graph, and that it reproduces its golden outputs."""
    path = bundle.folder / file
    try:
        session = bundle.session(file)
    except Exception as error:  # onnxruntime raises several unrelated types
        raise BundleRefused(path, "", " ".join(str(error).split()), "a graph that onnxruntime loads") from None
    _check_metadata(path, session.get_modelmeta().custom_metadata_map, bundle.manifest)
    stem = file.removesuffix(".onnx")
    feed: dict[str, Float32] = {}
    for node in session.get_inputs():
        key = f"{stem}/{node.name}"
        if key not in bundle.golden:
            raise BundleRefused(bundle.folder / GOLDEN, key, "nothing", "a golden input")
        feed[node.name] = bundle.golden[key]
        for have, want in zip(feed[node.name].shape, node.shape, strict=False):
            if isinstance(want, int) and have != want:
                raise BundleRefused(path, node.name, f"shape {node.shape}", f"shape {list(feed[node.name].shape)}, as in {GOLDEN}")
    try:
        outputs = session.run(None, feed)
    except Exception as error:
        raise BundleRefused(path, "", " ".join(str(error).split()), "a graph that runs on its golden inputs") from None
    for node, output in zip(session.get_outputs(), outputs, strict=True):
        expected = bundle.golden.get(f"{stem}/{node.name}")
        if expected is None or expected.shape != output.shape:
            raise BundleRefused(path, node.name, f"shape {output.shape}", f"shape {None if expected is None else expected.shape}, as in {GOLDEN}")
        gap = float(np.max(np.abs(output - expected), initial=0.0)) / max(1.0, float(np.max(np.abs(expected), initial=0.0)))
        if not gap <= GOLDEN_TOLERANCE:
            raise BundleRefused(path, node.name, f"a difference of {gap:.3g} to its golden output", f"at most {GOLDEN_TOLERANCE:g}")


def _check_metadata(path: Path, metadata: dict[str, str], manifest: Manifest) -> None:
    try:
        found = RobotContract.model_validate(json.loads(metadata["taustack"]))
    except (KeyError, ValueError):
        raise BundleRefused(path, "metadata.taustack", metadata.get("taustack", "nothing"), "the robot's contract as JSON") from None
    _compare(path, found, manifest.contract)
