"""Distances to obstacles against MuJoCo's own, and what is refused as an obstacle."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.obstacles import Obstacle, capsule_distances, obstacle_rows, point_distances
from taustack.sim.mjcf import CAPSULE, capsules_from_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario
from taustack.strict_yaml import load

REACH_M = 1.5  # distances beyond are not compared


def random_obstacles(rng: np.random.Generator, count: int) -> list[Obstacle]:
    out = []
    for i in range(count):
        position = tuple(float(v) for v in rng.uniform([-0.8, -0.8, 0.0], [0.8, 0.8, 1.1]))
        size = tuple(float(v) for v in rng.uniform(0.02, 0.3, 3 if i % 2 else 1))
        out.append(Obstacle(shape="box" if i % 2 else "sphere", position=position, size=size))  # type: ignore[arg-type]
    return out


def test_distances_of_the_capsules_are_those_of_mujoco_to_a_millimetre(robot: RobotConfig, chain: KinematicChain) -> None:
    rng = np.random.default_rng(0)
    obstacles = random_obstacles(rng, 10)
    plant = MujocoPlant(robot, Scenario(obstacles=tuple(obstacles)))
    capsules = capsules_from_model(plant.nominal, robot)
    assert len(capsules) == len(chain.capsules) > 8
    compared = 0
    for _ in range(40):
        q = rng.uniform(robot.q_min, robot.q_max)
        plant.reset(q)
        points = chain.of_capsules.components(q[:, None])
        ours = capsule_distances(points, np.array(chain.capsules), obstacle_rows(obstacles))[..., 0]
        for c, capsule in enumerate(capsules):
            for o in range(len(obstacles)):
                geom = plant.model.geom(f"obstacle{o}").id
                part = _same_geom(plant, capsule.geom)
                theirs = mujoco.mj_geomDistance(plant.model, plant.data, part, geom, REACH_M, None)
                if not 1e-3 < theirs < REACH_M:
                    continue
                compared += 1
                if int(plant.model.geom_type[part]) == CAPSULE:
                    assert ours[o, c] == pytest.approx(theirs, abs=1e-3)
                else:  # the capsule contains the geom
                    assert theirs - 0.06 <= ours[o, c] <= theirs + 1e-3
    assert compared > 2000


def _same_geom(plant: MujocoPlant, geom: int) -> int:
    """A geom of the nominal model in that with obstacles: they come first, in the world."""
    added = plant.model.ngeom - plant.nominal.ngeom
    return geom if geom < int(plant.nominal.body_geomadr[0] + plant.nominal.body_geomnum[0]) else geom + added


def test_overlap_is_negative_and_numpy_and_torch_agree() -> None:
    rng = np.random.default_rng(1)
    ends, radius = rng.uniform(-0.5, 0.5, (3, 6, 20)), np.array([0.02, 0.05, 0.1])
    rows = obstacle_rows(random_obstacles(rng, 4))
    ours = capsule_distances(ends, radius, rows)
    assert ours.shape == (4, 3, 20)
    theirs = capsule_distances(torch.tensor(ends), torch.tensor(radius), torch.tensor(rows), torch)
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-12)
    through = np.array([[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])[..., None]
    box = obstacle_rows([Obstacle(shape="box", position=(0.1, 0.0, 0.0), size=(0.2, 0.1, 0.1))])
    assert capsule_distances(through, np.array([0.05]), box)[0, 0, 0] == pytest.approx(-0.15, abs=1e-3)


def test_none_are_no_rows() -> None:
    assert obstacle_rows([]).shape == (0, 7)
    assert point_distances(np.zeros((3, 5)), obstacle_rows([])).shape == (0, 5)
    assert capsule_distances(np.zeros((3, 4, 5)), np.ones(2), obstacle_rows([])).shape == (0, 2, 5)


def test_points_inside_are_negative() -> None:
    rows = obstacle_rows([Obstacle(shape="sphere", position=(0.0, 0.0, 0.0), size=(0.2,)), Obstacle(shape="box", position=(1, 0, 0), size=(0.3, 0.2, 0.1))])
    at = np.array([[0.0, 0.0, 0.3], [1.0, 0.0, 0.0], [1.0, 0.3, 0.2]]).T
    np.testing.assert_allclose(np.diag(point_distances(at, rows[[0, 1, 1]])), [0.1, -0.1, np.hypot(0.1, 0.1)], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{shape: cone, position: [0, 0, 0], size: [0.1]}", "shape"),
        ("{shape: box, position: [0, 0, 0], size: [0.1]}", "3 values above 0 for a box"),
        ("{shape: sphere, position: [0, 0, 0], size: [0.1, 0.1]}", "1 value above 0 for a sphere"),
        ("{shape: sphere, position: [0, 0, 0], size: [-0.1]}", "1 value above 0 for a sphere"),
        ("{shape: sphere, position: [0, 0, .nan], size: [0.1]}", "position"),
        ("{shape: sphere, position: [0, 0, 1000], size: [0.1]}", "position"),
        ("{shape: sphere, position: [0, 0], size: [0.1]}", "position"),
    ],
)
def test_a_bad_obstacle_is_refused_by_file_and_key(text: str, part: str, tmp_path: Path) -> None:
    path = tmp_path / "obstacle.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=part) as refusal:
        load(Obstacle, path)
    assert str(path) in str(refusal.value)
