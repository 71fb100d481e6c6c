"""The plan step as one torch module, made to be exported: rollout over H, kinematics, cost terms, MPPI's update.

Only the dynamics is sequential. What follows from the actions alone (the reference) is computed once for all steps before the
loop, kinematics and costs once after it, those of obstacles only if there are any. Normalisers and output scales
are folded into the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taustack.config import Clearance
from taustack.kinematics import KinematicChain
from taustack.models.ensemble import DynamicsEnsemble, asked_torque
from taustack.models.mppi_update import Softmax, by_next_member, limited
from taustack.models.only_if import only_if_any
from taustack.obstacles import capsule_distances
from taustack.rollout import ActionBounds, CostTerm, Rollout

INPUTS = ("x", "goal", "posture", "tau", "trust", "mean", "noise", "weights", "temperature", "obstacles")
OUTPUTS = ("mean_next", "states", "cost", "disagreement", "sample_cost", "effective_samples", "nonfinite_samples")
DISAGREEMENT_STEPS = 5
OBSTACLE_STEPS = 3
"""The distance to obstacles is looked at this often: in between, a fast link moves less than it is thick with the margin on both sides."""


class FoldedDynamics(nn.Module):
    """The ensemble on the tracking error z = [q - q_ref, dq - dq_ref], and its torque, normalisers folded into the weights.

    First layer: h = [sin q, cos q, z, r] A, where r = [u - dq_ref, dq_ref, 1] needs no state and is known ahead.
    """

    def __init__(self, model: DynamicsEnsemble) -> None:
        super().__init__()
        n, scale = model.n, model.feature_std
        with torch.no_grad():
            first = model.weights[0] / scale[:, None]
            bias = model.biases[0] - ((model.feature_mean / scale) @ model.weights[0]).unsqueeze(1)
            sin, cos, dq, e_q, e_dq, rate = first.split(n, 1)
            # Features of the network are dq = dq_ref + z_dq, q_ref - q = -z_q, dq_ref - dq = -z_dq.
            self.first = nn.Parameter(torch.cat([sin, cos, -e_q, dq - e_dq, rate, dq, bias], 1))
            self.hidden = nn.ParameterList([nn.Parameter(w.detach().clone()) for w in model.weights[1:-1]])
            self.hidden_bias = nn.ParameterList([nn.Parameter(b.detach().clone()) for b in model.biases[1:-1]])
            out, targets = model.weights[-1], model.n_targets
            self.out = nn.Parameter(out[..., :targets] * model.target_std)
            self.out_bias = nn.Parameter(model.biases[-1][..., :targets] * model.target_std + model.target_mean)
        self.prismatic = torch.tensor(model.prismatic)
        self.any_prismatic = any(model.prismatic)

    def forward(self, q: Tensor, z: Tensor, reference: Tensor) -> Tensor:
        """q (..., E, B, n), z (..., E, B, 2 n), r (..., E, B, 2 n + 1) -> change of z (..., E, B, 2 n) and torque beyond the law's (..., E, B, n), joined."""
        sin, cos = torch.sin(q), torch.cos(q)
        if self.any_prismatic:
            sin, cos = torch.where(self.prismatic, q, sin), torch.where(self.prismatic, torch.zeros_like(q), cos)
        h = nn.functional.silu(torch.cat([sin, cos, z, reference], -1) @ self.first)
        for weight, bias in zip(self.hidden, self.hidden_bias, strict=True):
            h = nn.functional.silu(h @ weight + bias)
        return h @ self.out + self.out_bias


