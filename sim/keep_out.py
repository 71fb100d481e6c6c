"""Covers the geoms of a robot's model by spheres, for the safety filter."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.keep_out import KeepOut
from taustack.sim.mjcf import BOX, CAPSULE, CYLINDER, SPHERE, chain_from_model, link_frames

FloatArray = NDArray[np.float64]
BULGE = 0.012  # spheres along a capsule stand out between each other by at most this [m]


def keep_out_from_model(model: mujoco.MjModel, robot: RobotConfig) -> KeepOut:
    """Spheres over every geom of the arm that can collide; the pairs are those that MuJoCo would test."""
    chain, frames = chain_from_model(model, robot), link_frames(model, robot)
    rows: list[tuple[int, FloatArray, float, int]] = []
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        if body in frames and int(model.geom_contype[geom]) | int(model.geom_conaffinity[geom]):
            link, rotation, offset = frames[body]
            rows += [(link, offset + rotation @ centre, radius, geom) for centre, radius in _cover(model, geom)]
    rows.sort(key=lambda row: row[0])
    excluded = {int(signature) for signature in model.exclude_signature}
    touching = {(a, b): _may_touch(model, a, b, excluded) for a in {row[3] for row in rows} for b in {row[3] for row in rows}}
    pairs = [(i, j) for i in range(len(rows)) for j in range(i + 1, len(rows)) if touching[rows[i][3], rows[j][3]]]
    first, second = (np.array([pair[k] for pair in pairs], dtype=np.intp) for k in (0, 1))
    return KeepOut(
        joints=chain.joints, link=np.array([row[0] for row in rows], dtype=np.intp), centre=np.array([row[1] for row in rows]).reshape(-1, 3),
        radius=np.array([row[2] for row in rows]), first=first, second=second, low=np.array(robot.safety.box_low), high=np.array(robot.safety.box_high),
    )  # fmt: skip


def _cover(model: mujoco.MjModel, geom: int) -> list[tuple[FloatArray, float]]:
    """Spheres (centre in the body's frame, radius) [m] that contain a geom."""
    kind, size, centre = int(model.geom_type[geom]), model.geom_size[geom], np.array(model.geom_pos[geom])
    matrix = np.zeros(9)
    mujoco.mju_quat2Mat(matrix, model.geom_quat[geom])
    turn = matrix.reshape(3, 3)
    if kind == SPHERE:
        return [(centre, float(size[0]))]
    if kind == CAPSULE:
        return _along(centre, turn[:, 2], float(size[1]), float(size[0]))
    if kind == CYLINDER:
        return _along(centre, turn[:, 2], float(size[1]), float(size[0]), flat=True)
    half = np.array(size) if kind == BOX else np.full(3, float(model.geom_rbound[geom]))
    longest = int(np.argmax(half))
    across = float(np.linalg.norm(np.delete(half, longest)))
    return _along(centre, turn[:, longest], float(half[longest]), across, flat=True)


def _along(centre: FloatArray, axis: FloatArray, half_length: float, radius: float, *, flat: bool = False) -> list[tuple[FloatArray, float]]:
    """Spheres along an axis that contain the capsule, or, with flat ends, the cylinder around it."""
    spacing = 2 * np.sqrt((radius + BULGE) ** 2 - radius**2)
    length = 2 * half_length
    if flat:  # each sphere contains its slice of the cylinder
        count = max(1, int(np.ceil(length / max(spacing, 0.66 * radius))))
        slice_half = length / count / 2
        at = -half_length + slice_half * (1 + 2 * np.arange(count))
        return [(centre + s * axis, float(np.hypot(radius, slice_half))) for s in at]
    count = max(2, int(np.ceil(length / spacing)) + 1) if length > 1e-6 else 1
    at = np.linspace(-half_length, half_length, count) if count > 1 else np.zeros(1)
    gap = length / max(1, count - 1)
    return [(centre + s * axis, float(np.hypot(radius, gap / 2))) for s in at]


def _may_touch(model: mujoco.MjModel, a: int, b: int, excluded: set[int]) -> bool:
    """The rules by which MuJoCo chooses pairs: other bodies, not parent and child, not excluded, types that meet."""
    bodies = (int(model.geom_bodyid[a]), int(model.geom_bodyid[b]))
    one, other = (int(model.body_weldid[body]) for body in bodies)
    if one == other:
        return False
    parents = (int(model.body_weldid[model.body_parentid[one]]), int(model.body_weldid[model.body_parentid[other]]))
    if (one == parents[1] or other == parents[0]) and 0 not in (one, other):
        return False
    low, high = min(bodies), max(bodies)
    if (low << 16) + high in excluded:
        return False
    meets = int(model.geom_contype[a]) & int(model.geom_conaffinity[b]) or int(model.geom_contype[b]) & int(model.geom_conaffinity[a])
    return bool(meets)
