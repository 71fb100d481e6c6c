"""The planner of subgoals as one torch module, made to be exported: the cross-entropy method over chains of configurations.

A chain is m configurations, the robot at rest in each; the last one is brought to the goal by damped least squares. Whether
a link can be walked, and how long it takes, is what the temporal difference model says of it (Pong et al. 2018, equation 8,
with f in the place of the constraint): f for some tau gives the way between, whose capsules are held against the obstacles.
The objective follows LEAP (Nasiriany et al. 2019): the worst link counts.

One module is a round, another says what came of it; `taustack.models.tdm.chain_graph` makes one graph of all rounds.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taustack.config import Clearance
from taustack.kinematics import KinematicChain
from taustack.models.tdm.learner import TDMLearner
from taustack.models.tdm.networks import first_twin
from taustack.obstacles import point_distances
from taustack.tdm_arm import at_rest, joint_state
from taustack.tdm_layout import ChainSpec

REACHED = 0.05
"""A joint this near to its place counts as there [rad or m]."""
LEAST_STEP = 0.02
"""Of the distance left between two looks, in the estimate of when a joint is there [rad or m]: less is not told from none in single precision."""
UNREACHED_S, ASTRAY_S, BLOCKED_S, LIMIT_S, TRAVEL_S = 8.0, 30.0, 4.0, 1.0, 0.2
"""What it costs that a link stays short of its end by 1 rad or m, the way of the goal by 1 m, that a place on the way lies at an obstacle,
that a joint of a subgoal stands at its limit, and that the joints move by 1 rad or m in the mean, all in seconds. The last one tells chains apart
that take equally long: time is that of the slowest joint."""
LIMIT_MARGIN = 0.1
"""Share of each joint's range, at either end, in which a subgoal costs."""
ARM_MARGIN_M = 0.02
"""Kept to floor and base column by what clears them."""
BETWEEN = 3
"""Places that are looked at from one known state of a link to the next."""
DAMPING_M = 0.05
DIFFERENCE = 0.01
"""For the Jacobian [rad or m]: in single precision a smaller one is less exact."""
QUANTILES_APART = 2.563
"""Of a normal distribution, 10 and 90 %, in its deviations."""
SMOOTHING = 0.1
"""Share of the old mean and deviation in the new ones."""


