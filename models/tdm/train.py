"""Online training of a TDM: walk towards goals, learn from all that was walked. Deterministic by seed, goes on after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.replay import Replay
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.task import GoalTask

FloatArray = NDArray[np.float64]
EVALUATION = 2**31  # seeds of evaluation begin here: they are never those of training


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long to train, and how often to look."""

    steps: int
    evaluate_every: int = 500
    episodes: int = 25
    """Of one evaluation."""


@dataclass
class Curve:
    """What evaluations found: environment steps, mean and worst final distance to the goal (the norm over goal entries)."""

    steps: list[int] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def steps_left(t: int, steps: int, tau_max: int) -> int:
    """tau of the greedy policy at step t of an episode: as many steps as are left, at most tau_max."""
    return min(tau_max, steps - t - 1)


def final_distances(act: Callable[[FloatArray, FloatArray, int], FloatArray], task: GoalTask, episodes: int, seed: int) -> FloatArray:
    """Distance (episodes,) to the goal at the end of episodes in which act(s, g, tau) chooses the actions."""
    index, out = list(task.layout.goal_index), np.empty(episodes)
    for i in range(episodes):
        s, g = task.reset(np.random.default_rng([EVALUATION + seed, i]))
        for t in range(task.steps):
            s = task.step(act(s, g, steps_left(t, task.steps, task.layout.tau_max)))
        out[i] = np.linalg.norm(s[index] - g)
    return out


class Walker:
    """Exploration: the policy with Ornstein-Uhlenbeck noise, random during warm-up; tau counts down from tau_max and wraps."""

    def __init__(self, task: GoalTask, config: TDMConfig, replay: Replay, rng: np.random.Generator) -> None:
        self.task, self.config, self.replay, self.rng = task, config, replay, rng
        self.limit = np.array(task.layout.action_limit)
        self.t = task.steps

    def step(self, learner: TDMLearner, *, explore: bool) -> None:
        """One step of the task, into the replay; begins a new episode where one ended."""
        if self.t == self.task.steps:
            self.s, self.g = self.task.reset(self.rng)
            self.replay.begin(self.s, self.g)
            self.t, self.noise = 0, np.zeros(len(self.limit))
        tau_max = self.task.layout.tau_max
        tau = tau_max - self.t % (tau_max + 1)
        theta, sigma = self.config.noise_theta, self.config.noise_sigma
        self.noise = (1 - theta) * self.noise + sigma * self.rng.normal(size=len(self.limit))
        if explore:  # steady for a while, or nothing would go anywhere
            if self.t % 5 == 0:
                self.held = self.rng.uniform(-1.0, 1.0, len(self.limit))
            share = self.held
        else:
            share = learner.act(self.s, self.g, tau) / self.limit + self.noise
        a = self.limit * np.clip(share, -1.0, 1.0)
        self.s = self.task.step(a)
        if not np.isfinite(self.s).all():
            raise BadInput(self.task.name, "state", self.s.tolist(), "finite values")
        self.replay.add(a, self.s, tau)
        self.t += 1


def train(
    task: GoalTask, config: TDMConfig, schedule: Schedule, checkpoint: Path | None = None, on_step: Callable[[int, Curve], object] = lambda *_: None
) -> tuple[TDMLearner, Replay, Curve]:
    """Train for `schedule.steps` steps of the task.

    A checkpoint is written at each evaluation, at an end of an episode, and gone on from if it is of the same task and config: the
    result is that of a run that was not interrupted.

    Raises:
        BadInput: the task's episodes are shorter than one step, or a state is not finite.
    """
    torch.set_num_threads(1)  # the networks are small: a second thread costs more than it gives, and would alter the last bits
    learner = TDMLearner(task.layout, config)
    paths = schedule.steps // task.steps + schedule.steps // schedule.evaluate_every + 2  # an evaluation ends the path that is walked
    replay = Replay(task.layout, paths, task.steps)
    rng = np.random.default_rng(config.seed)
    walker = Walker(task, config, replay, rng)
    curve = Curve()
    tag = json.dumps([task.name, task.layout.model_dump(), asdict(config), asdict(schedule)], sort_keys=True)
    first = resume_training(checkpoint, tag, learner, replay, rng, curve)
    began = time.monotonic() - (curve.seconds[-1] if curve.seconds else 0.0)
    for step in range(first + 1, schedule.steps + 1):
        walker.step(learner, explore=step <= config.warmup_steps)
        if step == config.warmup_steps:
            learner.fit_normaliser(*replay.transitions())
        if step >= config.warmup_steps:
            for _ in range(config.updates_per_step):
                learner.learn(replay.sample(config.batch, config.relabel, rng), step / schedule.steps)
        if step % schedule.evaluate_every == 0 or step == schedule.steps:
            found = final_distances(learner.act, task, schedule.episodes, config.seed)
            curve.steps.append(step)
            curve.distance.append(float(found.mean()))
            curve.worst.append(float(found.max()))
            curve.seconds.append(time.monotonic() - began)
            walker.t = task.steps  # the evaluation moved the task
            if checkpoint is not None:
                save_training(checkpoint, tag, step, learner, replay, rng, curve)
        on_step(step, curve)
    return learner, replay, curve


def save_training(
    path: Path, tag: str, step: int, learner: TDMLearner, replay: Replay | None, rng: np.random.Generator, curve: Curve
) -> None:  # fmt: skip
    """Write all that the training goes on from, at once or not at all; the replay is left out where it comes from elsewhere."""
    kept: dict[str, Any] = {
        "tag": tag, "step": step, "networks": learner.state_dict(), "critic": learner.critic_optimiser.state_dict(),
        "actor": learner.actor_optimiser.state_dict(), "noise": learner.noise.get_state(), "rng": json.dumps(rng.bit_generator.state),
        "replay": {name: torch.from_numpy(value) for name, value in replay.arrays().items()} if replay is not None else {}, "curve": asdict(curve),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save(kept, part)
    part.replace(path)


def resume_training(path: Path | None, tag: str, learner: TDMLearner, replay: Replay | None, rng: np.random.Generator, curve: Curve) -> int:
    """Steps that a checkpoint has behind it; 0 without one of this training."""
    if path is None or not path.is_file():
        return 0
    kept = torch.load(path, weights_only=True)
    if kept["tag"] != tag:
        return 0
    learner.load_state_dict(kept["networks"])
    learner.critic_optimiser.load_state_dict(kept["critic"])
    learner.actor_optimiser.load_state_dict(kept["actor"])
    learner.noise.set_state(kept["noise"])
    rng.bit_generator.state = json.loads(kept["rng"])
    if replay is not None:
        replay.restore({name: value.numpy() for name, value in kept["replay"].items()})
    for name, values in kept["curve"].items():
        getattr(curve, name)[:] = values
    return int(kept["step"])
