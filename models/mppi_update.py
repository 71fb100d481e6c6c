"""What plan steps of MPPI share: bounds on actions, the softmax over samples, members that judge each other. Traced into the exported graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def by_next_member(dynamics: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """What the member after its own says of each group: values (..., E, B, m), E groups by their members. The values go round: they are fewer than weights."""
    return torch.roll(dynamics(*(torch.roll(value, 1, -3) for value in values)), -1, -3)


def limited(wanted: Tensor, before: Tensor, most: Tensor, change: Tensor) -> Tensor:
    """Actions (H, K, nu) within +-most, and each within `change` of the one before."""
    wanted = torch.minimum(torch.maximum(wanted, -most), most)
    previous, out = before.expand(wanted[:1].shape), []
    for ask in wanted.split(1):
        previous = torch.minimum(torch.maximum(ask, previous - change), previous + change)
        out.append(previous)
    return torch.cat(out)


@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Shares (K,) of the samples by -(S - min S) / temperature; cost (K,) is S, 3e38 where it was not finite."""

    cost: Tensor
    finite: Tensor
    share: Tensor

    @classmethod
    def of(cls, total: Tensor, temperature: Tensor) -> Softmax:
        """Of costs (K,) [Williams et al. 2017, eq. 34]."""
        finite = torch.abs(total) < 1e30
        cost = torch.where(finite, total, torch.full_like(total, 3e38))
        score = torch.exp(-(cost - cost.min()) / temperature)
        return cls(cost=cost, finite=finite, share=score / score.sum())

    def of_vectors(self, values: Tensor) -> Tensor:
        """Expectation (..., m) of values (..., K, m)."""
        known = self.finite[:, None].expand(values.shape[-2:])  # as wide as the values: what is broadcast over the last axis takes five times as long
        return self.share @ torch.where(known, values, torch.zeros(()))

    def of_numbers(self, values: Tensor) -> Tensor:
        """Expectation (...) of values (..., K)."""
        return (torch.where(self.finite, values, torch.zeros_like(self.share)) * self.share).sum(-1)

    @property
    def effective_samples(self) -> Tensor:
        """1 over the sum of squared shares ()."""
        return 1.0 / (self.share * self.share).sum()

    @property
    def missing(self) -> Tensor:
        """Samples that were not finite ()."""
        return (1.0 - self.finite.to(torch.float32)).sum()
