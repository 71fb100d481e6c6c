"""Subgoals over a temporal difference model of the joints: chains of configurations, each within reach of the one before.

The search itself is one ONNX graph (`taustack.models.tdm.chain_step`); here it is begun, kept warm and read. What comes out
is a place for the end effector, the time to be there, and what is left to the goal if the whole chain is walked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig, SubgoalConfig
from taustack.controllers.subgoals import Subgoal
from taustack.controllers.tdm_bundle import TDMBundle
from taustack.errors import PlanFailed
from taustack.layout import RobotState
from taustack.obstacles import Obstacle, obstacle_rows

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
BEGINNINGS = 6
"""Searches for a new goal: from here, and from random configurations. Of the choices after it, every other one goes on with the chain of
before, and every other one tries another beginning: a cycle is one search."""
WIDE, NARROW = 0.15, 0.04
"""Deviations of a search from nothing, and of one around the choice before, as shares of the joints' ranges."""
PASSED = 0.12  # a configuration is passed when no joint is further from it [rad or m]
BETTER_S = 0.15  # another beginning must be better by so much, or the way would change for nothing
MARGIN = 0.02  # share of each joint's range that is left at its limits


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What the graph gives: see its OUTPUTS."""

    q: FloatArray
    places: FloatArray
    times: FloatArray
    left: float
    spread: float
    touching: float
    cost: float


class TDMSubgoals:
    """See the module. Deterministic by the seed.

    Args:
        robot: joint limits.
        config: of the search; tolerance that counts as reached.
        model: verified graphs.
        tolerance: of the goal [m].
        obstacles: what is in the way.
        seed: of the samples.
    """

    def __init__(
        self, robot: RobotConfig, config: SubgoalConfig, model: TDMBundle, tolerance: float, obstacles: Sequence[Obstacle] = (), seed: int = 0
    ) -> None:
        self.robot, self.config, self.model, self.tolerance, self._seed = robot, config, model, tolerance, seed
        self._spec = model.spec.chain
        self._session = model.plan
        self._range = robot.q_max - robot.q_min
        self._low, self._high = robot.q_min + MARGIN * self._range, robot.q_max - MARGIN * self._range
        self.set_obstacles(obstacles)
        self.reset()

    def set_obstacles(self, obstacles: Sequence[Obstacle]) -> None:
        """What is in the way from now on."""
        self._rows = obstacle_rows(obstacles).astype(np.float32)

    def reset(self) -> None:
        """Another goal: search from nothing."""
        self._rng = np.random.default_rng(self._seed)
        self._chain: Chain | None = None
        self._looks_around = True

    def choose(self, state: RobotState, goal: FloatArray) -> Subgoal:
        """The first configuration of the cheapest chain that is not passed yet; the goal itself where it is the last.

        Raises:
            PlanFailed: state or goal is not finite.
        """
        if not (np.isfinite(state.x()).all() and np.isfinite(goal).all()):
            raise PlanFailed(f"state or goal is not finite: x {state.x()}, goal {goal}")
        x = state.x()
        if self._chain is None:
            found = [self._search(x, goal, mean, WIDE) for mean in self._beginnings(state.q)]
            self._chain = min(found, key=lambda chain: chain.cost)
        elif self._looks_around:
            other = self._search(x, goal, self._beginnings(state.q)[int(self._rng.integers(1, BEGINNINGS))], WIDE)
            # What is kept was judged a cycle ago, and has become shorter by that since.
            self._chain = other if other.cost < self._chain.cost - 1 / self.config.rate_hz - BETTER_S else self._chain
        else:
            self._chain = self._search(x, goal, self._without_passed(state.q, self._chain.q), NARROW)
        self._looks_around = not self._looks_around
        return self._subgoal(state, goal, self._chain)

    def _beginnings(self, q: FloatArray) -> list[FloatArray]:
        """Chains (m, n) to begin a search with: towards here, and towards random configurations."""
        m = self._spec.links
        ends = [q, *self._rng.uniform(self._low, self._high, (BEGINNINGS - 1, self.robot.n))]
        return [q + (np.arange(m) + 1)[:, None] / m * (end - q) for end in ends]

    def _without_passed(self, q: FloatArray, chain: FloatArray) -> FloatArray:
        """The chain of before, without the configuration that the robot has come to; its end stands twice then."""
        if len(chain) > 1 and np.abs(chain[0] - q).max() < PASSED:
            return np.vstack([chain[1:], chain[-1:]])
        return chain

    def _search(self, x: FloatArray, goal: FloatArray, mean: FloatArray, deviation: float) -> Chain:
        spec, n = self._spec, self.robot.n
        feed = {
            "x": x, "goal": goal, "mean": np.clip(mean, self._low, self._high), "deviation": np.tile(deviation * self._range, (spec.links, 1)),
            "noise": self._rng.standard_normal((spec.rounds, spec.samples, spec.links, n), dtype=np.float32), "obstacles": self._rows,
            "margin": self.config.margin,
        }  # fmt: skip
        out = [np.asarray(value, np.float64) for value in self._session.run(None, {name: np.asarray(value, np.float32) for name, value in feed.items()})]
        q, places, times = out[:3]
        left, spread, touching, cost = (float(value) for value in out[3:])
        return Chain(q=q, places=places, times=times, left=left, spread=spread, touching=touching, cost=cost)

    def _subgoal(self, state: RobotState, goal: FloatArray, chain: Chain) -> Subgoal:
        """The first stop that is neither passed nor at the end."""
        last = len(chain.q) - 1
        stops = [i for i in range(last) if np.abs(chain.q[i] - state.q).max() > PASSED and np.abs(chain.q[i] - chain.q[last]).max() > PASSED]
        first = stops[0] if stops else last
        way = np.vstack([state.ee, chain.places[[*stops, last]][:-1], goal])
        seconds = float(chain.times.sum())
        return Subgoal(
            point=goal if first == last else chain.places[first], posture=chain.q[first], tau_s=float(chain.times[: first + 1].sum()), chain=way,
            time_s=seconds, free=chain.touching == 0, left_m=chain.left, probability=self._probability(chain),
        )  # fmt: skip

    def _probability(self, chain: Chain) -> float | None:
        """That the chain ends within the tolerance; None of a model without quantiles."""
        if not self.model.contract.quantiles:
            return None
        z = [(bound - chain.left) / max(1e-6, chain.spread) / math.sqrt(2) for bound in (self.tolerance, -self.tolerance)]
        return 0.5 * (math.erf(z[0]) - math.erf(z[1]))
