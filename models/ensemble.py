"""Probabilistic ensemble of dynamics models (PETS, Chua et al. 2018, arXiv 1805.12114), all members in one batched module.

The reference part of the state follows from the action exactly (taustack.layout), so only the tracking error
z = [q - q_ref, dq - dq_ref] is learned: a network predicts its normalised change over one step. Where the robot follows
its reference perfectly the change is zero, and what is left to learn is what really differs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class EnsembleConfig:
    """Shape of the ensemble: E members, hidden layers of `width`."""

    members: int = 5
    width: int = 128
    layers: int = 2


class DynamicsEnsemble(nn.Module):
    """E members f_e(x, u) of a robot with n joints; see `taustack.layout` for x and u.

    Args:
        prismatic: one flag a joint; the others are revolute and enter as sine and cosine.
        dt: step [s].
        config: shape of the ensemble.
    """

    def __init__(self, prismatic: tuple[bool, ...], dt: float, config: EnsembleConfig | None = None) -> None:
        super().__init__()
        self.config = config or EnsembleConfig()
        self.n = len(prismatic)
        self.dt = dt
        self.prismatic = prismatic
        n, e, width = self.n, self.config.members, self.config.width
        self.n_features, self.n_targets = 6 * n, 2 * n
        sizes = [self.n_features, *[width] * self.config.layers, 2 * self.n_targets]
        self.weights = nn.ParameterList([_uniform(e, i, o) for i, o in itertools.pairwise(sizes)])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(e, 1, o)) for o in sizes[1:]])
        self.max_log_var = nn.Parameter(torch.full((self.n_targets,), 0.5))
        self.min_log_var = nn.Parameter(torch.full((self.n_targets,), -14.0))
        self.register_buffer("feature_mean", torch.zeros(self.n_features))
        self.register_buffer("feature_std", torch.ones(self.n_features))
        self.register_buffer("target_mean", torch.zeros(self.n_targets))
        self.register_buffer("target_std", torch.ones(self.n_targets))
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor

    def set_normalisers(self, x: Tensor, u: Tensor, x_next: Tensor) -> None:
        """Take mean and std of features and targets from data x (B, nx), u (B, nu), x_next (B, nx)."""
        features, targets = self.features(x, u), self.targets(x, x_next)
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0).clamp_min(1e-6))
        self.target_mean.copy_(targets.mean(0))
        self.target_std.copy_(targets.std(0).clamp_min(1e-8))

    @torch.no_grad()
    def renormalise(self, x: Tensor, u: Tensor, x_next: Tensor) -> None:
        """Take the normalisers of other data and change the first and the last layer so that the mean it predicts stays the same."""
        mean, std = self.feature_mean.clone(), self.feature_std.clone()
        target_mean, target_std = self.target_mean.clone(), self.target_std.clone()
        self.set_normalisers(x, u, x_next)
        first, last = self.weights[0], self.weights[-1]
        self.biases[0] += (((self.feature_mean - mean) / std) @ first).unsqueeze(1)
        first *= (self.feature_std / std)[:, None]
        scale = target_std / self.target_std
        last[..., : self.n_targets] *= scale
        self.biases[-1][..., : self.n_targets] = self.biases[-1][..., : self.n_targets] * scale + (target_mean - self.target_mean) / self.target_std

    def features(self, x: Tensor, u: Tensor) -> Tensor:
        """(..., 6 n): sin and cos of q (q and 0 for prismatic joints), dq, q_ref - q, dq_ref - dq, u - dq_ref."""
        q, dq, q_ref, dq_ref = x.split(self.n, -1)
        mask = torch.tensor(self.prismatic)
        first = torch.where(mask, q, torch.sin(q))
        second = torch.where(mask, torch.zeros_like(q), torch.cos(q))
        return torch.cat([first, second, dq, q_ref - q, dq_ref - dq, u - dq_ref], -1)

    def targets(self, x: Tensor, x_next: Tensor) -> Tensor:
        """Change of the tracking error (..., 2 n)."""
        return self._error(x_next) - self._error(x)

    def _error(self, x: Tensor) -> Tensor:
        q, dq, q_ref, dq_ref = x.split(self.n, -1)
        return torch.cat([q - q_ref, dq - dq_ref], -1)

    def normalised(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (E, B, 6 n) -> mean and log-variance (E, B, 2 n) of the normalised change of the error."""
        h = (features - self.feature_mean) / self.feature_std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = nn.functional.silu(h @ weight + bias)
        mean, log_var = (h @ self.weights[-1] + self.biases[-1]).split(self.n_targets, -1)
        log_var = self.max_log_var - nn.functional.softplus(self.max_log_var - log_var)
        log_var = self.min_log_var + nn.functional.softplus(log_var - self.min_log_var)
        return mean, log_var

    def members(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Each member's own state (E, B, nx) and u (E, B, nu) -> next state and its std, both (E, B, nx)."""
        mean, log_var = self.normalised(self.features(x, u))
        change = mean * self.target_std + self.target_mean
        std = torch.exp(0.5 * log_var) * self.target_std
        q, dq, q_ref, dq_ref = x.split(self.n, -1)
        q_ref_next = q_ref + 0.5 * self.dt * (dq_ref + u)
        error = torch.cat([q - q_ref, dq - dq_ref], -1) + change
        reference = torch.cat([q_ref_next, u], -1)
        return torch.cat([error + reference, reference], -1), torch.cat([std, torch.zeros_like(std)], -1)

    def forward(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, nx), u (B, nu) -> mean (B, nx) and std (B, nx) of the next state; std joins noise and disagreement."""
        e = self.config.members
        mean, std = self.members(x.unsqueeze(0).expand(e, -1, -1), u.unsqueeze(0).expand(e, -1, -1))
        centre = mean.mean(0)
        variance = (std * std).mean(0) + ((mean - centre) ** 2).mean(0)
        return centre, torch.sqrt(variance)


def _uniform(e: int, rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(e, rows, columns) - 1) / math.sqrt(rows))
