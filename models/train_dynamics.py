"""Train a dynamics ensemble on a dataset: bootstrap per member, hold-out by run, best snapshot per member."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.models.dataset import Run
from taustack.models.ensemble import DynamicsEnsemble, EnsembleConfig, Transitions

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training of the ensemble. `holdout` is a share of the runs, never of the samples."""

    ensemble: EnsembleConfig = field(default_factory=EnsembleConfig)
    epochs: int = 120
    batch: int = 256
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    bounds_penalty: float = 0.01
    holdout: float = 0.1
    seed: int = 0
    checkpoint_every: int = 10


@dataclass
class History:
    """Learning curve: one value an epoch."""

    train_nll: list[float] = field(default_factory=list)
    holdout_mse: list[float] = field(default_factory=list)


def split_by_run(runs: list[Run], share: float) -> tuple[list[Run], list[Run]]:
    """Training runs and held-out runs (the last ones, at least one).

    Raises:
        BadInput: fewer than two runs.
    """
    if len(runs) < 2:
        raise BadInput("dataset", "runs", f"{len(runs)} run(s)", "at least 2, so that one can be held out")
    held = max(1, round(share * len(runs)))
    return runs[:-held], runs[-held:]


def transitions(runs: list[Run]) -> Transitions:
    """Those of all runs."""
    x = np.concatenate([run.x[:-1] for run in runs])
    x_next = np.concatenate([run.x[1:] for run in runs])
    u = np.concatenate([run.u for run in runs])
    torque = np.concatenate([run.torque[1:] for run in runs])
    return tuple(torch.tensor(a, dtype=torch.float32) for a in (x, u, x_next, torque))  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a retraining goes on from: a trained ensemble, and transitions of its old data that are to be remembered."""

    model: DynamicsEnsemble
    old: Transitions
    keep: float = 0.1
    """Share of old transitions in the training data, where the new data says nothing."""


def train(
    runs: list[Run], prismatic: tuple[bool, ...], dt: float, config: TrainConfig, checkpoint: Path,
    on_epoch: Callable[[int, History], None] = lambda *_: None, start: Start | None = None, source: str = "",
    law: FloatArray | None = None,
) -> tuple[DynamicsEnsemble, History]:  # fmt: skip
    """Train, or go on from `checkpoint` if it is there and of the same config. Deterministic by seed.

    Args:
        runs: the last ones are held out.
        start: to go on from; from scratch without it.
        source: what names data and start, so that a checkpoint of others is not taken.
        law: of the joints (3, n), see DynamicsEnsemble.

    Returns:
        The ensemble with each member's best snapshot on the hold-out, and the learning curve.
    """
    torch.manual_seed(config.seed)
    train_runs, held_runs = split_by_run(runs, config.holdout)
    data = transitions(train_runs)
    held = transitions(held_runs)
    if start is None:
        model = DynamicsEnsemble(prismatic, dt, config.ensemble, law)
        model.set_normalisers(*data)
    else:
        model = copy.deepcopy(start.model)
        model.renormalise(*data)
        data = _with_old(model, data, start)
    x, u, *outcome = data
    features = (model.features(x, u) - 0.0).detach()
    targets = ((model.targets(x, *outcome) - model.target_mean) / model.target_std).detach()
    known = targets.isfinite()
    targets = torch.where(known, targets, 0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    decay = (config.final_learning_rate / config.learning_rate) ** (1 / max(1, config.epochs))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, decay)
    best = Snapshots(model)
    history, first = History(), 0
    tag = repr(sorted(asdict(config).items())) + source + repr(model.law.tolist())
    if checkpoint.is_file():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["config"] == tag:
            model.load_state_dict(saved["model"])
            optimiser.load_state_dict(saved["optimiser"])
            schedule.load_state_dict(saved["schedule"])
            best.load(saved["best_error"], saved["best"])
            history = History(**saved["history"])
            first = saved["epoch"]
    members, batch = config.ensemble.members, min(config.batch, len(features))
    for epoch in range(first, config.epochs):
        # A generator for each epoch, so that a resumed run draws what an uninterrupted one would.
        rng = torch.Generator().manual_seed(config.seed * 100_003 + epoch)
        order = torch.randint(len(features), (members, len(features)), generator=rng)
        total, steps = 0.0, 0
        for at in range(0, len(features) - batch + 1, batch):
            index = order[:, at : at + batch]
            mean, log_var = model.normalised(features[index])
            error = (mean - targets[index]) ** 2
            nll = torch.where(known[index], error * torch.exp(-log_var) + log_var, 0.0).mean((1, 2)).sum()
            loss = nll + config.bounds_penalty * (model.max_log_var.sum() - model.min_log_var.sum())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, steps = total + float(nll.detach()), steps + 1
        schedule.step()
        errors = holdout_mse(model, held)
        best.update(errors)
        history.train_nll.append(total / max(1, steps) / members)
        history.holdout_mse.append(float(errors.mean()))
        on_epoch(epoch + 1, history)
        if (epoch + 1) % config.checkpoint_every == 0 or epoch + 1 == config.epochs:
            _save(checkpoint, {
                "config": tag, "epoch": epoch + 1, "model": model.state_dict(), "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(), "best_error": best.error, "best": best.state, "history": asdict(history),
            })  # fmt: skip
    best.restore()
    return model.eval(), history


@torch.no_grad()
def _with_old(model: DynamicsEnsemble, new: Transitions, start: Start) -> Transitions:
    """New transitions, and those old ones that are far from all of them: near them the new data is right and the old one is not."""
    ours = (model.features(new[0], new[1]) - model.feature_mean) / model.feature_std
    theirs = (model.features(start.old[0], start.old[1]) - model.feature_mean) / model.feature_std
    sample = ours[:: max(1, len(ours) // 4000)]
    own = torch.cdist(sample[:500], sample).topk(2, largest=False).values[:, 1]
    far = torch.cdist(theirs, sample).min(1).values > torch.quantile(own, 0.9)
    count = int(start.keep / (1 - start.keep) * len(new[0]))
    if not far.any() or not count:
        return new
    chosen = torch.nonzero(far).flatten().repeat(count // int(far.sum()) + 1)[:count]
    return tuple(torch.cat([a, b[chosen]]) for a, b in zip(new, start.old, strict=True))  # type: ignore[return-value]


class Snapshots:
    """Each member's parameters at its best epoch on the hold-out."""

    def __init__(self, model: DynamicsEnsemble) -> None:
        self.model = model
        self.error = torch.full((model.config.members,), float("inf"))
        self.state = copy.deepcopy(model.state_dict())

    def load(self, error: Tensor, state: dict[str, Tensor]) -> None:
        self.error, self.state = error, state

    def update(self, error: Tensor) -> None:
        better = error < self.error
        self.error = torch.where(better, error, self.error)
        for name, value in self.model.state_dict().items():
            if name.startswith(("weights", "biases")):
                self.state[name][better] = value[better]
            else:
                self.state[name].copy_(value)

    def restore(self) -> None:
        self.model.load_state_dict(self.state)


