"""Cost terms: what they prefer, and that numpy and torch agree."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from taustack.config import Clearance, Sphere
from taustack.controllers.costs import COST_TERMS
from taustack.controllers.costs.posture import RESOLUTION
from taustack.rollout import Rollout

H, K, N = 6, 4, 3


def rollout(**changes: Any) -> Rollout:
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        "q": rng.normal(size=(H, K, N)), "dq": rng.normal(size=(H, K, N)), "u": rng.normal(size=(H, K, N)), "dq_ref": rng.normal(size=N),
        "ee": rng.normal(size=(3, H, K)), "spheres": rng.normal(size=(3, 2, H, K)) * 0.2,
        "clearance": Clearance(floor=0.0, column_radius=0.1, column_height=0.3, spheres=(Sphere(site="a", radius=0.05), Sphere(site="b", radius=0.1))),
        "room": rng.normal(size=(2, 3, H // 2, K)) * 0.05,
        "goal": rng.normal(size=3), "posture": rng.normal(size=N), "tau": np.array(2.0), "disagreement": rng.random((5, K)),
        "q_min": np.full(N, -1.0), "q_max": np.full(N, 1.0), "velocity_limit": np.full(N, 2.0), "rate_limit": np.full(N, 0.2),
        "load": rng.normal(size=(H, K, N)),
    }  # fmt: skip
    return Rollout(**(values | changes))


@pytest.mark.parametrize("name", COST_TERMS)
def test_numpy_and_torch_give_the_same_cost_a_sample(name: str) -> None:
    ours = rollout()
    fields = {f.name: getattr(ours, f.name) for f in dataclasses.fields(Rollout)}
    theirs = Rollout(**{key: value if isinstance(value, Clearance) else torch.tensor(value) for key, value in fields.items()})
    cost = COST_TERMS[name](ours, np)
    assert cost.shape == (K,)
    np.testing.assert_allclose(COST_TERMS[name](theirs, torch).numpy(), cost, atol=1e-9)


def test_goal_position_prefers_the_nearer_path_and_counts_from_tau_on() -> None:
    ee = np.zeros((3, H, K))
    ee[:, :, 0] = 0.5
    ee[:, :2, 1] = 0.5  # far before tau, there afterwards
    cost = COST_TERMS["goal_position"](rollout(ee=ee, goal=np.zeros(3), tau=np.array(3.0)), np)
    assert cost[0] > cost[1]
    assert cost[1] == pytest.approx(cost[2])


def test_joint_limits_cost_nothing_inside_and_one_at_the_limit() -> None:
    q = np.zeros((H, K, N))
    q[:, 1, 0] = 1.0
    cost = COST_TERMS["joint_limits"](rollout(q=q), np)
    assert cost[0] == 0.0
    assert cost[1] == pytest.approx(1.0)


def test_load_costs_nothing_below_its_free_share_and_one_at_the_limit() -> None:
    share = np.full((H, K, N), 0.69)
    share[:, 1, 0] = -1.0
    share[:, 2, :2] = 1.0
    np.testing.assert_allclose(COST_TERMS["load"](rollout(load=share), np), [0.0, 1.0, 2.0, 0.0], atol=1e-12)


def test_clearance_rises_towards_the_floor_and_the_column() -> None:
    spheres = np.full((3, 2, H, K), 2.0)
    spheres[:, 0, :, 1] = np.array([[1.0], [0.0], [0.05]])  # a sphere of 0.05 m touches the floor
    spheres[:, 1, :, 2] = np.array([[0.2], [0.0], [0.2]])  # a sphere of 0.1 m touches the column
    spheres[:, 1, :, 3] = np.array([[0.0], [0.0], [0.6]])  # above the column
    cost = COST_TERMS["clearance"](rollout(spheres=spheres), np)
    np.testing.assert_allclose(cost, [0.0, 1.0, 1.0, 0.0], atol=1e-6)


def test_obstacles_cost_nothing_beyond_the_margin_one_at_contact_and_linearly_more_inside() -> None:
    room = np.full((1, 2, H // 2, K), 0.04)
    room[0, 0, :, 1], room[0, 1, :, 2], room[0, :, :, 3] = 0.0, 0.02, -0.04
    np.testing.assert_allclose(COST_TERMS["obstacles"](rollout(room=room), np), [0.0, 1.0, 0.25, 6.0], atol=1e-12)
    np.testing.assert_array_equal(COST_TERMS["obstacles"](rollout(room=room[:0]), np), np.zeros(K))


def test_smoothness_is_one_for_changes_at_the_rate_limit() -> None:
    u = 0.2 * np.arange(1, H + 1)[:, None, None] * np.ones((1, K, N))
    assert COST_TERMS["smoothness"](rollout(u=u, dq_ref=np.zeros(N)), np) == pytest.approx(np.ones(K))


def test_velocity_and_disagreement_are_zero_for_rest_and_agreement() -> None:
    still = rollout(dq=np.zeros((H, K, N)), disagreement=np.zeros((5, K)))
    assert np.all(COST_TERMS["velocity"](still, np) == 0)
    assert np.all(COST_TERMS["disagreement"](still, np) == 0)


def test_terminal_prefers_to_end_at_the_goal_and_at_rest() -> None:
    ee, dq = np.zeros((3, H, K)), np.zeros((H, K, N))
    ee[:, -1, 1] = 0.1
    dq[-1, 2] = 1.0
    cost = COST_TERMS["terminal"](rollout(ee=ee, dq=dq, goal=np.zeros(3)), np)
    assert cost[0] < cost[1]
    assert cost[0] < cost[2]


def test_posture_is_least_where_it_is_asked_for() -> None:
    wanted = np.linspace(-0.5, 0.5, N)
    there, near, far = (COST_TERMS["posture"](rollout(posture=wanted, q=np.broadcast_to(wanted + off, (H, K, N))), np) for off in (0.0, 0.1, 0.5))
    assert (there < near).all()
    assert (near < far).all()
    np.testing.assert_allclose(there, np.log(RESOLUTION**2))
