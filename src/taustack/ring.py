"""The newest numbers of a stream, in memory that does not grow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Ring:
    """The newest `size` numbers."""

    def __init__(self, size: int) -> None:
        self._data = np.zeros(size)
        self.count = 0

    def append(self, value: float) -> None:
        self._data[self.count % len(self._data)] = value
        self.count += 1

    def newest(self, n: int | None = None) -> NDArray[np.float64]:
        """Up to n of the newest numbers (all that are kept if n is None), the oldest first."""
        kept = min(self.count, len(self._data), n if n is not None else len(self._data))
        return self._data[np.arange(self.count - kept, self.count) % len(self._data)]

    def percentiles(self, *q: float) -> list[float]:
        """Percentiles of what is kept; zeros if that is nothing."""
        return [float(v) for v in np.percentile(self.newest(), q)] if self.count else [0.0] * len(q)
