"""How a temporal difference model is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Learner = Literal["td3", "ddpg"]
Unit = Literal["reach", "spread"]


@dataclass(frozen=True, kw_only=True)
class Relabel:
    """Shares of the goals that a transition is relabelled with; what is left keeps the goal that was pursued."""

    future: float = 0.75
    """A state later on the same path."""
    buffer: float = 0.15
    """A state of any path."""


WITHOUT_HINDSIGHT = Relabel(future=0.0, buffer=0.9)
"""For quantiles: a goal that was reached later on the same path knows what the noise of its steps was, and the spread would come out too small."""

HELD_FOR_QUANTILES = 0.6
"""Share of a training with quantiles in which the policy stays (decision 30)."""


@dataclass(frozen=True, kw_only=True)
class TDMConfig:
    """Training of a TDM. Defaults are those of the reach of an arm; ALGORITHMS of the paper's tasks differ in tau_max and updates a step."""

    hidden: tuple[int, ...] = (300, 300)
    learner: Learner = "td3"
    quantiles: tuple[float, ...] = ()
    """Of the state reached, for each goal entry; none: one value, for dynamics without noise."""
    residual: bool = True
    """f = phi(s) + Delta; without it f is what the network says, about twice the error."""
    unit: Unit = "reach"
    """What losses tell distances in: how far a goal goes in tau + 1 steps, or its spread over the data, the same for all tau."""
    relabel: Relabel | None = field(default_factory=Relabel)
    """None: a transition is learned with the goal and tau that it was made with."""
    batch: int = 128
    updates_per_step: int = 10
    warmup_steps: int = 500
    """Random actions; then the normalisers are set."""
    critic_rate: float = 1e-3
    actor_rate: float = 1e-4
    final_rates: float = 1.0
    """Share of both that is left at the end; on the way they fall by the same factor in each step."""
    held: float = 0.0
    """Share of the steps, the last ones, in which the policy stays as it is and f alone is learned: it lags behind a policy that moves."""
    polyak: float = 0.005
    saturation_penalty: float = 1e-3
    """On the square of the policy's outputs before tanh."""
    noise_theta: float = 0.1
    noise_sigma: float = 0.2
    """Ornstein-Uhlenbeck exploration, as shares of the action's limit."""
    seed: int = 0