class ChainStep(nn.Module):
    """See the module.

    Args:
        learner: whose f and policy are planned over; goals are joint positions.
        chain: kinematics of the tip, the spheres of `clearance` and the capsules.
        spec: shapes.
        clearance: radii, floor and column.
        q_limits: lower and upper (n,).
    """

    def __init__(
        self, learner: TDMLearner, chain: KinematicChain, spec: ChainSpec, clearance: Clearance, q_limits: tuple[NDArray[np.float64], NDArray[np.float64]]
    ) -> None:
        super().__init__()
        self.reach, self.policy, self.spec = first_twin(learner.reach), learner.policy, spec
        self.chain, self.points, self.clearance, self.dt = chain, chain.of_points, clearance, learner.layout.dt
        self.quantiles = max(1, len(learner.config.quantiles))
        low, high = (torch.tensor(limit, dtype=torch.float32) for limit in q_limits)
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        self.register_buffer("radius", torch.tensor(chain.capsules, dtype=torch.float32).repeat(3))
        self.register_buffer("spheres", torch.tensor([sphere.radius for sphere in clearance.spheres], dtype=torch.float32))
        self.register_buffer("taus", torch.tensor(spec.taus, dtype=torch.float32))
        self.low: Tensor
        self.high: Tensor
        self.radius: Tensor
        self.spheres: Tensor
        self.taus: Tensor

    def forward(
        self, x: Tensor, goal: Tensor, obstacles: Tensor, margin: Tensor, mean: Tensor, deviation: Tensor, best: Tensor, least: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One round: x (4 n,), goal (3,), obstacles (N, 7), margin () [m], mean, deviation, best (m, n), least () [s], noise (B, m, n) -> these four anew."""
        start = joint_state(x, torch)
        q = self._drawn(x[: self.low.shape[0]], mean, deviation, noise, best, goal)
        cost = self._cost(start, x[: self.low.shape[0]], q, goal, obstacles, margin)
        at = torch.argmin(cost)
        better = cost[at] < least
        elite = q[torch.topk(cost, self.spec.elites, largest=False).indices]
        return (
            SMOOTHING * mean + (1 - SMOOTHING) * elite.mean(0), SMOOTHING * deviation + (1 - SMOOTHING) * elite.std(0),
            torch.where(better, q[at], best), torch.where(better, cost[at], least),
        )  # fmt: skip

    def _drawn(self, at: Tensor, mean: Tensor, deviation: Tensor, noise: Tensor, best: Tensor, goal: Tensor) -> Tensor:
        """Chains (B, m, n) within the limits whose last configuration is at the goal, or as near as it comes.

        The first is the mean, the second the best so far, the third leads to that one's end without a stop. Then come those of the best in
        which one joint stays where it is (`at`): samples seldom find by chance that a joint need not turn, and its turn is what takes the time.
        """
        n = at.shape[0]
        q = mean + deviation * noise
        direct = best[-1:].expand_as(best)
        still = torch.where(torch.eye(n)[:, None] > 0, at, best)
        q = torch.cat([mean[None], best[None], direct[None], still, q[3 + n :]])
        q = torch.minimum(torch.maximum(q, self.low), self.high)
        last = q[:, -1]
        for _ in range(self.spec.projections):
            last = self._nearer(last, goal)
        return torch.cat([q[:, :-1], last[:, None]], 1)

    def _nearer(self, q: Tensor, goal: Tensor) -> Tensor:
        """One step of damped least squares (Wampler 1986) of configurations (B, n) towards the tip at the goal."""
        n = q.shape[-1]
        moved = torch.cat([q[None], q + DIFFERENCE * torch.eye(n)[:, None]])
        tips = self.points.position(moved, torch).permute(2, 0, 1)
        jacobian = (tips[:, 1:] - tips[:, :1]) / DIFFERENCE
        error = goal[:, None] - tips[:, 0]
        gram = [[(jacobian[i] * jacobian[j]).sum(0) + (DAMPING_M**2 if i == j else 0.0) for j in range(3)] for i in range(3)]
        pull = _solved(gram, [error[0], error[1], error[2]])
        q = q + sum(jacobian[i] * pull[i] for i in range(3)).transpose(0, 1)
        return torch.minimum(torch.maximum(q, self.low), self.high)

    def links(self, start: Tensor, q: Tensor) -> Tensor:
        """States reached (B, m, M, quantiles, n) on the links of chains (B, m, n) for each tau, from the start (ns,) and then from rest."""
        b, m, n = q.shape
        count = self.taus.shape[0]
        starts = torch.cat([start.expand(b, 1, -1), at_rest(q[:, :-1], torch)], 1)
        s = starts[:, :, None].expand(-1, -1, count, -1).reshape(b * m * count, -1)
        g = q[:, :, None].expand(-1, -1, count, -1).reshape(b * m * count, n)
        tau = self.taus.expand(b, m, count).reshape(-1)
        f = self.reach(s, self.policy(s, g, tau), g, tau, g)[0]
        return f.reshape(b, m, count, self.quantiles, n)  # type: ignore[no-any-return]

    def times(self, begins: Tensor, q: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        """Time of each link (B, m) [s], and how far it stays from its end (B, m) beyond what counts as reached [rad or m].

        The distance left is known at each tau; between two of them it is taken as linear.
        """
        first = (q - begins).abs().amax(-1, keepdim=True)
        gap = torch.cat([first, (q[:, :, None] - f).abs().amax(-1)], -1)
        ends = torch.cat([torch.zeros(1), self.dt * (self.taus + 1.0)])
        spans = ends[1:] - ends[:-1]
        share = ((gap[..., :-1] - REACHED) / (gap[..., :-1] - gap[..., 1:]).clamp_min(LEAST_STEP)).clamp(0.0, 1.0)
        return (share * spans).sum(-1), (gap[..., -1] - REACHED).clamp_min(0.0)

    def ways(self, begins: Tensor, f: Tensor) -> Tensor:
        """Places on the way (B, m, M * BETWEEN, n): straight lines in the joints between the states that are known."""
        known = torch.cat([begins[:, :, None], f], 2)
        share = (torch.arange(BETWEEN) + 1.0)[:, None] / BETWEEN
        places = known[:, :, :-1, None] + share * (known[:, :, 1:, None] - known[:, :, :-1, None])
        return places.flatten(2, 3)

    def depth(self, ways: Tensor, obstacles: Tensor, margin: Tensor) -> Tensor:
        """Depth in the margin (B, ...) summed over capsules and obstacles, 1 at contact, and that of floor and column."""
        at = self.chain.components(torch.moveaxis(ways, ways.dim() - 1, 0), torch)
        own = len(self.points.points)
        a, b = at[:, own::2], at[:, own + 1 :: 2]
        room = point_distances(torch.cat([a, b, 0.5 * (a + b)], 1), obstacles, torch) - self._along(self.radius, at)
        depth: Tensor = (1.0 - room / margin).clamp_min(0.0).sum((0, 1))
        if not len(self.spheres):
            return depth
        x, y, z = at[:, 1:own]
        about = self.clearance
        gap = torch.maximum(torch.sqrt(x * x + y * y + 1e-9) - about.column_radius, z - about.column_height)
        gap = torch.minimum(z - about.floor, gap) - self._along(self.spheres, at)
        whole: Tensor = depth + (1.0 - gap / ARM_MARGIN_M).clamp(0.0, 2.0).sum(0)
        return whole

    @staticmethod
    def _along(radius: Tensor, at: Tensor) -> Tensor:
        """Radii (P,) beside points (3, P, ...)."""
        return radius[(..., *(None,) * (at.dim() - 2))]

    def _cost(self, start: Tensor, at: Tensor, q: Tensor, goal: Tensor, obstacles: Tensor, margin: Tensor) -> Tensor:
        """Cost (B,) of chains [s]: their time, and what hinders them."""
        begins = torch.cat([at.expand(q.shape[0], 1, -1), q[:, :-1]], 1)
        f = self.links(start, q)[:, :, :, self.quantiles // 2]
        times, short = self.times(begins, q, f)
        blocked = self.depth(self.ways(begins, f), obstacles, margin).clamp_max(3.0).mean(2)
        astray = torch.sqrt(((self.points.position(q[:, -1], torch) - goal) ** 2).sum(-1) + 1e-12)
        edge = LIMIT_MARGIN * (self.high - self.low)
        limit = ((torch.maximum(q - (self.high - edge), self.low + edge - q) / edge).clamp_min(0.0) ** 2).sum((1, 2))
        travel = (q - begins).abs().mean(-1).sum(1)
        return (
            times.sum(1)
            + TRAVEL_S * travel
            + UNREACHED_S * short.amax(1)
            + ASTRAY_S * astray
            + self.taus.shape[0] * BLOCKED_S * blocked.sum(1)
            + LIMIT_S * limit
        )


class ChainAccount(nn.Module):
    """What is to be said of a chain: where its tips are, how long it takes, and what is left to the goal when it was walked."""

    def __init__(self, step: ChainStep) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor, goal: Tensor, obstacles: Tensor, chain: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x (4 n,), goal (3,), obstacles (N, 7), chain (m, n) -> places (m, 3) [m], times (m,) [s], left () [m], spread () [m], touching ()."""
        step, n = self.step, chain.shape[-1]
        q = chain[None]
        begins = torch.cat([x[None, None, :n], q[:, :-1]], 1)
        f = step.links(joint_state(x, torch), q)
        middle = f[:, :, :, step.quantiles // 2]
        times, _ = step.times(begins, q, middle)
        end = middle[0, -1, -1]
        moved = torch.cat([end[None], end + DIFFERENCE * torch.eye(n)])
        tips = step.points.position(torch.cat([chain, moved]), torch)
        places, tips = tips[: chain.shape[0]], tips[chain.shape[0] :]
        left = torch.sqrt(((tips[0] - goal) ** 2).sum() + 1e-12)
        # Of independent joints with a normal error each: the lowest and highest quantiles are those of 10 and 90 %.
        wide = (f[0, -1, -1, -1] - f[0, -1, -1, 0]) / QUANTILES_APART
        spread = torch.sqrt((((tips[1:] - tips[:1]) / DIFFERENCE * wide[:, None]) ** 2).sum() + 1e-12)
        touching = (step.depth(step.ways(begins, middle), obstacles, torch.tensor(1e-3)) > 1.0).to(torch.float32).sum()
        return places, times[0], left, spread, touching


def _solved(gram: list[list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """Solution of 3 x 3 systems by cofactors."""
    (a, b, c), (_, d, e), (_, _, f) = gram
    ca, cb, cc = d * f - e * e, c * e - b * f, b * e - c * d
    determinant = a * ca + b * cb + c * cc
    inverse = [[ca, cb, cc], [cb, a * f - c * c, b * c - a * e], [cc, b * c - a * e, a * d - b * b]]
    return [sum(row[i] * right[i] for i in range(3)) / determinant for row in inverse]
