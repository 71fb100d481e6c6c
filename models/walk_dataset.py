"""Runs of a walk to learn from, on disk: one .npz a run and one dataset.yaml (no pickle). See taustack.legged_layout for x and u."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.legged_layout import NU, state_size
from taustack.manifest import sha256_of
from taustack.models.dataset import DatasetCard
from taustack.strict_yaml import load

FloatArray = NDArray[np.float64]
ARRAYS = ("x", "u", "kicked")


class WalkCard(DatasetCard):
    """What stands in dataset.yaml."""

    falls: int
    """Runs that ended so."""


@dataclass(frozen=True, kw_only=True)
class WalkRun:
    """One uninterrupted walk: x (T+1, nx), u (T, nu) in force between two of them, kicked (T,): 1 where a simulated kick began.

    falls: 1 if it ended so; not stored.
    """

    x: FloatArray
    u: FloatArray
    kicked: FloatArray
    falls: int = 0


def write_walks(folder: Path, runs: list[WalkRun], *, robot: str, joint_names: tuple[str, ...], dt: float, scenario: str, seed: int) -> WalkCard:
    """Write runs and their card; the card comes last, so that a folder with a card is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    for i, run in enumerate(runs):
        path = folder / f"run_{i:04d}.npz"
        np.savez_compressed(path, **{key: getattr(run, key).astype(np.float32) for key in ARRAYS})
        hashes[path.name] = sha256_of(path)
    minutes = sum(len(run.u) for run in runs) * dt / 60
    card = WalkCard(
        robot=robot, joint_names=joint_names, dt=dt, scenario=scenario, seed=seed, minutes=round(minutes, 3), runs=hashes,
        falls=sum(run.falls for run in runs),
    )  # fmt: skip
    part = folder / "dataset.yaml.part"
    part.write_text(yaml.safe_dump(card.model_dump(mode="json"), sort_keys=False))
    part.replace(folder / "dataset.yaml")
    return card


def read_walks(folder: Path) -> tuple[WalkCard, list[WalkRun]]:
    """Read a dataset and check its hashes.

    Raises:
        BadInput: no card, a run that is missing, altered, outside the folder or of the wrong shape.
    """
    card = load(WalkCard, folder / "dataset.yaml")
    if not card.runs:
        raise BadInput(folder / "dataset.yaml", "runs", "none", "at least one run")
    return card, [_read_run(folder, name, sha256, len(card.joint_names)) for name, sha256 in card.runs.items()]


def _read_run(folder: Path, name: str, sha256: str, n: int) -> WalkRun:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise BadInput(folder / "dataset.yaml", f"runs.{name}", "no such file", "a file in the dataset's folder")
    found = sha256_of(path)
    if found != sha256:
        raise BadInput(path, "sha256", found, sha256)
    with np.load(path, allow_pickle=False) as arrays:
        missing = [key for key in ARRAYS if key not in arrays.files]
        if missing:
            raise BadInput(path, "arrays", f"no {', '.join(missing)}", f"{', '.join(ARRAYS)}: collect it again")
        run = WalkRun(**{key: arrays[key].astype(np.float64) for key in ARRAYS})
    expected = {"x": (len(run.u) + 1, state_size(n)), "u": (len(run.u), NU), "kicked": (len(run.u),)}
    shapes = {key: getattr(run, key).shape for key in ARRAYS}
    if shapes != expected:
        raise BadInput(path, "shapes", str(shapes), f"x (T+1, {state_size(n)}), u (T, {NU}), kicked (T,)")
    if not all(np.isfinite(getattr(run, key)).all() for key in ARRAYS):
        raise BadInput(path, ", ".join(ARRAYS), "NaN or infinite values", "finite values")
    return run
