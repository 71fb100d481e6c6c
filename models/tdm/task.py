"""Where a TDM is trained online: an environment without reward, for the goal says it all."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]


class GoalTask(Protocol):
    """Episodes of `steps` steps. States, goals and actions are laid out as `layout` says."""

    @property
    def name(self) -> str:
        """For folders and pictures."""
        ...

    @property
    def layout(self) -> TDMLayout:
        """Of states, goals and actions."""
        ...

    @property
    def steps(self) -> int:
        """Of an episode."""
        ...

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """A new episode: its first state (ns,) and its goal (ng,)."""
        ...

    def step(self, a: FloatArray) -> FloatArray:
        """Next state (ns,) after action a (na,) for one step."""
        ...
