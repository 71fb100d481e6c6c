"""The networks of a TDM: f(s, a, g, tau), the goal-space state reached, and the policy pi(s, g, tau).

f is in metres and radians, whatever the losses are scaled by: the planner uses it as a model over many steps. With
Q(s, a, g, tau) = -|g - f(s, a, g, tau)| per goal entry (Pong et al. 2018, section 4.2 and appendix), weights and reward scales
belong outside the absolute value, never into f.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from taustack.kinematics import KinematicChain
from taustack.models.tdm.spec import TDMConfig
from taustack.tdm_layout import FreeMotion, TDMLayout

ATOMS = 20
"""Levels that a distribution is learned at, evenly spaced: bootstrapped from the few that are asked for alone it would shrink."""
LAST_LAYER = 3e-3  # the networks begin near zero: f = phi(s), no action


class Normaliser(nn.Module):
    """What the networks see of s, g, tau: the state and the way to the goal, each about one, and tau as a share."""

    state_mean: Tensor
    state_std: Tensor
    goal_std: Tensor
    step: Tensor

    def __init__(self, layout: TDMLayout) -> None:
        super().__init__()
        ns, ng, _ = layout.sizes
        self.tau_max = layout.tau_max
        self.goal_index = list(layout.goal_index)
        self.register_buffer("state_mean", torch.zeros(ns))
        self.register_buffer("state_std", torch.ones(ns))
        self.register_buffer("goal_std", torch.ones(ng))
        self.register_buffer("step", torch.ones(ng))
        self.size = ns + 2 * ng + 2

    def fit(self, s: Tensor, s_next: Tensor) -> None:
        """Set from transitions: mean and deviation of states (B, ns), and how far phi goes in one step."""
        moved = (s_next - s)[:, self.goal_index].abs()
        self.state_mean.copy_(s.mean(0))
        self.state_std.copy_(s.std(0).clamp_min(1e-3))
        self.goal_std.copy_(self.state_std[self.goal_index])
        self.step.copy_(torch.quantile(moved, 0.95, dim=0).clamp_min(1e-6))

    def phi(self, s: Tensor) -> Tensor:
        """Goal-space part of a state, (..., ng)."""
        return s[..., self.goal_index]

    def forward(self, s: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """Features (B, size) of s (B, ns), g (B, ng), tau (B,) in steps."""
        way = g - self.phi(s)
        left = (tau + 1.0).unsqueeze(-1)
        return torch.cat(
            [(s - self.state_mean) / self.state_std, way / self.goal_std, torch.tanh(way / self.reach(tau)), left / (self.tau_max + 1), 1 / left], -1
        )

    def reach(self, tau: Tensor) -> Tensor:
        """How far each goal entry goes in tau + 1 steps (B, ng): what the networks tell ways in, and losses distances."""
        return self.step * (tau + 1.0).unsqueeze(-1)


class Layers(nn.Module):
    """`count` networks side by side in one batched product: (count, B, in) -> (count, B, out), ReLU between."""

    def __init__(self, count: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        last = len(sizes) - 2
        for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            bound = LAST_LAYER if i == last else 1 / math.sqrt(inputs)
            self.weights.append(nn.Parameter(torch.empty(count, inputs, outputs).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(count, 1, outputs).uniform_(-bound, bound)))

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, x, weight)
            if i < last:
                x = torch.relu(x)
        return x


class Free(nn.Module):
    """Where joints come that are moved by their actions alone: nearest to wanted positions within the limits of velocity and acceleration, exactly.

    What f begins from where the layout has a `free_motion`; the network learns what the robot does otherwise.
    """

    velocity: Tensor
    acceleration: Tensor

    def __init__(self, layout: TDMLayout, free: FreeMotion) -> None:
        super().__init__()
        self.dt = layout.dt
        self.position_index = [layout.state.index(name) for name in free.position or layout.goal]
        self.velocity_index = [layout.state.index(name) for name in free.velocity]
        self.register_buffer("velocity", torch.tensor(layout.action_limit, dtype=torch.float32))
        self.register_buffer("acceleration", torch.tensor(free.acceleration, dtype=torch.float32))

    def forward(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """Positions (B, na) of s (B, ns), a (B, na), wanted g (B, na), tau (B,)."""
        v, bound = s[:, self.velocity_index], self.acceleration * self.dt
        after = torch.minimum(torch.maximum(a, v - bound), v + bound)
        p = s[:, self.position_index] + 0.5 * self.dt * (v + after)
        seconds = (self.dt * tau)[:, None]
        return p + torch.minimum(torch.maximum(g - p, -self._furthest(-after, seconds)), self._furthest(after, seconds))

    def towards(self, s: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """The action (B, na) that comes to g (B, na) after tau + 1 steps at one velocity, or as near to that velocity as the joint can."""
        v, bound = s[:, self.velocity_index], self.acceleration * self.dt
        way = g - s[:, self.position_index] - 0.5 * self.dt * v
        wanted = way / (self.dt * (tau + 0.5))[:, None]
        wanted = torch.minimum(torch.maximum(wanted, v - bound), v + bound)
        return torch.minimum(torch.maximum(wanted, -self.velocity), self.velocity)

    def _furthest(self, v: Tensor, seconds: Tensor) -> Tensor:
        """Way (B, na) that is made in so many seconds (B, 1) from velocities v: faster and faster, then at the limit."""
        speeding = torch.minimum(((self.velocity - v) / self.acceleration).clamp_min(0.0), seconds)
        return v * speeding + 0.5 * self.acceleration * speeding**2 + self.velocity * (seconds - speeding)


class Reach(nn.Module):
    """f: the goal-space state reached after tau + 1 steps, the first of them with action a, when g is wanted.

    `twins` networks side by side. With quantiles the network has ATOMS values of each goal entry, and what is asked for lies between them.
    """

    limit: Tensor
    asked: Tensor

    def __init__(self, layout: TDMLayout, config: TDMConfig, normaliser: Normaliser) -> None:
        super().__init__()
        _, self.ng, na = layout.sizes
        self.twins = 2 if config.learner == "td3" else 1
        self.atoms_count = ATOMS if config.quantiles else 1
        self.register_buffer("asked", between_atoms(config.quantiles) if config.quantiles else torch.ones(1, 1))
        self.residual = config.residual
        self.normaliser = normaliser
        self.free = Free(layout, layout.free_motion) if layout.free_motion is not None else None
        self.tip = tip_of(layout)
        self.register_buffer("limit", torch.tensor(layout.action_limit, dtype=torch.float32))
        self.net = Layers(self.twins, (normaliser.size + na, *config.hidden, self.ng * self.atoms_count))

    def forward(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor, wanted: Tensor) -> Tensor:
        """(twins, B, quantiles, ng) in physical units, of s (B, ns), a (B, na), g (B, ng), tau (B,); wanted: see `Policy.wanted`."""
        atoms = self.atoms(s, a, g, tau, wanted)
        return atoms if self.atoms_count == 1 else self.asked @ atoms

    def atoms(self, s: Tensor, a: Tensor, g: Tensor, tau: Tensor, wanted: Tensor) -> Tensor:
        """(twins, B, ATOMS, ng), or one value in their place; otherwise as `forward`."""
        features = torch.cat([self.normaliser(s, g, tau), a / self.limit], -1)
        raw: Tensor = self.net(features.expand(self.twins, -1, -1)).unflatten(-1, (self.atoms_count, self.ng))
        if not self.residual:
            anywhere: Tensor = raw * self.normaliser.goal_std + self.normaliser.phi(self.normaliser.state_mean)
            return anywhere
        near: Tensor = self.known(s, a, tau, wanted)[:, None] + raw * self.normaliser.reach(tau)[:, None]
        return near

    def known(self, s: Tensor, a: Tensor, tau: Tensor, wanted: Tensor) -> Tensor:
        """What the network's answer is added to (B, ng): phi(s), or where free motion comes."""
        if self.free is None:
            return self.normaliser.phi(s)
        joints: Tensor = self.free(s, a, wanted, tau)
        if self.tip is None:
            return joints
        place: Tensor = self.tip.position(joints, torch)
        return place


