"""What retraining of a walk starts from: the ensemble of a bundle."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import torch

from taustack.errors import BundleRefused
from taustack.legged import LeggedConfig
from taustack.manifest import MANIFEST, TRAINING, sha256_of
from taustack.models.ensemble import EnsembleConfig
from taustack.models.walk_dynamics import GaitClock, WalkEnsemble
from taustack.strict_yaml import load
from taustack.walk_manifest import WalkManifest


def read_walk_ensemble(folder: Path, robot: LeggedConfig) -> WalkEnsemble:
    """The ensemble of a bundle.

    Raises:
        BundleRefused: the bundle has none, or it was altered or does not fit.
    """
    manifest, path = load(WalkManifest, folder / MANIFEST), folder / TRAINING
    if TRAINING not in manifest.files or not path.is_file():
        raise BundleRefused(path, "", "no such file", "the weights to go on from")
    if sha256_of(path) != manifest.files[TRAINING]:
        raise BundleRefused(path, "sha256", sha256_of(path), manifest.files[TRAINING])
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            state = {key: torch.tensor(arrays[key]) for key in arrays.files}
        hidden = [state[key] for key in sorted(state) if key.startswith("weights.")]
        config = EnsembleConfig(members=hidden[0].shape[0], width=hidden[0].shape[2], layers=len(hidden) - 1)
        model = WalkEnsemble(robot.n, 1.0 / robot.rates.plan_hz, GaitClock.of(robot), config)
        model.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise BundleRefused(path, "", str(error)[:200], "the weights of an ensemble of this robot") from None
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise BundleRefused(path, "weights", "NaN or infinite values", "finite values")
    return model