@torch.no_grad()
def holdout_mse(model: DynamicsEnsemble, held: Transitions) -> Tensor:
    """Mean squared error of each member (E,) on held-out transitions, normalised targets."""
    x, u, *outcome = held
    features = model.features(x, u).expand(model.config.members, -1, -1)
    mean, _ = model.normalised(features)
    targets = (model.targets(x, *outcome) - model.target_mean) / model.target_std
    return ((mean - targets) ** 2).nanmean((1, 2))


@torch.no_grad()
def disagreement(model: DynamicsEnsemble, held: Transitions) -> FloatArray:
    """One-step disagreement of each member with the next one (E * B,) on held-out transitions, normalised as in the plan step."""
    x, u, *_ = held
    e = model.config.members
    mean, _ = model.normalised(model.features(x, u).expand(e, -1, -1))
    gap = (torch.roll(mean, -1, 0) - mean)[..., : 2 * model.n]
    return np.asarray(torch.sqrt((0.5 * gap * gap).mean(-1)).flatten().numpy(), dtype=np.float64)


@torch.no_grad()
def open_loop_errors(model: DynamicsEnsemble, runs: list[Run], chain: KinematicChain, horizon: int) -> dict[str, float]:
    """End-effector error [m] of rollouts over held-out runs, mean over the horizon, beside two models without learning.

    `model`: mean of the members' rollouts. `perfect_tracking`: the joints are where the reference is.
    `constant_error`: the tracking error stays what it was at the start.
    """
    starts = [(run, s) for run in runs for s in range(0, len(run.u) - horizon, horizon)]
    x = torch.tensor(np.array([run.x[s] for run, s in starts]), dtype=torch.float32)
    u = torch.tensor(np.array([run.u[s : s + horizon] for run, s in starts]), dtype=torch.float32)
    truth = torch.tensor(np.array([run.x[s + 1 : s + horizon + 1] for run, s in starts]), dtype=torch.float32)
    n, e = model.n, model.config.members
    state = x.expand(e, -1, -1)
    predicted = []
    for t in range(horizon):
        state, *_ = model.members(state, u[:, t].expand(e, -1, -1))
        predicted.append(state.mean(0))
    target = chain.position(truth[..., :n], torch)
    reference = truth[..., 2 * n : 3 * n]
    offset = (x[:, :n] - x[:, 2 * n : 3 * n]).unsqueeze(1)
    candidates = {"model": torch.stack(predicted, 1)[..., :n], "perfect_tracking": reference, "constant_error": reference + offset}
    return {name: float((chain.position(q, torch) - target).norm(dim=-1).mean()) for name, q in candidates.items()}


def _save(path: Path, state: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    try:
        torch.save(state, part)
    except (RuntimeError, OSError) as error:  # torch says of a full disk only that writing failed
        part.unlink(missing_ok=True)
        raise BadInput(
            path, "", " ".join(str(error).split())[:200], f"space and permission to write it ({shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free)"
        ) from None
    part.replace(path)