def tip_of(layout: TDMLayout) -> KinematicChain | None:
    """What a goal is the place of, if the layout says how joints carry it."""
    motion = layout.free_motion
    return motion.tip.chain if motion is not None and motion.tip is not None else None


def atom_levels() -> Tensor:
    """Levels (ATOMS,) of the atoms: each stands for as much of the distribution."""
    return (torch.arange(ATOMS) + 0.5) / ATOMS


def between_atoms(levels: Sequence[float]) -> Tensor:
    """Weights (len(levels), ATOMS) of the atoms' values for those at other levels: linear between the nearest two, the last two's line beyond."""
    at = torch.tensor(levels, dtype=torch.float32) * ATOMS - 0.5
    low = at.floor().clamp(0, ATOMS - 2).long()
    weights = torch.zeros(len(levels), ATOMS)
    rows, share = torch.arange(len(levels)), at - low
    weights[rows, low], weights[rows, low + 1] = 1 - share, share
    return weights


def first_twin(reach: Reach) -> Reach:
    """The first of the twins alone: half the work where one is enough."""
    alone = copy.deepcopy(reach)
    alone.twins = 1
    for parameters in (alone.net.weights, alone.net.biases):
        for i, parameter in enumerate(parameters):
            parameters[i] = nn.Parameter(parameter[:1].detach().clone())
    return alone


