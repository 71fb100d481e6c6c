"""Ensemble of a walk's dynamics, all members in one batched module, trained by what they predict several steps ahead.

A network predicts how the vertical, the base's velocities and the joints change over a step of 1 / plan_hz; the gait's clock and strides follow
from the action exactly and are computed (Yang et al. 2019, multi-step loss; Chua et al. 2018, ensembles).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from taustack.legged import LeggedConfig
from taustack.legged_layout import NU, learned_size, state_size
from taustack.models.ensemble import EnsembleConfig


@dataclass(frozen=True, kw_only=True)
class GaitClock:
    """What of a gait follows from the action alone: most (nu,) of an action, its change in a step (nu,), and the clock's turn in a step [rad]."""

    most: tuple[float, ...]
    change: tuple[float, ...]
    turn: float

    @classmethod
    def of(cls, robot: LeggedConfig) -> GaitClock:
        """As robot.yaml has it."""
        gait, dt = robot.gait, 1.0 / robot.rates.plan_hz
        return cls(
            most=(*gait.velocity, gait.landing, gait.landing), turn=2 * math.pi * gait.frequency * dt,
            change=tuple(dt * rate for rate in (*gait.acceleration, gait.landing_rate, gait.landing_rate)),
        )  # fmt: skip


class WalkEnsemble(nn.Module):
    """E members f_e(x, u) of a robot with n joints; see taustack.legged_layout for x and u.

    Args:
        n: joints.
        dt: step [s].
        clock: of the gait.
        config: shape of the ensemble.
    """

    def __init__(self, n: int, dt: float, clock: GaitClock, config: EnsembleConfig | None = None) -> None:
        super().__init__()
        self.config, self.n, self.dt, self.clock = config or EnsembleConfig(), n, dt, clock
        self.n_learned, self.n_features = learned_size(n), state_size(n) + NU
        sizes = [self.n_features, *[self.config.width] * self.config.layers, self.n_learned]
        e = self.config.members
        self.weights = nn.ParameterList([nn.Parameter((2 * torch.rand(e, i, o) - 1) / math.sqrt(i)) for i, o in itertools.pairwise(sizes)])
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(e, 1, o)) for o in sizes[1:]])
        for name, value in {
            "feature_mean": torch.zeros(self.n_features), "feature_std": torch.ones(self.n_features),
            "target_mean": torch.zeros(self.n_learned), "target_std": torch.ones(self.n_learned),
            "most": torch.tensor(clock.most), "change": torch.tensor(clock.change),
        }.items():  # fmt: skip
            self.register_buffer(name, value)
        self.feature_mean: Tensor
        self.feature_std: Tensor
        self.target_mean: Tensor
        self.target_std: Tensor
        self.most: Tensor
        self.change: Tensor

    @torch.no_grad()
    def set_normalisers(self, x: Tensor, u: Tensor, x_next: Tensor) -> None:
        """Take mean and std of features and targets from transitions x (B, nx), u (B, nu), x_next (B, nx)."""
        features, targets = self.features(x, self.strides(x, u)), (x_next - x)[..., : self.n_learned]
        self.feature_mean.copy_(features.mean(0))
        self.feature_std.copy_(features.std(0).clamp_min(1e-4))
        self.target_mean.copy_(targets.mean(0))
        self.target_std.copy_(targets.std(0).clamp_min(1e-6))

    def strides(self, x: Tensor, u: Tensor) -> Tensor:
        """What the gait follows after a step (..., nu): the action, as fast as strides may change."""
        before = x[..., self.n_learned : self.n_learned + NU]
        u = torch.minimum(torch.maximum(u, -self.most), self.most)
        return before + torch.minimum(torch.maximum(u - before, -self.change), self.change)

    def features(self, x: Tensor, strides: Tensor) -> Tensor:
        """(..., n_features): state, and the strides after the step."""
        return torch.cat([x, strides], -1)

    def changes(self, features: Tensor) -> Tensor:
        """Raw features (E, B, n_features) -> what each member says that changes (E, B, n_learned), normalised."""
        h = (features - self.feature_mean) / self.feature_std
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = nn.functional.silu(h @ weight + bias)
        changes: Tensor = h @ self.weights[-1] + self.biases[-1]
        return changes

    def members(self, x: Tensor, u: Tensor) -> Tensor:
        """Each member's own states (E, B, nx) and actions (E, B, nu) -> its next states (E, B, nx)."""
        strides = self.strides(x, u)
        change = self.changes(self.features(x, strides)) * self.target_std + self.target_mean
        sin, cos = x[..., -2:].split(1, -1)
        c, s = math.cos(self.clock.turn), math.sin(self.clock.turn)
        return torch.cat([x[..., : self.n_learned] + change, strides, c * sin + s * cos, c * cos - s * sin], -1)

    def forward(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, nx), u (B, nu) -> mean and std (B, nx) over the members of the next state."""
        e = self.config.members
        each = self.members(x.unsqueeze(0).expand(e, -1, -1), u.unsqueeze(0).expand(e, -1, -1))
        mean = each.mean(0)
        return mean, torch.sqrt(((each - mean) ** 2).mean(0))

    def roll(self, x: Tensor, u: Tensor) -> Tensor:
        """Each member's own rollout from x (E, B, nx) under u (E, B, H, nu): (E, B, H, nx)."""
        out = []
        for t in range(u.shape[2]):
            x = self.members(x, u[:, :, t])
            out.append(x)
        return torch.stack(out, 2)


def as_tensor(values: np.ndarray) -> Tensor:
    """Single precision."""
    return torch.tensor(values, dtype=torch.float32)
