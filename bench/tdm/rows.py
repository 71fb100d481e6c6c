"""One row of a table: an algorithm trained on a task with a seed, and how near to the goal it ends after so many steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.walk_laws import DisturbanceObserver
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.models.tdm.spec import TDMConfig
from taustack.models.tdm.task import GoalTask
from taustack.models.tdm.train import Curve, Schedule, final_distances, train
from taustack.sim.tdm_tasks.catalogue import make_task
from taustack.sim.tdm_tasks.legs import BasePosition, BaseVelocity
from taustack.tdm_layout import TDMLayout
from taustack.tdm_legs import HEADING

FloatArray = NDArray[np.float64]
Act = Callable[[FloatArray, FloatArray, int], FloatArray]
FULL = TDMConfig(learner="ddpg", actor_rate=1e-3, final_rates=0.1)
PLAIN = TDMConfig(learner="ddpg", final_rates=0.1)
TDMS = {
    "tdm": FULL,
    "tdm td3": dataclasses.replace(FULL, learner="td3"),
    "tdm no relabelling": dataclasses.replace(FULL, relabel=None),
    "tdm 1 update": dataclasses.replace(FULL, updates_per_step=1),
    "tdm without kinematics": PLAIN,
    "tdm without kinematics, td3": dataclasses.replace(PLAIN, learner="td3"),
    "tdm raw f": dataclasses.replace(PLAIN, residual=False),
}
WITHOUT_KINEMATICS = ("tdm without kinematics", "tdm without kinematics, td3", "tdm raw f")
BASELINES = ("ddpg", "ddpg + her")
NOTHING_LEARNED = "no learning"
MODEL_BASED = "ensemble + mppi"
ROWS = (NOTHING_LEARNED, *TDMS, *BASELINES, MODEL_BASED)
DAMPING_M = 0.05
FAR_M, SLOW_S = 0.3, 0.6


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train; the goal space is a robot's, None for its first."""

    task: str
    row: str
    seed: int
    schedule: Schedule
    tau_max: int = 15
    goal_space: str | None = None

    def make(self) -> GoalTask:
        """The task, anew."""
        return make_task(self.task, self.tau_max, goal_space=self.goal_space)


def run(job: Job) -> Curve:
    """Train and look; every row sees the same starts and goals in its evaluations."""
    task = job.make()
    if job.row == NOTHING_LEARNED:
        return not_learned(task, job)
    if job.row == MODEL_BASED:
        from model_based import ensemble_and_mppi

        return ensemble_and_mppi(task, job.make(), job.schedule, job.seed)
    if job.row in WITHOUT_KINEMATICS:
        task = Stripped(task)
    if job.row in TDMS:
        return train(task, dataclasses.replace(TDMS[job.row], seed=job.seed), job.schedule)[2]
    return baseline(task, job)


class Stripped:
    """A task whose layout does not say how joints move and carry the goal: f begins from phi(s), or from nothing."""

    def __init__(self, task: GoalTask) -> None:
        self.name, self.steps = task.name, task.steps
        self.layout = task.layout.model_copy(update={"free_motion": None})
        self.reset, self.step = task.reset, task.step


def not_learned(task: GoalTask, job: Job) -> Curve:
    """What comes of a law that is known beforehand: the same at all steps.

    Raises:
        BadInput: there is none for the task.
    """
    if isinstance(task, BasePosition):
        act = strides_to(task)
    elif isinstance(task, BaseVelocity):
        act = strides_for(task)
    elif task.layout.free_motion is not None and task.layout.free_motion.tip is not None:
        act = resolved_rate(task.layout, task.layout.free_motion.tip.chain, task.layout.free_motion.position)
    else:
        raise BadInput("row", "", job.row, f"another row: {task.name} says nothing of how it moves")
    found = final_distances(act, task, job.schedule.episodes, job.seed)
    steps = list(range(job.schedule.evaluate_every, job.schedule.steps + 1, job.schedule.evaluate_every))
    return Curve(steps=steps, distance=[float(found.mean())] * len(steps), worst=[float(found.max())] * len(steps), seconds=[0.0] * len(steps))


def resolved_rate(layout: TDMLayout, chain: KinematicChain, positions: Sequence[str]) -> Act:
    """Damped least squares to the goal in the steps that are left (Whitney 1969)."""
    limit, at = np.array(layout.action_limit), [layout.state.index(name) for name in positions]

    def act(s: FloatArray, g: FloatArray, tau: int) -> FloatArray:
        jacobian, tip = chain.jacobian(s[at])
        way = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + DAMPING_M**2 * np.eye(3), g - tip)
        velocity = way / (layout.dt * (tau + 0.5))
        return np.asarray(velocity / max(1.0, float((np.abs(velocity) / limit).max())))

    return act


def strides_to(task: BasePosition) -> Act:
    """The strides that are known to give a velocity towards the goal, in proportion to the way that is left; the robot turns to a goal that is far."""
    limit, known = np.array(task.layout.action_limit), task.legs.strides
    sine, cosine = (task.layout.state.index(name) for name in HEADING)

    def act(s: FloatArray, g: FloatArray, _: int) -> FloatArray:
        x, y = g - s[:2]
        ahead, aside = s[cosine] * x + s[sine] * y, s[cosine] * y - s[sine] * x
        turn = 2.0 * np.arctan2(aside, ahead) if np.hypot(x, y) > FAR_M else 0.0
        return np.asarray(np.clip(known.command_for(np.array([ahead / SLOW_S, aside / SLOW_S, turn])), -limit, limit))

    return act


def strides_for(task: BaseVelocity) -> Act:
    """The strides that are known to give the goal's velocity, and more by what the robot lately missed of it."""
    limit, known = np.array(task.layout.action_limit), task.legs.strides
    walked = [task.layout.state.index(name) for name in task.layout.action]
    observer = DisturbanceObserver(task.layout.dt)

    def act(s: FloatArray, g: FloatArray, _: int) -> FloatArray:
        if not s[walked].any():  # an episode begins
            observer.reset()
        missed = observer.look(s[:3], known.velocity_of(s[walked]))
        return np.asarray(np.clip(known.command_for(g - missed), -limit, limit))

    return act


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
    curve, began, looked = Curve(), time.monotonic(), job.make()
    limit = np.array(task.layout.action_limit)
    for step in range(job.schedule.evaluate_every, job.schedule.steps + 1, job.schedule.evaluate_every):
        model.learn(job.schedule.evaluate_every, reset_num_timesteps=step == job.schedule.evaluate_every)
        found = final_distances(lambda s, g, _: limit * model.predict(env.observe(s, g), deterministic=True)[0], looked, job.schedule.episodes, job.seed)
        curve.steps.append(step)
        curve.distance.append(float(np.mean(found)))
        curve.worst.append(float(np.max(found)))
        curve.seconds.append(time.monotonic() - began)
    return curve
