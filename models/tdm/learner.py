"""One update of a TDM: the critic towards what the next step says, the policy to where f comes nearest to the goal.

Target of the paper (its equation 4): the distance |phi(s') - g| where tau = 0, else that of the target networks at s' with
tau - 1. No discount, no reward of the environment, no terminal. With twins the larger of the two distances is taken (TD3,
Fujimoto et al. 2018). With quantiles f itself is bootstrapped: the state reached with tau steps left is distributed as that
reached from s' with tau - 1 (quantile regression, Dabney et al. 2018).

Losses tell distances in how far goals go in tau + 1 steps (`unit: reach`): by one scale for all tau, the last steps before a goal,
where a centimetre matters, weigh a sixteenth of the first.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from taustack.models.tdm.networks import Normaliser, Policy, Reach, atom_levels
from taustack.models.tdm.replay import Batch
from taustack.models.tdm.spec import TDMConfig
from taustack.tdm_layout import TDMLayout

SMOOTHING, SMOOTHING_BOUND = 0.1, 0.25  # TD3's noise on the target's action, as shares of the limit


class TDMLearner(nn.Module):
    """Networks, their targets and optimisers.

    Args:
        layout: of states, goals and actions.
        config: of the training; its seed is that of the networks' first weights.
    """

    levels: Tensor

    def __init__(self, layout: TDMLayout, config: TDMConfig) -> None:
        super().__init__()
        self.layout, self.config = layout, config
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.normaliser = Normaliser(layout)
            self.reach, self.policy = Reach(layout, config, self.normaliser), Policy(layout, config, self.normaliser)
        shared = {id(self.normaliser): self.normaliser}  # one for all: targets differ in their weights alone
        self.target_reach, self.target_policy = copy.deepcopy(self.reach, dict(shared)), copy.deepcopy(self.policy, dict(shared))
        self.noise = torch.Generator().manual_seed(config.seed)
        self.critic_optimiser = torch.optim.Adam(self.reach.parameters(), lr=config.critic_rate, fused=True)
        self.actor_optimiser = torch.optim.Adam(self.policy.parameters(), lr=config.actor_rate, fused=True)
        self.register_buffer("levels", atom_levels())

    def set_rates(self, share: float) -> None:
        """Let both optimisers learn at this share of their rates."""
        for optimiser, rate in ((self.critic_optimiser, self.config.critic_rate), (self.actor_optimiser, self.config.actor_rate)):
            for group in optimiser.param_groups:
                group["lr"] = share * rate

    def fit_normaliser(self, s: NDArray[np.float32], s_next: NDArray[np.float32]) -> None:
        """Set what the networks and their targets divide by."""
        self.normaliser.fit(torch.from_numpy(s), torch.from_numpy(s_next))

    @torch.no_grad()
    def act(self, s: NDArray[np.float64], g: NDArray[np.float64], tau: int) -> NDArray[np.float64]:
        """The policy's action (na,) at s (ns,) for g (ng,) with tau steps left after it."""
        batch = (torch.tensor(v, dtype=torch.float32)[None] for v in (s, g))
        return self.policy(*batch, torch.tensor([float(tau)]))[0].double().numpy()  # type: ignore[no-any-return]

    def f(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """The goal-space state reached under the policy (twins, B, quantiles, ng): see `Reach`."""
        found: Tensor = self.reach(s, a, g, tau, self.policy.wanted(s, g, tau))
        return found

    def learn(self, batch: Batch, done: float) -> float:
        """One step when a share `done` of the training is behind it, more than 0: at rates that fall, and in the held share of it of the critic alone,
        at rates that fall anew. The critic's loss."""
        moving = 1.0 - self.config.held
        if done > moving:
            self.set_rates(self.config.final_rates ** ((done - moving) / self.config.held))
            return self.evaluate(batch)
        self.set_rates(self.config.final_rates ** (done / moving))
        return self.update(batch)[0]

    def update(self, batch: Batch) -> tuple[float, float]:
        """One step of critic and policy; their losses."""
        s, a, s_next, g, tau = _tensors(batch)
        critic_loss = self._describe(s, a, s_next, g, tau)
        actor_loss = self._improve(s, g, tau)
        self._follow()
        return critic_loss, actor_loss

    def evaluate(self, batch: Batch) -> float:
        """One step of the critic alone, towards what the policy does as it is; the critic's loss."""
        critic_loss = self._describe(*_tensors(batch))
        self._follow()
        return critic_loss

    def _describe(self, s: Tensor, a: Tensor, s_next: Tensor, g: Tensor, tau: Tensor) -> float:
        """One step of the critic; its loss."""
        with torch.no_grad():
            wanted = self.policy.wanted(s, g, tau)
        found = self.reach.atoms(s, a, g, tau, wanted)
        if self.config.quantiles:
            loss = self._quantile_loss(found, self._next_states(s_next, g, tau))
        else:
            unit, distance = self._unit(tau), (g - found[:, :, 0]).abs()
            loss = huber_loss(distance / unit, (self._next_distance(s_next, g, tau) / unit).expand_as(distance), reduction="sum") / len(g)
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.critic_optimiser.step()
        return float(loss.detach())

    def _next(self, s_next: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """What the targets say of s_next: f' (twins, B, atoms, ng).

        The action of quantiles is not smoothed: f would be the distribution of a robot whose actions are.
        """
        left = (tau - 1.0).clamp_min(0.0)
        a, wanted = self.target_policy.decide(s_next, g, left)
        if self.config.learner == "td3" and not self.config.quantiles:
            noise = torch.randn(a.shape, generator=self.noise) * SMOOTHING
            limit = self.target_policy.limit
            a = (a + noise.clamp(-SMOOTHING_BOUND, SMOOTHING_BOUND) * limit).clamp(-limit, limit)
        return self.target_reach.atoms(s_next, a, g, left, wanted)

    @torch.no_grad()
    def _next_distance(self, s_next: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """Target distance (B, ng)."""
        later = (g - self._next(s_next, g, tau)[:, :, 0]).abs().amax(0)
        return torch.where(tau[:, None] == 0, (self.normaliser.phi(s_next) - g).abs(), later)

    @torch.no_grad()
    def _next_states(self, s_next: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """Samples (twins, B, atoms, ng) of the state reached, each twin after itself."""
        now = self.normaliser.phi(s_next)[None, :, None]
        return torch.where(tau[None, :, None, None] == 0, now, self._next(s_next, g, tau))

    def _quantile_loss(self, found: Tensor, samples: Tensor) -> Tensor:
        """Quantile loss of all pairs of predicted quantiles and samples.

        Not the Huber form of Dabney et al.: where it is quadratic it learns expectiles, and it would be so for all the noise of short tau.
        """
        gap = (samples[:, :, None] - found[:, :, :, None]) / self.normaliser.goal_std
        levels = self.levels[None, None, :, None, None]
        loss = torch.maximum(levels * gap, (levels - 1.0) * gap)
        return loss.mean(3).sum((0, 2, 3)).mean()

    def _improve(self, s: Tensor, g: Tensor, tau: Tensor) -> float:
        """The policy towards less distance by the first twin."""
        raw = self.policy.before_tanh(s, g, tau)
        action, wanted = self.policy.choose(raw, s, g, tau)
        self.reach.requires_grad_(False)
        f = self._led_by(s, action, g, tau, wanted)
        self.reach.requires_grad_(True)
        distance = (g[:, None] - f).abs().mean(1) / self._unit(tau)
        loss = distance.sum(-1).mean() + self.config.saturation_penalty * raw.square().sum(-1).mean()
        self.actor_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.actor_optimiser.step()
        return float(loss.detach())

    def _unit(self, tau: Tensor) -> Tensor:
        """What losses divide distances by: (B, ng) or (ng,)."""
        return self.normaliser.reach(tau) if self.config.unit == "reach" else self.normaliser.goal_std

    def _led_by(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor, wanted: Tensor) -> Tensor:
        """f (B, quantiles or 1, ng) as the policy is to see it: all of it, or where joints carry the goal, what is known of it.

        What is learned on top is then an account of what comes of the policy. To lead it as well does harm: with many steps left no single
        action matters, for later ones make up for it, and what slope the network has there is noise.
        """
        if self.policy.places:
            return self.reach.known(s, a, tau, wanted)[:, None]
        return self.reach(s, a, g, tau, wanted)[0]  # type: ignore[no-any-return]

    @torch.no_grad()
    def _follow(self) -> None:
        """The targets a little nearer to the networks (Polyak averaging)."""
        ours: list[Tensor] = [*self.reach.parameters(), *self.policy.parameters()]
        theirs: list[Tensor] = [*self.target_reach.parameters(), *self.target_policy.parameters()]
        torch._foreach_lerp_(theirs, ours, self.config.polyak)


def _tensors(batch: Batch) -> tuple[Tensor, ...]:
    """s, a, s_next, g, tau."""
    return tuple(torch.from_numpy(v) for v in (batch.s, batch.a, batch.s_next, batch.g, batch.tau))
