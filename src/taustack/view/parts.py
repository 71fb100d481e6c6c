"""The visible parts of a MuJoCo model as meshes, one a body."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
import trimesh

HIDDEN = 3
"""First group of geoms that are there for collisions only, as MuJoCo's own viewer has it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is rigidly fixed to a body, in the body's frame."""

    body: int
    mesh: trimesh.Trimesh


def parts_of(model: mujoco.MjModel) -> list[Part]:
    """All bodies of a model that can be seen; floors are left out."""
    of_body: dict[int, list[trimesh.Trimesh]] = {}
    for geom in range(model.ngeom):
        if model.geom_group[geom] >= HIDDEN or int(model.geom_type[geom]) in (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD):
            continue
        mesh = _mesh_of(model, geom)
        turn = np.zeros(9)
        mujoco.mju_quat2Mat(turn, model.geom_quat[geom])
        to_body = np.eye(4)
        to_body[:3, :3], to_body[:3, 3] = turn.reshape(3, 3), model.geom_pos[geom]
        mesh.apply_transform(to_body)
        material = int(model.geom_matid[geom])
        colour = model.geom_rgba[geom] if material < 0 else model.mat_rgba[material]
        mesh.visual = trimesh.visual.ColorVisuals(mesh, vertex_colors=np.tile((255 * colour).astype(np.uint8), (len(mesh.vertices), 1)))
        of_body.setdefault(int(model.geom_bodyid[geom]), []).append(mesh)
    return [Part(body=body, mesh=_together(meshes)) for body, meshes in sorted(of_body.items())]


def _together(meshes: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    whole = trimesh.util.concatenate(meshes)
    assert isinstance(whole, trimesh.Trimesh)
    return whole


def _mesh_of(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh:
    """A geom in its own frame."""
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    mesh: trimesh.Trimesh
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        mesh = trimesh.creation.box(2 * size)
    elif kind == mujoco.mjtGeom.mjGEOM_CAPSULE:
        mesh = trimesh.creation.capsule(height=2 * size[1], radius=size[0], count=[12, 12])
        mesh.apply_translation([0.0, 0.0, -mesh.bounds.mean(0)[2]])  # MuJoCo's stand in the middle
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        mesh = trimesh.creation.cylinder(radius=size[0], height=2 * size[1], sections=24)
    elif kind == mujoco.mjtGeom.mjGEOM_MESH:
        at = model.geom_dataid[geom]
        vertices = model.mesh_vert[model.mesh_vertadr[at] :][: model.mesh_vertnum[at]]
        faces = model.mesh_face[model.mesh_faceadr[at] :][: model.mesh_facenum[at]]
        mesh = trimesh.Trimesh(vertices.copy(), faces.copy(), process=False)
    else:
        mesh = trimesh.creation.icosphere(subdivisions=2)
        mesh.apply_transform(np.diag([*(size if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID else np.full(3, size[0])), 1.0]))
    return mesh
