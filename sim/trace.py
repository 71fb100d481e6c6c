"""The true course of a run, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Trace:
    """The newest rows.

    Args:
        widths: names of the columns and how many numbers each has, in the order of `add`.
        rows: how many are kept.
    """

    def __init__(self, widths: Mapping[str, int], rows: int) -> None:
        self.widths, self.count = dict(widths), 0
        self._rows = np.zeros((rows, sum(self.widths.values())))

    def add(self, *parts: ArrayLike) -> None:
        """Keep one row, a part for each column."""
        self._rows[self.count % len(self._rows)] = np.concatenate([np.atleast_1d(np.asarray(part, dtype=float)) for part in parts])
        self.count += 1

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The rows by name, the oldest first: (rows,) of a column of one number, (rows, width) of others."""
        kept = min(self.count, len(self._rows))
        rows = self._rows[np.arange(self.count - kept, self.count) % len(self._rows)]
        parts = np.split(rows, np.cumsum(list(self.widths.values()))[:-1], axis=1)
        return {name: part[:, 0] if width == 1 else part for (name, width), part in zip(self.widths.items(), parts, strict=True)}
