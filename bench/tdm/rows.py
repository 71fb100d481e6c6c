"""One row of a table: an algorithm trained on a task with a seed, and how near to the goal it ends after so many steps."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np

from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.task import GoalTask
from taustack.models.tdm.train import Curve, Schedule, final_distances, train
from taustack.sim.tdm_tasks.catalogue import make_task

TDMS = {
    "tdm": TDMConfig(),
    "tdm ddpg": TDMConfig(learner="ddpg"),
    "tdm raw f": TDMConfig(residual=False),
    "tdm no relabelling": TDMConfig(relabel=None),
    "tdm 1 update": TDMConfig(updates_per_step=1),
}
BASELINES = ("ddpg", "ddpg + her")
ROWS = (*TDMS, *BASELINES)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train."""

    task: str
    row: str
    seed: int
    schedule: Schedule
    tau_max: int = 15


def run(job: Job) -> Curve:
    """Train and look; every row sees the same starts and goals in its evaluations."""
    task = make_task(job.task, job.tau_max)
    if job.row in TDMS:
        return train(task, dataclasses.replace(TDMS[job.row], seed=job.seed), job.schedule)[2]
    return baseline(task, job)


def baseline(task: GoalTask, job: Job) -> Curve:
    """DDPG of stable-baselines3, with hindsight if asked for; networks, batch, updates a step and target rate are the TDM's."""
    import torch
    from goal_env import GoalEnv
    from stable_baselines3 import DDPG, HerReplayBuffer
    from stable_baselines3.common.noise import NormalActionNoise

    torch.set_num_threads(1)
    like, na = TDMConfig(), task.layout.sizes[2]
    hindsight = {"replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"}}
    env = GoalEnv(task, job.seed)
    model = DDPG(
        "MultiInputPolicy", env, learning_rate=like.critic_rate, batch_size=like.batch, tau=like.polyak, gamma=0.98, learning_starts=like.warmup_steps,
        train_freq=1, gradient_steps=like.updates_per_step, policy_kwargs={"net_arch": list(like.hidden)}, seed=job.seed,
        action_noise=NormalActionNoise(np.zeros(na), np.full(na, like.noise_sigma)), **(hindsight if job.row == "ddpg + her" else {}),
    )  # fmt: skip
    curve, began, looked = Curve(), time.monotonic(), make_task(job.task, job.tau_max)
    limit = np.array(task.layout.action_limit)
    for step in range(job.schedule.evaluate_every, job.schedule.steps + 1, job.schedule.evaluate_every):
        model.learn(job.schedule.evaluate_every, reset_num_timesteps=step == job.schedule.evaluate_every)
        found = final_distances(lambda s, g, _: limit * model.predict(env.observe(s, g), deterministic=True)[0], looked, job.schedule.episodes, job.seed)
        curve.steps.append(step)
        curve.distance.append(float(np.mean(found)))
        curve.worst.append(float(np.max(found)))
        curve.seconds.append(time.monotonic() - began)
    return curve
