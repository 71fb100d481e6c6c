"""Bags of a robot on legs to walks to learn from: the tracker's states on the grid of the plan step, cut where they say nothing true.

What a walk does next depends on an action only by the strides that the gait follows, and those are in the state: the action of a step is taken
as the strides at its end. So nothing of it depends on which plan was in force, or whether any was.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.bags.reader import Bag, decoded
from taustack.controllers.walk_fields import walk_state_from
from taustack.errors import BadInput
from taustack.legged import LeggedConfig
from taustack.legged_layout import layout
from taustack.models.from_bags import LEAST_PIECE_S, TO_LEARN, Cut, FaultSpans, Harvest, of_each, seconds_of
from taustack.models.walk_dataset import WalkRun

FloatArray = NDArray[np.float64]
TYPES = {"walk_state": "taustack_msgs/msg/WalkState", "safety": "taustack_msgs/msg/Safety"}
GAP_PERIODS = 3.5
"""Of state_hz, beyond which two states are not joined."""
BEHIND_S = 0.02
"""By which the gait's clock may differ from that of the measurements; in a robot that was damped it stands."""


@dataclass
class WalkHarvest(Harvest):
    """falls: as the tracker said."""

    falls: int = 0


@dataclass
class Stretch:
    """States in a row, each where the one before leads: t (N,), x (N, nx), phase (N,) counted on beyond a whole stride."""

    epoch: int
    t: list[float] = field(default_factory=list)
    x: list[FloatArray] = field(default_factory=list)
    phase: list[float] = field(default_factory=list)


def walks_of(paths: list[Path], robot: LeggedConfig, harvest: WalkHarvest, lengths: Cut = TO_LEARN) -> Iterator[WalkRun]:
    """Walks of all bags, one bag after the other; only some pieces are in memory at a time.

    A bag that cannot be used is named in `harvest.quarantined` and left out; what can be read of a cut one is used.
    """
    yield from of_each(paths, 1.0 / robot.rates.plan_hz, harvest, lambda bag: _of_bag(bag, robot, harvest, lengths))


def _of_bag(bag: Bag, robot: LeggedConfig, harvest: WalkHarvest, lengths: Cut) -> Iterator[WalkRun]:
    faults = _faults_of(bag, harvest)
    reader = _Reader(robot, faults, harvest)
    longest_s = 4 * (lengths.piece_s + lengths.between_s)
    for message in bag.messages({"walk_state"}):
        content = decoded(message) if message.type == TYPES["walk_state"] else None  # somebody else's topic may have the same name
        if content is None:
            continue
        if not reader.knows(content.name):
            harvest.quarantined[str(bag.path)] = f"joints {list(content.name)}, the robot {robot.name} has {list(robot.joint_names)}"
            return
        if bag.about.get("robot", robot.name) != robot.name:
            harvest.quarantined[str(bag.path)] = f"a bag of {bag.about['robot']}, not of {robot.name}"
            return
        ended = reader.take(content)
        if ended is None and reader.stretch is not None and reader.stretch.t[-1] - reader.stretch.t[0] > longest_s:
            ended = reader.end()
        if ended is not None:
            yield from _pieces(ended, robot, harvest, lengths)
    last = reader.end()
    if last is not None:
        yield from _pieces(last, robot, harvest, lengths)


def _faults_of(bag: Bag, harvest: WalkHarvest) -> FaultSpans:
    """What `safety` says of the whole bag, before the states are looked at; falls are counted."""
    faults, fallen = FaultSpans(), False
    for message in bag.messages({"safety"}):
        content = decoded(message) if message.type == TYPES["safety"] else None
        if content is None:
            continue
        faults.note(content)
        falls = content.mode == "damped" and content.reason.startswith("fallen")
        harvest.falls += int(falls and not fallen)
        fallen = falls
    return faults


class _Reader:
    """Joins states to stretches; why one ends is in the harvest."""

    def __init__(self, robot: LeggedConfig, faults: FaultSpans, harvest: Harvest) -> None:
        self.stretch: Stretch | None = None
        self._robot, self._faults, self._harvest = robot, faults, harvest
        self._gap_s = GAP_PERIODS / robot.rates.state_hz
        self._seen_t = -np.inf
        self._names, self._order = list[str](), list[int]()

    def knows(self, names: list[str]) -> bool:
        """True if these joints are the robot's, in whatever order."""
        if names != self._names:
            if sorted(names) != sorted(self._robot.joint_names):
                return False
            self._names, self._order = list(names), [list(names).index(name) for name in self._robot.joint_names]
        return True

    def take(self, content: Any) -> Stretch | None:
        """Take a message whose joints it knows; the stretch that ends with it, if one does."""
        t = seconds_of(content.header.stamp)
        since = t - self._seen_t
        self._seen_t = t
        try:
            state = walk_state_from(content, t, np.asarray(content.q, dtype=float)[self._order], np.asarray(content.dq, dtype=float)[self._order])
        except (BadInput, IndexError, ValueError):
            return self._left_out("not finite, or parts that do not fit", since)
        if self._faults.cover(np.array([t]))[0]:
            return self._left_out("e-stop or sensor fault", since)
        if not state.gait.walks:
            return self._left_out("standing", since)
        before, ended = self.stretch, None
        phase = float(state.gait.phase)
        if before is not None:
            phase = before.phase[-1] + (phase - before.phase[-1] + 0.5) % 1.0 - 0.5
            frequency = self._robot.gait.frequency
            behind = (phase - before.phase[0]) / frequency - (t - before.t[0])
            if content.epoch != before.epoch or not 0 < since < self._gap_s or abs(behind) > BEHIND_S:
                ended, phase = self.end(), float(state.gait.phase)
        if self.stretch is None:
            self.stretch = Stretch(epoch=content.epoch)
        self.stretch.t.append(t)
        self.stretch.x.append(state.x())
        self.stretch.phase.append(phase)
        return ended

    def end(self) -> Stretch | None:
        """The stretch until now; a new one begins."""
        ended, self.stretch = self.stretch, None
        return ended

    def _left_out(self, why: str, since: float) -> Stretch | None:
        self._harvest.cut(why, float(since) if 0 < since < self._gap_s else 0.0)
        return self.end()


def _pieces(stretch: Stretch, robot: LeggedConfig, harvest: Harvest, lengths: Cut) -> Iterator[WalkRun]:
    """Runs on the grid of the plan step."""
    t, x, turn = np.array(stretch.t), np.array(stretch.x), 2 * np.pi * np.array(stretch.phase)
    part, dt = layout(robot.n), 1.0 / robot.rates.plan_hz
    first, last = float(t[0]), float(t[-1])
    while last - first >= LEAST_PIECE_S:
        until = min(last, first + lengths.piece_s)
        grid = np.arange(first, until + 1e-6 * dt, dt)
        on_grid = np.stack([np.interp(grid, t, column) for column in x.T], axis=1)
        phase = np.interp(grid, t, turn)
        on_grid[:, part["clock"]] = np.stack([np.sin(phase), np.cos(phase)], axis=1)
        on_grid[:, part["up"]] /= np.linalg.norm(on_grid[:, part["up"]], axis=1, keepdims=True)
        yield WalkRun(x=on_grid, u=on_grid[1:, part["strides"]].copy(), kicked=np.zeros(len(grid) - 1))
        first = until + lengths.between_s
    harvest.cut("between pieces, or too short", max(0.0, last - first))
