"""Subgoals without learning: the cross-entropy method over a chain of points with straight lines between them.

The simplest thing that leads around obstacles, and the baseline for any learned planner of subgoals. It knows the end
effector alone: that the rest of the arm keeps clear is left to the plan below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig, SubgoalConfig
from taustack.controllers.subgoals import Subgoal
from taustack.layout import RobotState
from taustack.obstacles import Obstacle, obstacle_rows, point_distances

FloatArray = NDArray[np.float64]
LOOKS = 16  # places on each link where the distance to the obstacles is looked at
BLOCKED = 100.0  # cost [m] of a link that goes through an obstacle by the whole clearance
KEEPS, FREE = 0.9, 0.5  # shares of the clearance: of a line that needs no subgoal, and of a way that counts as free
SMOOTHING = 0.1  # share of the old mean and deviation in the new ones
REACHED_M = 0.04  # a subgoal this near is passed


class StraightLines:
    """See the module. Deterministic by the seed.

    Args:
        robot: its workspace bounds the subgoals, its clearance the floor and the column around its base.
        config: of the search.
        obstacles: what is in the way.
        seed: of the samples.
    """

    def __init__(self, robot: RobotConfig, config: SubgoalConfig, obstacles: Sequence[Obstacle] = (), seed: int = 0) -> None:
        self.robot, self.config, self._seed = robot, config, seed
        space = robot.workspace
        self._low, self._high = np.array(space.low), np.array(space.high)
        self.set_obstacles(obstacles)
        self.reset()

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from now on."""
        self._rows = obstacle_rows(obstacles)

    def reset(self) -> None:
        """Begin with the straight line again."""
        self._rng = np.random.default_rng(self._seed)
        self._points: FloatArray | None = None

    def choose(self, state: RobotState, goal: FloatArray) -> Subgoal:
        """The first point of the cheapest chain; the goal itself where the straight line is free."""
        direct = np.stack([state.ee, goal])
        if self._least(direct) > KEEPS:
            self._points = None
            return self._subgoal(direct, free=True)
        points = self._search(state.ee, goal)
        self._points = points
        chain = np.vstack([state.ee, points, goal])
        while len(chain) > 2 and np.linalg.norm(chain[1] - chain[0]) < REACHED_M:
            chain = np.delete(chain, 1, 0)
        while len(chain) > 2 and self._least(chain[[0, 2]]) > KEEPS:  # a point that can be left out
            chain = np.delete(chain, 1, 0)
        return self._subgoal(chain, free=self._least(chain) > FREE)

    def _search(self, start: FloatArray, goal: FloatArray) -> FloatArray:
        """The cross-entropy method over points (P, 3), from those of the choice before."""
        config, count = self.config, self.config.points
        share = (np.arange(count) + 1)[:, None] / (count + 1)
        line = start + share * (goal - start)
        mean = line if self._points is None else self._points
        deviation = np.full((count, 3), 0.25 if self._points is None else 0.08)
        best, least = mean, np.inf
        for _ in range(config.rounds if self._points is None else max(2, config.rounds // 3)):
            drawn = mean + deviation * self._rng.normal(size=(config.samples, count, 3))
            drawn[0], drawn[1] = mean, best
            drawn = np.clip(drawn, self._low, self._high)
            ends = np.broadcast_to(np.stack([start, goal]), (config.samples, 2, 3))
            cost = self._cost(np.concatenate([ends[:, :1], drawn, ends[:, 1:]], 1))
            order = np.argsort(cost, kind="stable")
            if cost[order[0]] < least:
                best, least = drawn[order[0]], float(cost[order[0]])
            elite = drawn[order[: max(2, round(config.elites * config.samples))]]
            mean = SMOOTHING * mean + (1 - SMOOTHING) * elite.mean(0)
            deviation = SMOOTHING * deviation + (1 - SMOOTHING) * elite.std(0)
        return best

    def _cost(self, chains: FloatArray) -> FloatArray:
        """Length (B,) [m] of chains (B, m, 3), and what it costs that links are near to obstacles or subgoals out of reach."""
        cost = self._length(chains) + BLOCKED * self._missing(chains).mean(-1).sum(-1)
        space = self.robot.workspace
        inner = chains[:, 1:-1]
        beyond = np.linalg.norm(inner - np.asarray(space.centre), axis=-1) - 0.95 * space.radius
        return np.asarray(cost + BLOCKED * np.clip(beyond, 0.0, None).sum(-1))

    def _missing(self, chains: FloatArray) -> FloatArray:
        """Share of the clearance that is missing at places on the links of chains (B, m, 3): (B, m - 1, LOOKS), more than 1 inside."""
        at = np.linspace(0.0, 1.0, LOOKS)[:, None]
        places = chains[:, :-1, None] + at * (chains[:, 1:, None] - chains[:, :-1, None])
        room = self._room(places)
        # Where the way begins or ends nearer than the clearance, no more is asked for there than can be had.
        need = np.full_like(room, self.config.clearance)
        for end, have in ((chains[:, 0], room[:, 0, 0]), (chains[:, -1], room[:, -1, -1])):
            away = np.linalg.norm(places - end[:, None, None], axis=-1)
            need = np.minimum(need, have[:, None, None] + 0.7 * away)
        return np.clip(need - room, 0.0, None) / max(1e-9, self.config.clearance)

    def _room(self, places: FloatArray) -> FloatArray:
        """Distance (...,) [m] of places (..., 3) to what is nearest: an obstacle, the floor, the column around the base."""
        about = self.robot.clearance
        column = np.maximum(np.hypot(places[..., 0], places[..., 1]) - about.column_radius, places[..., 2] - about.column_height)
        own = np.minimum(column, places[..., 2] - about.floor)
        return np.asarray(np.minimum(own, point_distances(np.moveaxis(places, -1, 0), self._rows).min(0, initial=np.inf)))

    def _least(self, chain: FloatArray) -> float:
        """Share of the clearance that a chain (m, 3) keeps where it keeps least."""
        return 1.0 - float(self._missing(chain[None]).max())

    @staticmethod
    def _length(chains: FloatArray) -> FloatArray:
        return np.asarray(np.linalg.norm(np.diff(chains, axis=1), axis=-1).sum(-1))

    def _subgoal(self, chain: FloatArray, *, free: bool) -> Subgoal:
        seconds = float(self._length(chain[None])[0]) / self.config.speed
        return Subgoal(point=chain[1], tau_s=0.0, chain=chain, time_s=seconds, free=free)
