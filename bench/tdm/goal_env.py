"""A goal task as an environment of gymnasium, so that stable-baselines3 can be trained on it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from taustack.models.tdm.task import GoalTask

FloatArray = NDArray[np.float64]


class GoalEnv(gym.Env[dict[str, FloatArray], FloatArray]):
    """Observation, achieved and desired goal; actions in [-1, 1]; the reward is minus the distance to the goal, after each step.

    Episodes are cut after the task's steps and never end before: what counts is where they end.
    """

    def __init__(self, task: GoalTask, seed: int) -> None:
        ns, ng, na = task.layout.sizes
        self.task = task
        self._index = list(task.layout.goal_index)
        self._limit = np.array(task.layout.action_limit)
        self._rng = np.random.default_rng(seed)
        everywhere = {"observation": ns, "achieved_goal": ng, "desired_goal": ng}
        self.observation_space = gym.spaces.Dict({name: gym.spaces.Box(-np.inf, np.inf, (n,), np.float64) for name, n in everywhere.items()})
        self.action_space = gym.spaces.Box(-1.0, 1.0, (na,), np.float32)  # type: ignore[assignment]

    def observe(self, s: FloatArray, g: FloatArray) -> dict[str, FloatArray]:
        """What a policy sees of state and goal."""
        return {"observation": s, "achieved_goal": s[self._index], "desired_goal": g}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, FloatArray], dict[str, Any]]:
        """A new episode."""
        s, self._g = self.task.reset(self._rng)
        self._t = 0
        return self.observe(s, self._g), {}

    def step(self, action: FloatArray) -> tuple[dict[str, FloatArray], float, bool, bool, dict[str, Any]]:
        """One step of the task."""
        s = self.task.step(self._limit * action)
        self._t += 1
        reward = float(self.compute_reward(s[self._index], self._g, {}))
        return self.observe(s, self._g), reward, False, self._t >= self.task.steps, {}

    def compute_reward(self, achieved: FloatArray, desired: FloatArray, _: Any) -> FloatArray:
        """Minus the distance, for one goal or many."""
        return -np.linalg.norm(achieved - desired, axis=-1)  # type: ignore[return-value]