class Policy(nn.Module):
    """pi: the action that leads nearest to g in tau + 1 steps. Where the layout has a `free_motion`, it begins from what is best in that.

    Where goals are places of what joints carry, the network says which joint positions are wanted for a place: as ways from where the joints are, each told
    as a share of what the joint goes in tau + 1 steps at its limit, so that what is near is told finely.
    """

    limit: Tensor

    def __init__(self, layout: TDMLayout, config: TDMConfig, normaliser: Normaliser) -> None:
        super().__init__()
        self.normaliser = normaliser
        self.register_buffer("limit", torch.tensor(layout.action_limit, dtype=torch.float32))
        self.free = Free(layout, layout.free_motion) if layout.free_motion is not None else None
        self.places = tip_of(layout) is not None
        self.net = Layers(1, (normaliser.size, *config.hidden, len(layout.action)))

    def before_tanh(self, s: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """(B, na)."""
        raw: Tensor = self.net(self.normaliser(s, g, tau)[None])[0]
        return raw

    def forward(self, s: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """Action (B, na) in physical units."""
        return self.decide(s, g, tau)[0]

    def decide(self, s: Tensor, g: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        """Action (B, na), and what is wanted."""
        return self.choose(self.before_tanh(s, g, tau), s, g, tau)

    def wanted(self, s: Tensor, g: Tensor, tau: Tensor) -> Tensor:
        """What free motion is on its way to: the goal itself, or the joint positions (B, na) that are to carry something there."""
        return self.decide(s, g, tau)[1] if self.places else g

    def choose(self, raw: Tensor, s: Tensor, g: Tensor, tau: Tensor) -> tuple[Tensor, Tensor]:
        """Action (B, na) and what is wanted, of what the network says before tanh (B, na)."""
        own = torch.tanh(raw)
        if self.free is None:
            return own * self.limit, g
        if self.places:
            wanted = s[:, self.free.position_index] + own * self.limit * (self.free.dt * (tau + 1.0))[:, None]
            return self.free.towards(s, wanted, tau), wanted
        action = self.free.towards(s, g, tau) + own * self.limit
        return torch.minimum(torch.maximum(action, -self.limit), self.limit), g
