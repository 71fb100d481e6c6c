"""Which code this is."""

from __future__ import annotations

import subprocess
from pathlib import Path

from taustack import __version__


def code_version() -> str:
    """Version of the package, with the commit where there is one."""
    try:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).resolve().parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return __version__
    return f"{__version__}+{commit.stdout.strip()}"
