"""Runs of a walk to learn from, on disk: one .npz a run and one dataset.yaml (no pickle). See taustack.legged_layout for x and u."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.legged_layout import NU, state_size
from taustack.models.dataset import DatasetCard
from taustack.models.run_files import CARD, check_shapes, read_run, write_card, write_runs
from taustack.strict_yaml import load

FloatArray = NDArray[np.float64]
ARRAYS = ("x", "u", "kicked")


class WalkCard(DatasetCard):
    """What stands in dataset.yaml."""

    falls: int
    """Runs that ended so."""


@dataclass(frozen=True, kw_only=True)
class WalkRun:
    """One uninterrupted walk: x (T+1, nx), u (T, nu) in force between two of them, kicked (T,): 1 where a simulated kick is felt.

    falls: 1 if it ended so; not stored.
    """

    x: FloatArray
    u: FloatArray
    kicked: FloatArray
    falls: int = 0


def write_walks(folder: Path, runs: list[WalkRun], *, robot: str, joint_names: tuple[str, ...], dt: float, scenario: str, seed: int) -> WalkCard:
    """Write runs and their card; the card comes last, so that a folder with a card is whole."""
    hashes = write_runs(folder, [{key: getattr(run, key) for key in ARRAYS} for run in runs])
    minutes = sum(len(run.u) for run in runs) * dt / 60
    card = WalkCard(
        robot=robot, joint_names=joint_names, dt=dt, scenario=scenario, seed=seed, minutes=round(minutes, 3), runs=hashes,
        falls=sum(run.falls for run in runs),
    )  # fmt: skip
    write_card(folder, card)
    return card


def read_walks(folder: Path) -> tuple[WalkCard, list[WalkRun]]:
    """Read a dataset and check its hashes.

    Raises:
        BadInput: no card, a run that is missing, altered, outside the folder or of the wrong shape.
    """
    card = load(WalkCard, folder / CARD)
    if not card.runs:
        raise BadInput(folder / CARD, "runs", "none", "at least one run")
    return card, [_read_run(folder, name, sha256, len(card.joint_names)) for name, sha256 in card.runs.items()]


def _read_run(folder: Path, name: str, sha256: str, n: int) -> WalkRun:
    arrays = read_run(folder, name, sha256, ARRAYS)
    steps = len(arrays["u"])
    expected = {"x": (steps + 1, state_size(n)), "u": (steps, NU), "kicked": (steps,)}
    check_shapes(folder / name, arrays, expected, f"x (T+1, {state_size(n)}), u (T, {NU}), kicked (T,)")
    return WalkRun(x=arrays["x"], u=arrays["u"], kicked=arrays["kicked"])
