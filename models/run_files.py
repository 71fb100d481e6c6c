"""Runs of a dataset on disk: one .npz a run, hashed in a card that is written last, so that a folder with a card is whole (no pickle)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.manifest import sha256_of
from taustack.strict_yaml import StrictModel

FloatArray = NDArray[np.float64]
CARD = "dataset.yaml"


def write_runs(folder: Path, runs: Sequence[Mapping[str, FloatArray]]) -> dict[str, str]:
    """Write the arrays of each run in single precision; file names and their sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for i, arrays in enumerate(runs):
        path = folder / f"run_{i:03d}.npz"
        np.savez_compressed(path, **{name: values.astype(np.float32) for name, values in arrays.items()})  # type: ignore[arg-type]
        hashes[path.name] = sha256_of(path)
    return hashes


def write_card(folder: Path, card: StrictModel) -> None:
    """Write the card; it appears at once."""
    part = folder / f"{CARD}.part"
    part.write_text(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False))
    part.replace(folder / CARD)


def read_run(folder: Path, name: str, sha256: str, names: Sequence[str]) -> dict[str, FloatArray]:
    """Arrays of a run that a card lists.

    Raises:
        BadInput: missing, altered, outside the folder, without one of the arrays, or with values that are not finite.
    """
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise BadInput(folder / CARD, f"runs.{name}", "no such file", "a file in the dataset's folder")
    found = sha256_of(path)
    if found != sha256:
        raise BadInput(path, "sha256", found, sha256)
    with np.load(path, allow_pickle=False) as arrays:
        missing = [key for key in names if key not in arrays.files]
        if missing:
            raise BadInput(path, "arrays", f"no {', '.join(missing)}", f"{', '.join(names)}: collect it again")
        run = {key: arrays[key].astype(np.float64) for key in names}
    if not all(np.isfinite(values).all() for values in run.values()):
        raise BadInput(path, ", ".join(names), "NaN or infinite values", "finite values")
    return run


def check_shapes(path: Path, run: Mapping[str, FloatArray], expected: Mapping[str, tuple[int, ...]], in_words: str) -> None:
    """Raise BadInput if an array of a run has another shape."""
    found = {name: values.shape for name, values in run.items()}
    if found != expected:
        raise BadInput(path, "shapes", ", ".join(f"{name} {shape}" for name, shape in found.items()), in_words)
