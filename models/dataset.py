"""Datasets of transitions on disk: one .npz a run and one dataset.yaml, all of it data (no pickle)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.models.run_files import CARD, check_shapes, read_run, write_card, write_runs
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
    hashes = write_runs(folder, [{name: getattr(run, name) for name in ARRAYS} for run in runs])
    minutes = sum(len(run.u) for run in runs) * dt / 60
    card = DatasetCard(robot=robot, joint_names=joint_names, dt=dt, scenario=scenario, seed=seed, minutes=round(minutes, 3), runs=hashes)
    write_card(folder, card)
    return card


def read_dataset(folder: Path) -> tuple[DatasetCard, list[Run]]:
    """Read a dataset and check its hashes.

    Raises:
        BadInput: no card, a run that is missing, altered, outside the folder or of the wrong shape.
    """
    card = load(DatasetCard, folder / CARD)
    if not card.runs:
        raise BadInput(folder / CARD, "runs", "none", "at least one run")
    return card, [_read_run(folder, name, sha256, card) for name, sha256 in card.runs.items()]


def _read_run(folder: Path, name: str, sha256: str, card: DatasetCard) -> Run:
    arrays, n = read_run(folder, name, sha256, ARRAYS), len(card.joint_names)
    steps = len(arrays["u"])
    expected = {"x": (steps + 1, 4 * n), "u": (steps, n), "ee": (steps + 1, 3), "torque": (steps + 1, n)}
    check_shapes(folder / name, arrays, expected, f"x (T+1, {4 * n}), u (T, {n}), ee (T+1, 3), torque (T+1, {n})")
    return Run(**arrays)
