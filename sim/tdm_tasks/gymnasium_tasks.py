"""Tasks of gymnasium with goals: those of the paper (Pong et al. 2018), for comparison. Needs the extra `baselines`.

The environments' own rewards, goals and ends are not used.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.errors import TaustackError
from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GoalsOf:
    """An environment, which entries of its observation are the goal, and where goals lie; `steps` of an episode."""

    env: str
    goal: dict[str, int]
    low: tuple[float, ...]
    high: tuple[float, ...]
    steps: int
    options: dict[str, Any] = field(default_factory=dict)


TASKS = {
    "pusher": GoalsOf(env="Pusher-v5", goal={"object x": 17, "object y": 18}, low=(0.3, -0.4), high=(0.6, 0.2), steps=50),
    "half_cheetah": GoalsOf(env="HalfCheetah-v5", goal={"forward velocity": 8}, low=(-6.0,), high=(6.0,), steps=100),
    "ant": GoalsOf(
        env="Ant-v5", goal={"x": 0, "y": 1}, low=(-1.5, -1.5), high=(1.5, 1.5), steps=100,
        options={"exclude_current_positions_from_observation": False, "include_cfrc_ext_in_observation": False, "terminate_when_unhealthy": False},
    ),
}  # fmt: skip
"""By name: the object's place (a table of 60 cm), the forward velocity [m/s], the torso's place [m]."""


class GymnasiumTask:
    """See the module. `name` is one of TASKS."""

    def __init__(self, name: str, tau_max: int) -> None:
        try:
            gymnasium: Any = importlib.import_module("gymnasium")
            importlib.import_module("gymnasium.envs.mujoco")
        except ImportError:
            raise TaustackError(f"task {name} needs gymnasium: pip install 'taustack[baselines]'") from None
        self.name, self._about = name, TASKS[name]
        self.steps = self._about.steps
        self._env = gymnasium.make(self._about.env, max_episode_steps=self.steps + 1, **self._about.options)
        size, limit = int(np.prod(self._env.observation_space.shape)), np.array(self._env.action_space.high, dtype=np.float64)
        names = [f"o{i}" for i in range(size)]
        for entry, i in self._about.goal.items():
            names[i] = entry
        actions = tuple(f"a{i}" for i in range(len(limit)))
        self.layout = TDMLayout(
            state=tuple(names), goal=tuple(self._about.goal), action=actions, action_limit=tuple(limit.tolist()), dt=float(self._env.unwrapped.dt),
            tau_max=tau_max,
        )  # fmt: skip

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """The environment's own start, and a goal drawn from the task's range."""
        s, _ = self._env.reset(seed=int(rng.integers(2**31)))
        return np.asarray(s, np.float64), rng.uniform(self._about.low, self._about.high)

    def step(self, a: FloatArray) -> FloatArray:
        """One step of the environment."""
        return np.asarray(self._env.step(np.asarray(a, np.float32))[0], np.float64)
