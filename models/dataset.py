"""Datasets of transitions on disk: one .npz a run and one dataset.yaml, all of it data (no pickle)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.manifest import sha256_of
from taustack.strict_yaml import StrictModel, load

FloatArray = NDArray[np.float64]
ARRAYS = ("x", "u", "ee", "torque")


class DatasetCard(StrictModel):
    """What stands in dataset.yaml."""

    robot: str
    joint_names: tuple[str, ...]
    dt: float
    scenario: str
    seed: int
    minutes: float
    runs: dict[str, str]
    """File name of each run and its sha256."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One uninterrupted run: x (T+1, nx), u (T, nu), the end effector ee (T+1, 3) [m], and the joint torque (T+1, n) [N m or N]."""

    x: FloatArray
    u: FloatArray
    ee: FloatArray
    torque: FloatArray


def write_dataset(folder: Path, runs: list[Run], *, robot: str, joint_names: tuple[str, ...], dt: float, scenario: str, seed: int) -> DatasetCard:
    """Write runs and their card; the card comes last, so that a folder with a card is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for i, run in enumerate(runs):
        path = folder / f"run_{i:03d}.npz"
        np.savez_compressed(path, **{name: getattr(run, name).astype(np.float32) for name in ARRAYS})
        hashes[path.name] = sha256_of(path)
    minutes = sum(len(run.u) for run in runs) * dt / 60
    card = DatasetCard(robot=robot, joint_names=joint_names, dt=dt, scenario=scenario, seed=seed, minutes=round(minutes, 3), runs=hashes)
    data = card.model_dump(mode="json")
    (folder / "dataset.yaml.part").write_text(yaml.safe_dump(data, sort_keys=False))
    (folder / "dataset.yaml.part").replace(folder / "dataset.yaml")
    return card


def read_dataset(folder: Path) -> tuple[DatasetCard, list[Run]]:
    """Read a dataset and check its hashes.

    Raises:
        BadInput: no card, a run that is missing, altered, outside the folder or of the wrong shape.
    """
    card = load(DatasetCard, folder / "dataset.yaml")
    if not card.runs:
        raise BadInput(folder / "dataset.yaml", "runs", "none", "at least one run")
    return card, [_read_run(folder, name, sha256, card) for name, sha256 in card.runs.items()]


def _read_run(folder: Path, name: str, sha256: str, card: DatasetCard) -> Run:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise BadInput(folder / "dataset.yaml", f"runs.{name}", "no such file", "a file in the dataset's folder")
    found = sha256_of(path)
    if found != sha256:
        raise BadInput(path, "sha256", found, sha256)
    with np.load(path, allow_pickle=False) as arrays:
        missing = [name for name in ARRAYS if name not in arrays.files]
        if missing:
            raise BadInput(path, "arrays", f"no {', '.join(missing)}", f"{', '.join(ARRAYS)}: collect it again")
        run = Run(**{name: arrays[name].astype(np.float64) for name in ARRAYS})
    n = len(card.joint_names)
    expected = {"x": (len(run.u) + 1, 4 * n), "u": (len(run.u), n), "ee": (len(run.u) + 1, 3), "torque": (len(run.u) + 1, n)}
    found_shapes = {name: getattr(run, name).shape for name in ARRAYS}
    if found_shapes != expected:
        raise BadInput(path, "shapes", ", ".join(f"{k} {v}" for k, v in found_shapes.items()), f"x (T+1, {4 * n}), u (T, {n}), ee (T+1, 3), torque (T+1, {n})")
    if not all(np.all(np.isfinite(getattr(run, name))) for name in ARRAYS):
        raise BadInput(path, ", ".join(ARRAYS), "NaN or infinite values", "finite values")
    return run
