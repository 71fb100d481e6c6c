"""How far ahead the model is trusted: the steps of a plan over which its members agree as they do on data they never saw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
FACTOR = 2.0  # times the hold-out's 99 % quantile: beyond it the members say different things
LEAST_SHARE = 0.3  # of the horizon; with less trust than that a plan is none
RECOVERY = 1  # steps by which trust grows a plan: it falls at once and comes back slowly


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Steps of the horizon that may be sampled. limit: of the normalised disagreement."""

    horizon: int
    limit: float
    steps: int

    @classmethod
    def whole(cls, horizon: int, holdout_q99: float | None) -> Trust:
        """Trust in the whole horizon; without a stated hold-out it stays whole."""
        return cls(horizon=horizon, limit=FACTOR * holdout_q99 if holdout_q99 is not None else np.inf, steps=horizon)

    @property
    def enough(self) -> bool:
        """False if the planner should hand over to the fallback."""
        return self.steps >= LEAST_SHARE * self.horizon

    def after(self, disagreement: FloatArray) -> Trust:
        """Trust after a plan with this disagreement (S,) at S steps spread evenly over the horizon, the last step among them."""
        beyond = np.flatnonzero(~(disagreement <= self.limit))
        reach = int(beyond[0] * self.horizon / len(disagreement)) if len(beyond) else self.horizon
        return Trust(horizon=self.horizon, limit=self.limit, steps=max(1, min(reach, self.steps + RECOVERY)))
