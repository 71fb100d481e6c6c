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
    """One uninterrupted run: x (T+1, nx), u (T, nu), and the end effector ee (T+1, 3) [m]."""

    x: FloatArray
    u: FloatArray
    ee: FloatArray


def write_dataset(folder: Path, runs: list[Run], *, robot: str, joint_names: tuple[str, ...], dt: float, scenario: str, seed: int) -> DatasetCard:
    """Write runs and their card; the card comes last, so that a folder with a card is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for i, run in enumerate(runs):
        path = folder / f"run_{i:03d}.npz"
        np.savez_compressed(path, x=run.x.astype(np.float32), u=run.u.astype(np.float32), ee=run.ee.astype(np.float32))
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
        run = Run(**{key: arrays[key].astype(np.float64) for key in ("x", "u", "ee")})
    n = len(card.joint_names)
    if run.x.shape != (len(run.u) + 1, 4 * n) or run.u.shape[1:] != (n,) or run.ee.shape != (len(run.x), 3):
        raise BadInput(path, "shapes", f"x {run.x.shape}, u {run.u.shape}, ee {run.ee.shape}", f"x (T+1, {4 * n}), u (T, {n}), ee (T+1, 3)")
    if not all(np.all(np.isfinite(a)) for a in (run.x, run.u, run.ee)):
        raise BadInput(path, "x, u, ee", "NaN or infinite values", "finite values")
    return run
