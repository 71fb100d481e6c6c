"""What a temporal difference model is about: the layout of its state, its goal and its action, and how far it looks.

Training writes it, the robot reads it: it travels in the metadata of `tdm.onnx`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from taustack.config import Positive
from taustack.strict_yaml import StrictModel

METADATA = "taustack_tdm"  # key in the metadata of the graph
INPUTS = ("s", "a", "g", "tau")
OUTPUTS = ("f", "q", "action")


class TDMLayout(StrictModel):
    """State s (ns,), goal g (ng,), action a (na,), all in physical units."""

    state: tuple[str, ...] = Field(min_length=1, description="names of the state's entries; angles stand there as sine and cosine")
    goal: tuple[str, ...] = Field(min_length=1, description="those of them that make up a goal: phi(s) = s[goal]")
    action: tuple[str, ...] = Field(min_length=1, description="names of the action's entries")
    action_limit: tuple[Positive, ...] = Field(description="actions lie in [-limit, limit]")
    dt: Positive = Field(description="time of a step [s]")
    tau_max: Annotated[int, Field(ge=1, description="most steps left to a goal")]

    @model_validator(mode="after")
    def _fits(self) -> TDMLayout:
        missing = [name for name in self.goal if name not in self.state]
        if missing:
            raise ValueError(f"goal: {missing} are not among the state's entries")
        if len(self.action_limit) != len(self.action):
            raise ValueError(f"action_limit: {len(self.action_limit)} values for {len(self.action)} actions")
        return self

    @property
    def goal_index(self) -> tuple[int, ...]:
        """Where the goal's entries stand in the state."""
        return tuple(self.state.index(name) for name in self.goal)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """ns, ng, na."""
        return len(self.state), len(self.goal), len(self.action)


class TDMContract(StrictModel):
    """What `tdm.onnx` assumes and what it was trained on."""

    task: str = Field(description="task or robot that it was trained on")
    layout: TDMLayout
    quantiles: tuple[float, ...] = Field(default=(), description="levels of f's third axis; none: one value")
    goal_low: tuple[float, ...] = Field(description="least of each goal entry that training reached")
    goal_high: tuple[float, ...] = Field(description="largest of each")
    steps: int = Field(ge=1, description="steps of the task it learned from")
    seed: int
    code_version: str = ""
