"""Probabilistic ensemble of dynamics models (PETS, Chua et al. 2018, arXiv 1805.12114), all members in one batched module.

The reference part of the state follows from the action exactly (taustack.layout), so only the tracking error
z = [q - q_ref, dq - dq_ref] is learned: a network predicts its normalised change over one step. Where the robot follows
its reference perfectly the change is zero, and what is left to learn is what really differs. Beside it the network predicts
what the joint torque at the end of the step is more than the impedance law would give for that tracking error: gravity, the law's
own lag. How near a motion comes to the limits of the motors is in no part of the state, and the law alone would take a robot
that follows late for one that is overloaded.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SATURATED = 0.98  # share of the torque limit
Transitions = tuple[Tensor, Tensor, Tensor, Tensor]
"""x (B, nx), u (B, nu), x_next (B, nx), and the torque (B, n) at the end of each."""


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
        law: stiffness, damping and torque limit (3, n) of the impedance law; without it all of the torque is learned.
    """

    def __init__(self, prismatic: tuple[bool, ...], dt: float, config: EnsembleConfig | None = None, law: NDArray[np.float64] | None = None) -> None:
        super().__init__()
        self.config = config or EnsembleConfig()
        self.n = len(prismatic)
        self.dt = dt
        self.prismatic = prismatic
        n, e, width = self.n, self.config.members, self.config.width
        self.n_features, self.n_targets = 6 * n, 3 * n
        sizes = [self.n_features, *[width] * self.config.layers, 2 * self.n_targets]
        self.weights = nn.ParameterList([_uniform(e, i, o) for i, o in itertools.pairwise(sizes)])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(e, 1, o)) for o in sizes[1:]])
        self.max_log_var = nn.Parameter(torch.full((self.n_targets,), 0.5))
        self.min_log_var = nn.Parameter(torch.full((self.n_targets,), -14.0))
        no_law = torch.stack([torch.zeros(n), torch.zeros(n), torch.full((n,), torch.inf)])
        self.register_buffer("law", torch.tensor(law, dtype=torch.float32) if law is not None else no_law)
        self.register_buffer("feature_mean", torch.zeros(self.n_features))
        self.register_buffer("feature_std", torch.ones(self.n_features))
        self.register_buffer("target_mean", torch.zeros(self.n_targets))
        self.register_buffer("target_std", torch.ones(self.n_targets))
        self.law: Tensor
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor

    def set_normalisers(self, x: Tensor, u: Tensor, x_next: Tensor, torque: Tensor) -> None:
        """Take mean and std of features and targets from transitions x (B, nx), u (B, nu), x_next (B, nx), torque (B, n) after them."""
        features, targets = self.features(x, u), self.targets(x, x_next, torque)
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0).clamp_min(1e-6))
        mean = targets.nanmean(0)
        self.target_mean.copy_(mean)
        self.target_std.copy_(((targets - mean) ** 2).nanmean(0).sqrt().clamp_min(1e-8))

    @torch.no_grad()
    def renormalise(self, x: Tensor, u: Tensor, x_next: Tensor, torque: Tensor) -> None:
        """Take the normalisers of other data and change the first and the last layer so that the mean it predicts stays the same."""
        mean, std = self.feature_mean.clone(), self.feature_std.clone()
        target_mean, target_std = self.target_mean.clone(), self.target_std.clone()
        self.set_normalisers(x, u, x_next, torque)
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

    def targets(self, x: Tensor, x_next: Tensor, torque: Tensor) -> Tensor:
        """(..., 3 n): change of the tracking error (2 n), and the torque (n) at the end of the step beyond the law's.

        NaN where the torque is at its limit: what the law asked for then cannot be read off it.
        """
        after = self._error(x_next)
        beyond = torch.where(torque.abs() < SATURATED * self.law[2], torque - asked_torque(self.law, after), torch.nan)
        return torch.cat([after - self._error(x), beyond], -1)

    def _error(self, x: Tensor) -> Tensor:
        q, dq, q_ref, dq_ref = x.split(self.n, -1)
        return torch.cat([q - q_ref, dq - dq_ref], -1)

    def normalised(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Raw features (E, B, 6 n) -> mean and log-variance (E, B, 3 n) of the normalised targets."""
        h = (features - self.feature_mean) / self.feature_std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = nn.functional.silu(h @ weight + bias)
        mean, log_var = (h @ self.weights[-1] + self.biases[-1]).split(self.n_targets, -1)
        log_var = self.max_log_var - nn.functional.softplus(self.max_log_var - log_var)
        log_var = self.min_log_var + nn.functional.softplus(log_var - self.min_log_var)
        return mean, log_var

    def members(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Each member's own state (E, B, nx) and u (E, B, nu) -> next state and its std, both (E, B, nx), and the torque (E, B, n) that is asked for then."""
        mean, log_var = self.normalised(self.features(x, u))
        change, beyond = (mean * self.target_std + self.target_mean).split([2 * self.n, self.n], -1)
        std = (torch.exp(0.5 * log_var) * self.target_std)[..., : 2 * self.n]
        q, dq, q_ref, dq_ref = x.split(self.n, -1)
        q_ref_next = q_ref + 0.5 * self.dt * (dq_ref + u)
        error = torch.cat([q - q_ref, dq - dq_ref], -1) + change
        reference = torch.cat([q_ref_next, u], -1)
        return torch.cat([error + reference, reference], -1), torch.cat([std, torch.zeros_like(std)], -1), asked_torque(self.law, error) + beyond

    def forward(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, nx), u (B, nu) -> mean and std (B, nx) of the next state, torque (B, n) asked for then; std joins noise and disagreement."""
        e = self.config.members
        mean, std, torque = self.members(x.unsqueeze(0).expand(e, -1, -1), u.unsqueeze(0).expand(e, -1, -1))
        centre = mean.mean(0)
        variance = (std * std).mean(0) + ((mean - centre) ** 2).mean(0)
        return centre, torch.sqrt(variance), torque.mean(0)


def asked_torque(law: Tensor, error: Tensor) -> Tensor:
    """Torque (..., n) that the impedance law (3, n), or (3, ..., n), asks for at a tracking error (..., 2 n)."""
    z, dz = error.split(law.shape[-1], -1)
    torque: Tensor = -law[0] * z - law[1] * dz
    return torque


def _uniform(e: int, rows: int, columns: int) -> nn.Parameter:
    return nn.Parameter((2 * torch.rand(e, rows, columns) - 1) / math.sqrt(rows))
