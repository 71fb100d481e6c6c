"""Train a walk's ensemble on runs: what it predicts 1, then 4, then 8 steps ahead; hold-out by run, best snapshot of each member."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taustack.errors import BadInput
from taustack.models.ensemble import EnsembleConfig
from taustack.models.walk_dataset import WalkRun
from taustack.models.walk_dynamics import GaitClock, WalkEnsemble, as_tensor

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WalkTrainConfig:
    """Training: `stages` are steps ahead that the loss looks at, each for its share of the updates."""

    ensemble: EnsembleConfig = field(default_factory=lambda: EnsembleConfig(members=4, width=200))
    updates: int = 3000
    batch: int = 256
    stages: tuple[tuple[int, float], ...] = ((1, 0.3), (4, 0.3), (8, 0.4))
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5
    weight_decay: float = 1e-4
    evaluate_every: int = 250
    seed: int = 0


@dataclass
class WalkHistory:
    """Learning curve: update, training loss, error of the hold-out (mean over members)."""

    update: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    holdout: list[float] = field(default_factory=list)


def split_walks(runs: list[WalkRun], share: float) -> tuple[list[WalkRun], list[WalkRun]]:
    """Training and held-out runs (the last ones, at least one, until their steps are that share).

    Raises:
        BadInput: fewer than two runs.
    """
    if len(runs) < 2:
        raise BadInput("dataset", "runs", f"{len(runs)} run(s)", "at least 2, so that one can be held out")
    wanted, held = share * sum(len(run.u) for run in runs), 0
    for count in range(1, len(runs)):
        held += len(runs[-count].u)
        if held >= wanted:
            break
    return runs[:-count], runs[-count:]


def train_walk(
    train: list[WalkRun], held: list[WalkRun], n: int, dt: float, clock: GaitClock, config: WalkTrainConfig,
    on_update: Callable[[int, WalkHistory], object] = lambda *_: None, start: WalkEnsemble | None = None,
) -> tuple[WalkEnsemble, WalkHistory]:  # fmt: skip
    """Train on runs, look at held-out ones; deterministic by seed.

    Args:
        start: an ensemble to go on from, with its normalisers; from scratch without it.

    Returns:
        The ensemble with each member's best snapshot on the hold-out, and the learning curve.
    """
    torch.manual_seed(config.seed)
    ahead = max(steps for steps, _ in config.stages)
    x, u = windows(train, ahead)
    model = copy.deepcopy(start) if start is not None else WalkEnsemble(n, dt, clock, config.ensemble)
    if start is None:
        model.set_normalisers(x[:, 0], u[:, 0], x[:, 1])
    held_x, held_u = windows(held, ahead, every=ahead)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    decay = (config.final_learning_rate / config.learning_rate) ** (1 / max(1, config.updates))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
    rng = torch.Generator().manual_seed(config.seed)
    best, best_error, history = copy.deepcopy(model.state_dict()), torch.full((model.config.members,), torch.inf), WalkHistory()
    for update in range(config.updates):
        steps = _steps(config, update)
        index = torch.randint(len(x), (model.config.members, min(config.batch, len(x))), generator=rng)
        loss = _error(model, x[index][:, :, : steps + 1], u[index][:, :, :steps]).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        if (update + 1) % config.evaluate_every == 0 or update + 1 == config.updates:
            with torch.no_grad():
                errors = _error(model, held_x.expand(model.config.members, -1, -1, -1), held_u.expand(model.config.members, -1, -1, -1))
            better = errors < best_error
            best_error = torch.where(better, errors, best_error)
            for name, value in model.state_dict().items():
                if name.startswith(("weights", "biases")):
                    best[name][better] = value[better]
            history.update.append(update + 1)
            history.loss.append(float(loss.detach()) / model.config.members)
            history.holdout.append(float(errors.mean()))
            on_update(update + 1, history)
    model.load_state_dict(best)
    return model.eval(), history


def windows(runs: list[WalkRun], ahead: int, every: int = 1) -> tuple[Tensor, Tensor]:
    """x (N, ahead+1, nx) and u (N, ahead, nu) of all stretches of that length in which nobody kicks the robot.

    Raises:
        BadInput: there is none.
    """
    starts = [(run, s) for run in runs for s in range(0, len(run.u) - ahead + 1, every) if not run.kicked[s : s + ahead].any()]
    if not starts:
        raise BadInput("dataset", "runs", "none that is long enough", f"stretches of at least {ahead} steps without a kick")
    return as_tensor(np.array([run.x[s : s + ahead + 1] for run, s in starts])), as_tensor(np.array([run.u[s : s + ahead] for run, s in starts]))


def _steps(config: WalkTrainConfig, update: int) -> int:
    done = 0.0
    for steps, share in config.stages:
        done += share
        if update < done * config.updates:
            return steps
    return config.stages[-1][0]


def _error(model: WalkEnsemble, x: Tensor, u: Tensor) -> Tensor:
    """Mean squared error of each member (E,) over its stretches x (E, B, L+1, nx), u (E, B, L, nu); in changes over a step, at L = 1."""
    predicted = model.roll(x[:, :, 0], u)
    gap = (predicted - x[:, :, 1:])[..., : model.n_learned] / model.target_std
    return torch.nn.functional.smooth_l1_loss(gap, torch.zeros_like(gap), reduction="none").mean((1, 2, 3))


@torch.no_grad()
def velocity_errors(model: WalkEnsemble, runs: list[WalkRun], ahead: int) -> FloatArray:
    """RMS (ahead, 3) of the members' mean prediction of forward, sideways velocity [m/s] and turn [rad/s], k steps ahead, over runs."""
    x, u = windows(runs, ahead, every=5)
    e = model.config.members
    mean = model.roll(x[:, 0].expand(e, -1, -1), u.expand(e, -1, -1, -1)).mean(0)
    gap = (mean - x[:, 1:])[..., [3, 4, 8]]
    return np.asarray(torch.sqrt((gap**2).mean(0)).numpy(), dtype=np.float64)
