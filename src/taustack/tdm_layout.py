"""What a temporal difference model is about: the layout of its state, its goal and its action, and how far it looks.

Training writes it, the robot reads it: it travels in the metadata of `tdm.onnx`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from taustack.config import Positive
from taustack.kinematics import ChainJoint, ChainPoint, KinematicChain
from taustack.strict_yaml import StrictModel

METADATA = "taustack_tdm"  # key in the metadata of the graph
TERMINAL_TERM = "tdm"
"""Name of the cost term that says what is left after the horizon; a task with `terminal: tdm` gives it the weight of `terminal`."""
INPUTS = ("s", "a", "g", "tau")
OUTPUTS = ("f", "q", "action")


Vector = tuple[float, float, float]


class JointFrame(StrictModel):
    """See `taustack.kinematics.ChainJoint`."""

    kind: Literal["revolute", "prismatic"]
    rotation: tuple[Vector, Vector, Vector]
    offset: Vector


class TipChain(StrictModel):
    """A goal of x, y, z is where the joints carry a point: its place in the frame of the last of them, and their frames from the base on."""

    joints: tuple[JointFrame, ...] = Field(min_length=1)
    last: int = Field(ge=0, description="index of the joint that carries the point")
    point: Vector

    @classmethod
    def of(cls, chain: KinematicChain) -> TipChain:
        """Of the tip of a chain."""
        frames = [{"kind": j.kind, "rotation": j.rotation.tolist(), "offset": j.offset.tolist()} for j in chain.joints]
        return cls.model_validate({"joints": frames, "last": chain.points[0].joint, "point": chain.points[0].position.tolist()}, strict=False)

    @property
    def chain(self) -> KinematicChain:
        """With the tip as its one point."""
        joints = tuple(ChainJoint(kind=j.kind, rotation=np.array(j.rotation), offset=np.array(j.offset)) for j in self.joints)
        return KinematicChain(joints=joints, points=(ChainPoint(joint=self.last, position=np.array(self.point)),))


class FreeMotion(StrictModel):
    """Joint i is moved by action i, the velocity it is to have at the end of a step: f begins from what such joints can reach."""

    velocity: tuple[str, ...] = Field(description="names of the state's entries that hold the velocities")
    acceleration: tuple[Positive, ...] = Field(description="limit of each")
    position: tuple[str, ...] = Field(default=(), description="names of those that hold the positions; absent: the goal's own entries do")
    tip: TipChain | None = Field(default=None, description="what a goal is the place of; absent: goals are positions")


class TDMLayout(StrictModel):
    """State s (ns,), goal g (ng,), action a (na,), all in physical units."""

    state: tuple[str, ...] = Field(min_length=1, description="names of the state's entries; angles stand there as sine and cosine")
    goal: tuple[str, ...] = Field(min_length=1, description="those of them that make up a goal: phi(s) = s[goal]")
    action: tuple[str, ...] = Field(min_length=1, description="names of the action's entries")
    action_limit: tuple[Positive, ...] = Field(description="actions lie in [-limit, limit]")
    dt: Positive = Field(description="time of a step [s]")
    tau_max: Annotated[int, Field(ge=1, description="most steps left to a goal")]
    free_motion: FreeMotion | None = Field(default=None, description="absent: f begins from phi(s)")

    @model_validator(mode="after")
    def _fits(self) -> TDMLayout:
        missing = [name for name in self.goal if name not in self.state]
        if missing:
            raise ValueError(f"goal: {missing} are not among the state's entries")
        if len(self.action_limit) != len(self.action):
            raise ValueError(f"action_limit: {len(self.action_limit)} values for {len(self.action)} actions")
        if (free := self.free_motion) is not None:
            position = free.position or self.goal
            sizes = {len(free.velocity), len(free.acceleration), len(position), len(self.action)}
            if len(sizes) > 1 or not {*free.velocity, *position} <= set(self.state):
                raise ValueError("free_motion: one position and one velocity among the state's entries and one acceleration for each action")
            if free.tip is not None and (len(free.tip.joints) != len(self.action) or len(self.goal) != 3):
                raise ValueError("free_motion.tip: one joint for each action, and goals of x, y, z")
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


CHAIN_INPUTS = ("x", "goal", "mean", "deviation", "noise", "obstacles", "margin")
CHAIN_OUTPUTS = ("chain", "places", "times", "left", "spread", "touching", "cost")


class ChainSpec(StrictModel):
    """Shapes of the graph that plans chains of subgoals over a TDM of joint positions."""

    links: Annotated[int, Field(ge=1, le=6, description="m, configurations of a chain, the last one at the goal")] = 2
    samples: Annotated[int, Field(ge=16, le=4096, description="B, chains in each round")] = 48
    rounds: Annotated[int, Field(ge=1, le=30, description="R, of the cross-entropy method")] = 3
    elites: Annotated[int, Field(ge=2, le=1024, description="chains that the next round is drawn around")] = 6
    projections: Annotated[int, Field(ge=0, le=20, description="steps of least squares in each round that bring the last configuration to the goal")] = 2
    taus: tuple[int, ...] = Field(default=(4, 9, 15), min_length=2, description="steps left at which a link is looked at, rising; the last is tau_max")

    @model_validator(mode="after")
    def _rises(self) -> ChainSpec:
        if list(self.taus) != sorted(set(self.taus)) or self.taus[0] < 0:
            raise ValueError(f"taus: rising whole numbers from 0, came {list(self.taus)}")
        if self.elites > self.samples:
            raise ValueError(f"elites: at most the {self.samples} samples, came {self.elites}")
        return self
