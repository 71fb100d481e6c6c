"""The plan step of a walk as one torch module, made to be exported: rollout over H, cost terms, MPPI's update.

Only what is learned is sequential: the gait's strides and clock follow from the actions and are computed once for all steps. Normalisers and
output scales are folded into the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taustack.legged_layout import NU
from taustack.models.mppi_update import Softmax, by_next_member, limited
from taustack.models.walk_dynamics import WalkEnsemble
from taustack.walk_rollout import WalkCostTerm, WalkRollout

INPUTS = ("x", "wanted", "trust", "mean", "noise", "weights", "temperature")
OUTPUTS = ("mean_next", "states", "cost", "disagreement", "sample_cost", "effective_samples", "nonfinite_samples")
DISAGREEMENT_STEPS = 5


class FoldedWalk(nn.Module):
    """The ensemble on the learned part z of the state; h = [z, r] A, where r = [strides before, clock, strides after, 1] is known ahead."""

    def __init__(self, model: WalkEnsemble) -> None:
        super().__init__()
        with torch.no_grad():
            first = model.weights[0] / model.feature_std[:, None]
            bias = model.biases[0] - ((model.feature_mean / model.feature_std) @ model.weights[0]).unsqueeze(1)
            self.first = nn.Parameter(torch.cat([first, bias], 1))
            self.hidden = nn.ParameterList([nn.Parameter(w.detach().clone()) for w in model.weights[1:-1]])
            self.hidden_bias = nn.ParameterList([nn.Parameter(b.detach().clone()) for b in model.biases[1:-1]])
            self.out = nn.Parameter(model.weights[-1] * model.target_std)
            self.out_bias = nn.Parameter(model.biases[-1] * model.target_std + model.target_mean)

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        """z (..., E, B, learned), r (..., E, B, 2 nu + 3) -> its change (..., E, B, learned)."""
        h = nn.functional.silu(torch.cat([z, known], -1) @ self.first)
        for weight, bias in zip(self.hidden, self.hidden_bias, strict=True):
            h = nn.functional.silu(h @ weight + bias)
        return h @ self.out + self.out_bias


class WalkPlanStep(nn.Module):
    """One MPPI update for K samples, K a multiple of E: sample k keeps its member for the whole rollout (TS-infinity).

    The softmax is over -(S - min S) / temperature and weights the actions that were really rolled out, after their limits (Williams et al. 2017,
    eq. 34). After `trust` steps a sample goes on with the old plan: there nothing is sampled.
    """

    def __init__(self, model: WalkEnsemble, terms: Sequence[WalkCostTerm], stride: int) -> None:
        super().__init__()
        self.dynamics, self.members, self.terms, self.stride = FoldedWalk(model), model.config.members, tuple(terms), stride
        self.n_learned, self.turn = model.n_learned, model.clock.turn
        for name, value in {"most": model.most, "change": model.change, "change_std": model.target_std}.items():
            self.register_buffer(name, value.clone())
        self.most: Tensor
        self.change: Tensor
        self.change_std: Tensor

    def forward(
        self, x: Tensor, wanted: Tensor, trust: Tensor, mean: Tensor, noise: Tensor, weights: Tensor, temperature: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x (nx,), wanted (3,), trust (), mean (H, nu), noise (H, K, nu), weights (T,), temperature () -> OUTPUTS.

        mean_next (H, nu), states (H+1, nx) expected over the samples, cost (T,) expected per term, disagreement (S,), sample_cost (K,) (3e38
        where not finite), effective_samples (), nonfinite_samples ().
        """
        horizon, k = (int(size) for size in noise.shape[:2])  # for good: to the exporter they are tensors
        before = x[self.n_learned : self.n_learned + NU]
        steps = torch.arange(horizon).reshape(-1, 1, 1)
        most, change = self.most.expand(k, NU), self.change.expand(k, NU)  # what is broadcast over the last axis takes five times as long
        u = limited(mean.unsqueeze(1) + noise * (steps < trust), before, most, change)  # what the gait makes of actions
        clock = self._clock(x[-2:], horizon)
        z, odds = self._rollout(x[: self.n_learned], before, u, clock)
        up, velocity, rate = z[..., :3], z[..., 3:6], z[..., 6:9]
        rollout = WalkRollout(
            up=up, velocity=velocity, rate=rate, turn=(up * rate).sum(-1), u=u, u_before=before, most=most, wanted=wanted, stride=self.stride,
            disagreement=odds,
        )  # fmt: skip
        terms = torch.stack([term(rollout, torch) for term in self.terms])
        over = Softmax.of(weights @ terms, temperature)
        states = torch.cat([z, u, clock[1:].unsqueeze(1).expand(horizon, k, 2)], -1)
        expected = torch.cat([x.unsqueeze(0), over.of_vectors(states)], 0)
        return (
            over.of_vectors(u), expected, over.of_numbers(terms), over.of_numbers(odds), over.cost, over.effective_samples, over.missing,
        )  # fmt: skip

    def _clock(self, now: Tensor, horizon: int) -> Tensor:
        """Sine and cosine of the phase (H+1, 2), now and after each step."""
        angles = self.turn * torch.arange(horizon + 1)
        c, s = torch.cos(angles), torch.sin(angles)
        return torch.stack([now[0] * c + now[1] * s, now[1] * c - now[0] * s], -1)

    def _rollout(self, z: Tensor, before: Tensor, u: Tensor, clock: Tensor) -> tuple[Tensor, Tensor]:
        """Learned parts (H, K, learned) after each step, and the disagreement (S, K) with the next member at S steps. z (learned,).

        What is known ahead is cut into its steps once; these keep an axis of one step: taking it off costs a node of the graph for each.
        """
        e, horizon, k = self.members, int(u.shape[0]), int(u.shape[1])
        strides = torch.cat([before.expand(1, k, NU), u[:-1]], 0)
        known = torch.cat([strides, clock[:-1].unsqueeze(1).expand(horizon, k, 2), u, torch.ones_like(u[..., :1])], -1)
        known_at = known.reshape(horizon, e, k // e, -1).split(1)
        asked = {round((i + 1) * horizon / DISAGREEMENT_STEPS) - 1 for i in range(DISAGREEMENT_STEPS)}
        z = z.expand(1, e, k // e, -1)
        out, seen = [], []
        for t in range(horizon):
            change = self.dynamics(z, known_at[t])
            if t in asked:
                seen.append((z, known_at[t], change))
            z = z + change
            out.append(z)
        states, then, changes = (torch.cat(parts, -2) for parts in zip(*seen, strict=True))  # (1, E, S K / E, ...)
        gap = (by_next_member(self.dynamics, states, then) - changes) / self.change_std
        # Half the squared difference of two members is an unbiased estimate of the members' variance.
        odds = torch.sqrt((0.5 * gap * gap).mean(-1)).reshape(e, len(seen), k // e)
        return torch.cat(out).reshape(horizon, k, -1), odds.transpose(0, 1).reshape(len(seen), k)


def stride_steps(model: WalkEnsemble) -> int:
    """Steps of one stride, rounded."""
    return round(2 * math.pi / model.clock.turn)
