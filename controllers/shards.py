"""The samples of one plan step, split over single-threaded sessions, and what their outputs are together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.errors import PlanFailed
from taustack.rollout import Runs

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
NON_FINITE = 1e30  # sample costs beyond this were not finite (the graph writes 3e38)


@dataclass(frozen=True, kw_only=True)
class Computed:
    """What the plan step gives: see Plan. median_excess: of the samples' costs over the least one."""

    actions: FloatArray
    states: FloatArray
    cost: dict[str, float]
    disagreement: FloatArray
    effective_samples: float
    nonfinite_samples: int
    median_excess: float


def run_shards(session: Runs, feeds: Sequence[Mapping[str, Any]], executor: Executor | None) -> list[list[Float32]]:
    """Outputs of each shard; the first one runs here, the others in the executor, or one after the other without it."""
    if executor is None:
        return [session.run(None, dict(feed)) for feed in feeds]
    others = [executor.submit(session.run, None, dict(feed)) for feed in feeds[1:]]
    first = session.run(None, dict(feeds[0]))
    return [first, *(future.result() for future in others)]


def mixed(outputs: Sequence[Sequence[Float32]], terms: Sequence[str], temperature: float) -> Computed:
    """Outputs (mean_next, states, cost, disagreement, sample_cost, ...) of shards as those of one plan step over all of their samples.

    Raises:
        PlanFailed: no sample had a finite cost, or the result is not finite.
    """
    sample_cost = np.concatenate([out[4] for out in outputs])
    finite = sample_cost < NON_FINITE
    if not finite.any():
        raise PlanFailed(f"none of {len(sample_cost)} samples had a finite cost")
    excess = sample_cost[finite].astype(float) - sample_cost.min()
    # Share of each shard's softmax in the softmax over all samples, exact.
    mass = np.array([np.exp(-(out[4].astype(float) - float(sample_cost.min())) / temperature).sum() for out in outputs])
    share = mass / mass.sum()

    def mix(i: int) -> FloatArray:
        return np.asarray(np.tensordot(share, np.stack([out[i] for out in outputs]).astype(float), 1))

    weight = np.exp(-excess / temperature)
    done = Computed(
        actions=mix(0), states=mix(1), cost=dict(zip(terms, mix(2).tolist(), strict=True)), disagreement=mix(3),
        effective_samples=float(weight.sum() ** 2 / (weight**2).sum()), nonfinite_samples=int((~finite).sum()),
        median_excess=float(np.median(sample_cost[finite] - sample_cost.min())),
    )  # fmt: skip
    if not (np.all(np.isfinite(done.actions)) and np.all(np.isfinite(done.states))):
        raise PlanFailed("the plan graph returned values that are not finite")
    return done