class MPPIPlanStep(nn.Module):
    """One MPPI update for K samples, K a multiple of E: sample k keeps its member for the whole rollout (TS-infinity).

    The softmax is over -(S - min S) / temperature and weights the actions that were really rolled out, after their
    limits (Williams et al. 2017, eq. 34; the noise that was applied, not the noise that was drawn). Actions keep to the
    velocity bound and to the rate bound from step to step; both sets are convex, so the weighted mean keeps to them too.
    After `trust` steps nothing is sampled: each rollout comes to rest there.
    """

    def __init__(
        self, model: DynamicsEnsemble, chain: KinematicChain, terms: Sequence[CostTerm], bounds: ActionBounds,
        clearance: Clearance,
        q_limits: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> None:  # fmt: skip
        super().__init__()
        self.dynamics = FoldedDynamics(model)
        self.members, self.n, self.dt = model.config.members, model.n, model.dt
        self.chain, self.capsules = chain.of_points, chain.of_capsules
        self.terms, self.clearance = tuple(terms), clearance
        self.learned = nn.ModuleList([term for term in terms if isinstance(term, nn.Module)])
        buffers = {
            "velocity_limit": bounds.velocity, "rate_limit": bounds.rate, "q_min": q_limits[0], "q_max": q_limits[1],
        }  # fmt: skip
        for name, value in buffers.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        self.register_buffer("capsule_radius", torch.tensor(chain.capsules, dtype=torch.float32))
        self.register_buffer("law", model.law.clone())
        self.register_buffer("change_std", model.target_std[: 2 * model.n].clone())
        self.velocity_limit: Tensor
        self.rate_limit: Tensor
        self.q_min: Tensor
        self.q_max: Tensor
        self.capsule_radius: Tensor
        self.law: Tensor
        self.change_std: Tensor

    def forward(
        self, x: Tensor, goal: Tensor, posture: Tensor, tau: Tensor, trust: Tensor, mean: Tensor, noise: Tensor, weights: Tensor, temperature: Tensor,
        obstacles: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
        """x (4 n,), goal (3,), posture (n,), tau (), trust (), mean (H, n), noise (H, K, n), weights (T,), temperature (), obstacles (N, 7) -> OUTPUTS.

        mean_next (H, n), states (H+1, 4 n) expected over the samples, cost (T,) expected per term, disagreement (S,),
        sample_cost (K,) (3e38 where not finite), effective_samples (), nonfinite_samples ().
        """
        e, n = self.members, self.n
        k = int(noise.shape[1])  # for good: to the exporter it is a tensor

        def wide(values: Tensor) -> Tensor:
            return values.expand(k, n)  # a value a joint as one a sample and joint: what is broadcast over the last axis takes five times as long

        q, dq, q_ref, dq_ref = x.split(n)
        velocity_limit, rate_limit = wide(self.velocity_limit), wide(self.rate_limit)
        ahead = torch.arange(mean.shape[0]).reshape(-1, 1, 1)
        u = limited((mean.unsqueeze(1) + noise) * (ahead < trust), dq_ref, velocity_limit, rate_limit)
        before = torch.cat([dq_ref.expand(1, k, n), u[:-1]], 0)
        references = q_ref + torch.cumsum(0.5 * self.dt * (before + u), 0)
        z0 = torch.cat([q - q_ref, dq - dq_ref]).expand(1, e, k // e, 2 * n)
        z, torque, odds = self._rollout(u, before, references, q_ref, z0)
        q_all, dq_all = references + z[..., :n], u + z[..., n:]
        points = self.chain.components(q_all.permute(2, 0, 1), torch)
        looks = q_all[(mean.shape[0] - 1) % OBSTACLE_STEPS :: OBSTACLE_STEPS]  # the last step is one of them
        ends = self.capsules.components(looks.permute(2, 0, 1), torch)
        rollout = Rollout(
            q=q_all, dq=dq_all, u=u, dq_ref=dq_ref, ee=points[:, 0], spheres=points[:, 1:], clearance=self.clearance, goal=goal,
            posture=wide(posture), tau=tau,
            room=only_if_any(obstacles, capsule_distances(ends, self.capsule_radius, obstacles, torch)),
            disagreement=odds, q_min=wide(self.q_min), q_max=wide(self.q_max),
            velocity_limit=velocity_limit, rate_limit=rate_limit, load=torque / wide(self.law[2]),
        )  # fmt: skip
        terms = torch.stack([term(rollout, torch) for term in self.terms])
        over = Softmax.of(weights @ terms, temperature)
        states = torch.cat([q_all, dq_all, references, u], -1)
        expected = torch.cat([x.unsqueeze(0), over.of_vectors(states)], 0)
        return (
            over.of_vectors(u), expected, over.of_numbers(terms), over.of_numbers(odds), over.cost, over.effective_samples, over.missing,
        )  # fmt: skip

    def _rollout(self, u: Tensor, before: Tensor, references: Tensor, q_ref: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tracking errors (H, K, 2 n) and torques (H, K, n) after each step, and the disagreement (S, K) with the next member at S steps.

        z (1, E, K / E, 2 n). What is known ahead is cut into its steps once; these keep an axis of one step: taking it off costs a node of the
        graph for each.
        """
        e, n = self.members, self.n
        horizon, k = int(u.shape[0]), int(u.shape[1])  # for good: to the exporter they are tensors

        def steps(values: Tensor) -> tuple[Tensor, ...]:
            cut: tuple[Tensor, ...] = values.reshape(horizon, e, k // e, -1).split(1)
            return cut

        reference = steps(torch.cat([u - before, before, torch.ones_like(u[..., :1])], -1))
        starts = steps(torch.cat([q_ref.expand(1, k, n), references[:-1]], 0))
        asked = {round((i + 1) * horizon / DISAGREEMENT_STEPS) - 1 for i in range(DISAGREEMENT_STEPS)}
        out, torques, seen = [], [], []
        for t in range(horizon):
            q = starts[t] + z[..., :n]
            change, beyond = self.dynamics(q, z, reference[t]).split([2 * n, n], -1)
            if t in asked:
                seen.append((q, z, reference[t], change))
            z = z + change
            out.append(z)
            torques.append(beyond)
        errors = torch.cat(out).reshape(horizon, k, 2 * n)
        q, z, known, change = (torch.cat(parts, -2) for parts in zip(*seen, strict=True))  # (1, E, S K / E, ...)
        gap = (by_next_member(self.dynamics, q, z, known)[..., : 2 * n] - change) / self.change_std
        # Half the squared difference of two members is an unbiased estimate of the members' variance.
        odds = torch.sqrt((0.5 * gap * gap).mean(-1)).reshape(e, len(seen), k // e).transpose(0, 1).reshape(len(seen), k)
        law = self.law.unsqueeze(1).expand(3, k, n)
        return errors, asked_torque(law, errors) + torch.cat(torques).reshape(horizon, k, n), odds
