"""manifest.yaml of a bundle, whichever kind of robot it is for."""

from __future__ import annotations

from pathlib import Path

from taustack.manifest import MANIFEST, Manifest
from taustack.strict_yaml import load, read_mapping
from taustack.walk_manifest import WalkManifest


def load_manifest(folder: Path) -> Manifest | WalkManifest:
    """The manifest of a bundle's folder. Raises BadInput as `load`."""
    path = folder / MANIFEST
    return load(WalkManifest, path) if read_mapping(path).get("kind") == "walk" else load(Manifest, path)
