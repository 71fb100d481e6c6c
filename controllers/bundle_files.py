"""What verifying any bundle takes: hashes before anything is parsed, contract, shapes, golden outputs replayed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from pydantic import BaseModel

from taustack.controllers.session import Sessions
from taustack.errors import BundleRefused
from taustack.manifest import GOLDEN, MANIFEST, sha256_of

Float32 = NDArray[np.float32]
GOLDEN_TOLERANCE = 1e-3  # largest difference to the golden outputs, relative to the largest of each; other CPUs round differently


def checked_contents(folder: Path, files: Mapping[str, str], needed: Iterable[str]) -> dict[str, bytes]:
    """Contents of the files that a manifest lists, after their hashes.

    Raises:
        BundleRefused: one is missing, altered, leaves the folder, or carries data outside itself; or one that is needed is not listed.
    """
    unlisted = set(needed) - set(files)
    if unlisted:
        raise BundleRefused(folder / MANIFEST, "files", "no entry for " + ", ".join(sorted(unlisted)), "an entry with its sha256")
    contents: dict[str, bytes] = {}
    for name, expected in files.items():
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


def compare(source: Path, found: BaseModel, expected: BaseModel) -> None:
    """Refuse a contract that differs; names the key and both values."""
    for key in type(expected).model_fields:
        ours, theirs = getattr(expected, key), getattr(found, key)
        if ours != theirs:
            raise BundleRefused(source, f"contract.{key}", list(theirs) if isinstance(theirs, tuple) else theirs, f"{ours!r}, as in robot.yaml")


def read_golden(path: Path, data: bytes) -> dict[str, Float32]:
    """Golden inputs and outputs, `<graph>/<name>`."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            golden = {key: arrays[key] for key in arrays.files}
    except (ValueError, OSError) as error:
        raise BundleRefused(path, "", str(error), "arrays without pickled objects") from None
    for key, array in golden.items():
        if not np.all(np.isfinite(array)):
            raise BundleRefused(path, key, "NaN or infinite values", "finite values")
    return golden


def replay(path: Path, session: ort.InferenceSession, golden: Mapping[str, Float32], contract: BaseModel) -> None:
    """Check metadata and shapes of a graph, and that it reproduces its golden outputs.

    Raises:
        BundleRefused: it does not.
    """
    _check_metadata(path, session.get_modelmeta().custom_metadata_map, contract)
    feed: dict[str, Float32] = {}
    for node in session.get_inputs():
        key = f"{path.stem}/{node.name}"
        if key not in golden:
            raise BundleRefused(path.parent / GOLDEN, key, "nothing", "a golden input")
        feed[node.name] = golden[key]
        for have, want in zip(feed[node.name].shape, node.shape, strict=False):
            if isinstance(want, int) and have != want:
                raise BundleRefused(path, node.name, f"shape {node.shape}", f"shape {list(feed[node.name].shape)}, as in {GOLDEN}")
    try:
        outputs = session.run(None, feed)
    except Exception as error:
        raise BundleRefused(path, "", " ".join(str(error).split()), "a graph that runs on its golden inputs") from None
    for node, output in zip(session.get_outputs(), outputs, strict=True):
        expected = golden.get(f"{path.stem}/{node.name}")
        if expected is None or expected.shape != output.shape:
            raise BundleRefused(path, node.name, f"shape {output.shape}", f"shape {None if expected is None else expected.shape}, as in {GOLDEN}")
        gap = float(np.max(np.abs(output - expected), initial=0.0)) / max(1.0, float(np.max(np.abs(expected), initial=0.0)))
        if not gap <= GOLDEN_TOLERANCE:
            raise BundleRefused(path, node.name, f"a difference of {gap:.3g} to its golden output", f"at most {GOLDEN_TOLERANCE:g}")


def _check_metadata(path: Path, metadata: Mapping[str, str], contract: BaseModel) -> None:
    try:
        found = type(contract).model_validate(json.loads(metadata["taustack"]))
    except (KeyError, ValueError):
        raise BundleRefused(path, "metadata.taustack", metadata.get("taustack", "nothing"), "the robot's contract as JSON") from None
    compare(path, found, contract)


def session_of(path: Path, sessions: Sessions, file: str) -> ort.InferenceSession:
    """The session of a graph that nobody has loaded yet.

    Raises:
        BundleRefused: it is no graph.
    """
    try:
        return sessions.of(file)
    except Exception as error:  # onnxruntime raises several unrelated types
        raise BundleRefused(path, "", " ".join(str(error).split()), "a graph that onnxruntime loads") from None
