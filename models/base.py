"""What retraining starts from: the weights of a bundle's ensemble, and a sample of what it learned from."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from taustack.errors import BadInput, BundleRefused
from taustack.manifest import MANIFEST, TRAINING, Manifest, sha256_of
from taustack.models.ensemble import DynamicsEnsemble, EnsembleConfig, Transitions
from taustack.strict_yaml import load

FloatArray = NDArray[np.float64]
PARTS = ("x", "u", "x_next", "torque")
SAMPLES = 1000  # transitions that a bundle carries along


def write_training(path: Path, model: DynamicsEnsemble, transitions: Transitions, seed: int) -> None:
    """Weights, and a random sample of transitions x (B, nx), u (B, nu), x_next (B, nx), torque (B, n)."""
    chosen = np.random.default_rng(seed).permutation(len(transitions[0]))[:SAMPLES]
    arrays = {f"weights/{name}": value.detach().numpy() for name, value in model.state_dict().items()}
    arrays |= {name: values[chosen].numpy() for name, values in zip(PARTS, transitions, strict=True)}
    np.savez_compressed(path, **arrays)


def read_training(folder: Path, prismatic: tuple[bool, ...]) -> tuple[DynamicsEnsemble, Transitions]:
    """The ensemble of a bundle and its sample of transitions.

    Raises:
        BundleRefused: the bundle has none, or it was altered or does not fit.
    """
    manifest = load(Manifest, folder / MANIFEST)
    path = folder / TRAINING
    if TRAINING not in manifest.files or not path.is_file():
        raise BundleRefused(path, "", "no such file", "the weights to go on from; train from scratch with --scratch")
    if sha256_of(path) != manifest.files[TRAINING]:
        raise BundleRefused(path, "sha256", sha256_of(path), manifest.files[TRAINING])
    try:
        with np.load(path, allow_pickle=False) as arrays:
            weights = {key.removeprefix("weights/"): torch.tensor(arrays[key]) for key in arrays.files if key.startswith("weights/")}
            x, u, x_next, torque = (torch.tensor(arrays[key], dtype=torch.float32) for key in PARTS)
        hidden = [weights[key] for key in sorted(weights) if key.startswith("weights.")]
        config = EnsembleConfig(members=hidden[0].shape[0], width=hidden[0].shape[2], layers=len(hidden) - 1)
        model = DynamicsEnsemble(prismatic, manifest.contract.control_dt, config)
        model.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise BundleRefused(path, "", str(error)[:200], "the weights of an ensemble of this robot, and transitions") from None
    if not all(bool(torch.isfinite(value).all()) for value in (*weights.values(), x, u, x_next, torque)):
        raise BadInput(path, "weights", "NaN or infinite values", "finite values")
    return model, (x, u, x_next, torque)
