"""Training a TDM from what a robot did, without any exploration of its own: paths cut from the runs of bags or datasets."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from taustack.errors import BadInput
from taustack.models.dataset import Run
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.replay import Replay
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.train import Curve, resume_training, save_training
from taustack.tdm_arm import joint_state
from taustack.tdm_layout import TDMLayout

PATH_STEPS = 40
"""Longest path; a longer run becomes several."""
LOOK_EVERY = 1000


def paths_of(runs: Sequence[Run], layout: TDMLayout, run_dt: float) -> Replay:
    """Paths of TDM steps, begun at each control step of the runs: `layout.dt / run_dt` times as many as the runs hold, each a little later.

    The action of a step is the velocity that the reference had at its end.

    Raises:
        BadInput: no run, or none that is longer than tau_max.
    """
    every, n = round(layout.dt / run_dt), len(layout.action)
    least, paths = layout.tau_max + 1, []
    for run in runs:
        for phase in range(every):
            x = run.x[phase::every]
            paths += [x[at : at + PATH_STEPS + 1] for at in range(0, len(x) - least, PATH_STEPS)]
    paths = [path for path in paths if len(path) > least]
    if not paths:
        longest = max((len(run.u) for run in runs), default=0) * run_dt
        raise BadInput("runs", "length", f"{longest:.2f} s in the longest of {len(runs)}", f"at least {(least + 1) * layout.dt:.2f} s, more than tau_max steps")
    replay = Replay(layout, len(paths), PATH_STEPS)
    for path in paths:
        s = np.asarray(joint_state(path))
        replay.begin(s[0], s[-1, list(layout.goal_index)])
        for t in range(len(path) - 1):
            replay.add(path[t + 1, 3 * n :], s[t + 1], layout.tau_max)
    return replay


def train_offline(
    replay: Replay, layout: TDMLayout, config: TDMConfig, updates: int, checkpoint: Path | None = None, source: str = "",
    on_update: Callable[[int, Curve], object] = lambda *_: None,
) -> tuple[TDMLearner, Curve]:  # fmt: skip
    """So many updates on the paths of `replay`; `curve.distance` holds the mean loss of the critic since the last look.

    Deterministic by seed; goes on from `checkpoint` if that is of the same data (`source`), config and number of updates.
    """
    torch.set_num_threads(1)
    learner, rng, curve = TDMLearner(layout, config), np.random.default_rng(config.seed), Curve()
    learner.fit_normaliser(*replay.transitions())
    tag = json.dumps([source, len(replay), layout.model_dump(), asdict(config), updates], sort_keys=True)
    first = resume_training(checkpoint, tag, learner, None, rng, curve)
    began = time.monotonic() - (curve.seconds[-1] if curve.seconds else 0.0)
    losses: list[float] = []
    for update in range(first + 1, updates + 1):
        losses.append(learner.learn(replay.sample(config.batch, config.relabel, rng), update / updates))
        if update % LOOK_EVERY == 0 or update == updates:
            curve.steps.append(update)
            curve.distance.append(float(np.mean(losses)))
            curve.worst.append(float(np.max(losses)))
            curve.seconds.append(time.monotonic() - began)
            losses = []
            if checkpoint is not None:
                save_training(checkpoint, tag, update, learner, None, rng, curve)
        on_update(update, curve)
    return learner, curve
