"""Reports of commands: JSON files written whole or not at all, aligned tables."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from taustack.errors import BadInput
from taustack.pool import Workers


def write_json(path: Path, data: Any) -> None:
    """Write JSON through a temporary file beside it.

    Raises:
        BadInput: the folder cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(data, indent=1) + "\n")
        part.replace(path)
    except OSError as error:
        raise BadInput(path, "", error.strerror or str(error), "a place that can be written") from None


def add_workers(command: argparse.ArgumentParser) -> None:
    """Where many runs are run."""
    command.add_argument("--workers", type=int, help="processes, and threads of a training (default: one a core)")
    command.add_argument("--ray", default="", metavar="ADDRESS", help="run them on a Ray cluster; `local` starts one here")


def workers_of(options: argparse.Namespace) -> Workers:
    """As `add_workers` has them.

    Raises:
        BadInput: fewer than one process.
    """
    if options.workers is not None and options.workers < 1:
        raise BadInput("argument", "--workers", options.workers, "at least 1")
    return Workers(count=options.workers, ray=options.ray)


def threads_of(options: argparse.Namespace) -> int:
    """Threads that a training may take: as many as it was given workers, one a core at the most."""
    cores = os.cpu_count() or 1
    return min(workers_of(options).count or cores, cores)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned to their widest cell."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
