"""The row that plans over a learned model: an ensemble of one-step dynamics (PETS, Chua et al. 2018) under MPPI of pytorch_mppi.

Its data are as many steps as a TDM gets, its gradient steps, batch and exploration before the first fit are the TDM's. The members
predict the change of the state; MPPI rolls out their mean, as this project's own planner does, with the distance to the goal after each step
as cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taustack.models.tdm.networks import Layers
from taustack.models.tdm.replay import Replay
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.task import GoalTask
from taustack.models.tdm.train import Curve, Schedule, final_distances
from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]
MEMBERS, HIDDEN = 5, (128, 128)
SAMPLES, SPREAD = 200, 0.5  # of MPPI's noise, a share of each action's limit
TEMPERATURE = 0.1  # in distances to the goal, each told in the deviation of its entry, summed over the horizon


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Means and deviations that the members see and predict by."""

    mean: Tensor
    std: Tensor
    change: Tensor


class Ensemble(nn.Module):
    """Members' networks: state and action to the change of the state."""

    def __init__(self, layout: TDMLayout, config: TDMConfig) -> None:
        super().__init__()
        ns, _, na = layout.sizes
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.net = Layers(MEMBERS, (ns + na, *HIDDEN, ns))
        self.limit = torch.tensor(layout.action_limit, dtype=torch.float32)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=config.critic_rate, fused=True)

    def fit_scale(self, s: NDArray[np.float32], s_next: NDArray[np.float32]) -> None:
        """Set what the members divide by, from transitions (N, ns)."""
        now, after = torch.from_numpy(s), torch.from_numpy(s_next)
        self.scale = Scale(mean=now.mean(0), std=now.std(0).clamp_min(1e-3), change=(after - now).std(0).clamp_min(1e-6))

    def changes(self, s: Tensor, a: Tensor) -> Tensor:
        """(MEMBERS, B, ns), each as a share of the deviation that changes have."""
        seen = torch.cat([(s - self.scale.mean) / self.scale.std, a / self.limit], -1)
        found: Tensor = self.net(seen.expand(MEMBERS, *seen.shape[-2:]))
        return found

    def update(self, s: Tensor, a: Tensor, s_next: Tensor) -> None:
        """One gradient step; every member has a batch of its own: s (MEMBERS, B, ns)."""
        loss = (self.changes(s, a) - (s_next - s) / self.scale.change).square().mean((1, 2)).sum()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()

    @torch.no_grad()
    def step(self, s: Tensor, a: Tensor) -> Tensor:
        """Mean of the members' next states (B, ns)."""
        return s + self.changes(s, a).mean(0) * self.scale.change


class Planner:
    """act(s, g, tau) by MPPI over the ensemble; a new goal forgets the old plan."""

    def __init__(self, ensemble: Ensemble, task: GoalTask, seed: int) -> None:
        from pytorch_mppi import MPPI

        self._index, self._seed, self._goal = list(task.layout.goal_index), seed, np.empty(0)
        limit = ensemble.limit
        self._mppi = MPPI(
            ensemble.step, self._cost, task.layout.sizes[0], torch.diag((SPREAD * limit) ** 2), num_samples=SAMPLES, horizon=task.layout.tau_max,
            lambda_=TEMPERATURE, u_min=-limit, u_max=limit,
        )  # fmt: skip
        self._ensemble = ensemble

    def _cost(self, s: Tensor, _: Tensor) -> Tensor:
        way = s[..., self._index] - torch.tensor(self._goal, dtype=torch.float32)
        distance: Tensor = torch.linalg.vector_norm(way / self._ensemble.scale.std[self._index], dim=-1)
        return distance

    def act(self, s: FloatArray, g: FloatArray, _: int) -> FloatArray:
        """The first action (na,) of the plan from s (ns,) to g (ng,)."""
        with torch.random.fork_rng():
            torch.manual_seed(self._seed)
            self._seed += 1
            if not np.array_equal(g, self._goal):
                self._goal = g.copy()
                self._mppi.reset()
            action = self._mppi.command(torch.tensor(s, dtype=torch.float32))
        return np.asarray(action.double().numpy())


def ensemble_and_mppi(task: GoalTask, looked: GoalTask, schedule: Schedule, seed: int) -> Curve:
    """Walk on `task`, random first and then by the planner, learn from all steps; `looked` is the task that evaluations move."""
    torch.set_num_threads(1)
    config, rng = TDMConfig(seed=seed), np.random.default_rng(seed)
    ensemble, replay = Ensemble(task.layout, config), Replay(task.layout, schedule.steps // task.steps + 1, task.steps)
    explore, curve, began = explorer(task.layout, rng), Curve(), time.monotonic()
    walking = Planner(ensemble, task, seed)
    for step in range(1, schedule.steps + 1):
        t = (step - 1) % task.steps
        if t == 0:
            s, g = task.reset(rng)
            replay.begin(s, g)
        a = explore(t) if step <= config.warmup_steps else walking.act(s, g, 0)
        s = task.step(a)
        replay.add(a, s, 0)
        if step == config.warmup_steps:
            ensemble.fit_scale(*replay.transitions())
        if step >= config.warmup_steps:
            for _ in range(config.updates_per_step):
                ensemble.update(*batches(replay, config, rng))
        if step % schedule.evaluate_every == 0 and step >= config.warmup_steps:
            found = final_distances(Planner(ensemble, task, seed).act, looked, schedule.episodes, seed)
            curve.steps.append(step)
            curve.distance.append(float(found.mean()))
            curve.worst.append(float(found.max()))
            curve.seconds.append(time.monotonic() - began)
    return curve


def explorer(layout: TDMLayout, rng: np.random.Generator) -> Callable[[int], FloatArray]:
    """Random actions, each held for five steps, as a TDM's warm-up has them."""
    limit, held = np.array(layout.action_limit), np.zeros(len(layout.action_limit))

    def act(t: int) -> FloatArray:
        if t % 5 == 0:
            held[:] = rng.uniform(-limit, limit)
        return held.copy()

    return act


def batches(replay: Replay, config: TDMConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """s, a, s_next of a batch for each member, (MEMBERS, batch, size)."""
    drawn = replay.sample(MEMBERS * config.batch, None, rng)
    s, a, s_next = (torch.from_numpy(v).unflatten(0, (MEMBERS, config.batch)) for v in (drawn.s, drawn.a, drawn.s_next))
    return s, a, s_next
