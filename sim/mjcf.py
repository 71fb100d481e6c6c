"""Reads what the stack needs to know off a MuJoCo model: joints by name, the kinematic chain, the capsules that cover it."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.errors import BadInput
from taustack.kinematics import ChainJoint, ChainPoint, KinematicChain
from taustack.sim.model_file import model_file, robot_model, torque_motor_of

FloatArray = NDArray[np.float64]
LinkFrame = tuple[int, FloatArray, FloatArray]  # joint it moves with, rotation and offset in that joint's frame
GEOM = mujoco.mjtGeom
CAPSULE, SPHERE, BOX, CYLINDER = (int(kind) for kind in (GEOM.mjGEOM_CAPSULE, GEOM.mjGEOM_SPHERE, GEOM.mjGEOM_BOX, GEOM.mjGEOM_CYLINDER))
WIDER = 1.15  # a capsule around a box or a cylinder is this much wider, so that it need not be longer by its whole radius
KINDS = {int(mujoco.mjtJoint.mjJNT_HINGE): "revolute", int(mujoco.mjtJoint.mjJNT_SLIDE): "prismatic"}


def compile_model(robot: RobotConfig) -> mujoco.MjModel:
    """Compile the robot's MJCF and check it against robot.yaml.

    Raises:
        BadInput: a joint, its kind, its limits or the site do not fit; names the key and both values.
    """
    source = robot.folder / "robot.yaml"
    model, file = robot_model(robot), model_file(robot).name
    names = [model.joint(i).name for i in range(model.njnt)]
    for i, joint in enumerate(robot.joints):
        if joint.name not in names:
            raise BadInput(source, f"joints.{i}.name", joint.name, f"a joint of {file}: {', '.join(names)}")
        in_model = model.joint(joint.name)
        kind = KINDS.get(int(in_model.type[0]), "other")
        if kind != joint.kind:
            raise BadInput(source, f"joints.{i}.kind", joint.kind, f"{kind}, as in {file}")
        if not np.allclose(in_model.range, joint.position, atol=1e-4):
            raise BadInput(source, f"joints.{i}.position", list(joint.position), f"{in_model.range.tolist()}, as in {file}")
    missing = sorted(set(names) - set(robot.joint_names))
    if missing:
        raise BadInput(source, "joints", "no entry for " + ", ".join(missing), f"every joint of {file}")
    if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, robot.end_effector_site) < 0:
        sites = ", ".join(model.site(i).name for i in range(model.nsite))
        raise BadInput(source, "end_effector_site", robot.end_effector_site, f"a site of {file}: {sites or '(none)'}")
    return model


def joint_addresses(model: mujoco.MjModel, robot: RobotConfig) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Addresses of the robot's joints in qpos, in qvel, and of their motors in ctrl, each (n,), by name."""
    qpos = np.array([model.joint(name).qposadr[0] for name in robot.joint_names])
    dof = np.array([model.joint(name).dofadr[0] for name in robot.joint_names])
    return qpos, dof, np.array([torque_motor_of(model, name, model_file(robot)) for name in robot.joint_names])


def chain_from_model(model: mujoco.MjModel, robot: RobotConfig) -> KinematicChain:
    """The chain from the base to the end effector, each joint's axis turned to z, with the centres of the clearance spheres and capsules.

    Raises:
        BadInput: the joints of robot.yaml are not those from the base to the end effector, or a sphere's site hangs elsewhere.
    """
    source = robot.folder / "robot.yaml"
    joints, frames = _chain(model, robot)
    if list(joints) != list(robot.joint_names):
        raise BadInput(source, "joints", list(robot.joint_names), f"the joints from base to {robot.end_effector_site} in order: {list(joints)}")
    points = []
    for name in (robot.end_effector_site, *(sphere.site for sphere in robot.clearance.spheres)):
        if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, name) < 0:
            raise BadInput(source, "clearance.spheres", name, f"a site of {model_file(robot).name}")
        site = model.site(name)
        joint, turn, shift = frames.get(int(site.bodyid[0]), (-1, np.eye(3), np.zeros(3)))
        if joint < 0:
            raise BadInput(source, "clearance.spheres", name, f"a site on a body that moves, between the base and {robot.end_effector_site}")
        points.append(ChainPoint(joint=joint, position=shift + turn @ np.asarray(site.pos)))
    capsules = capsules_from_model(model, robot)
    points += [ChainPoint(joint=capsule.joint, position=end) for capsule in capsules for end in (capsule.first, capsule.second)]
    return KinematicChain(joints=tuple(joints.values()), points=tuple(points), capsules=tuple(capsule.radius for capsule in capsules))


def link_frames(model: mujoco.MjModel, robot: RobotConfig) -> dict[int, LinkFrame]:
    """For every body of the arm: the joint it moves with (-1: the base) and its pose in that joint's frame, tools beyond the tip included."""
    _, frames = _chain(model, robot)
    for body in range(1, model.nbody):  # parents come before their children
        parent = int(model.body_parentid[body])
        if body not in frames and parent in frames and not model.body_jntnum[body]:
            joint, rotation, offset = frames[parent]
            frames[body] = (joint, rotation @ _matrix(model.body_quat[body]), offset + rotation @ model.body_pos[body])
    return frames


@dataclass(frozen=True, kw_only=True)
class Capsule:
    """Of a link: its ends (3,) in the frame of the joint that moves it, and its radius [m]."""

    joint: int
    first: FloatArray
    second: FloatArray
    radius: float
    geom: int


def capsules_from_model(model: mujoco.MjModel, robot: RobotConfig) -> list[Capsule]:
    """A capsule over each geom that can collide; those that turn about the base axis within the clearance column are left out."""
    out = []
    frames = link_frames(model, robot)
    for geom in range(model.ngeom):
        joint, rotation, offset = frames.get(int(model.geom_bodyid[geom]), (-1, np.eye(3), np.zeros(3)))
        if joint < 0 or not int(model.geom_contype[geom]) | int(model.geom_conaffinity[geom]):
            continue
        axis, half_length, radius = _capsule_of(model, geom)
        middle = offset + rotation @ model.geom_pos[geom]
        ends = [middle + sign * half_length * (rotation @ axis) for sign in (-1.0, 1.0)]
        if joint == 0 and max(float(np.hypot(end[0], end[1])) for end in ends) + radius <= robot.clearance.column_radius:
            continue
        out.append(Capsule(joint=joint, first=ends[0], second=ends[1], radius=radius, geom=geom))
    return sorted(out, key=lambda capsule: capsule.joint)


def _capsule_of(model: mujoco.MjModel, geom: int) -> tuple[FloatArray, float, float]:
    """Axis (3,) in the body's frame, half the length between its ends and radius [m] of a capsule that contains a geom."""
    kind, size, turn = int(model.geom_type[geom]), model.geom_size[geom], _matrix(model.geom_quat[geom])
    if kind in (CAPSULE, SPHERE):
        return turn[:, 2], float(size[1]) if kind == CAPSULE else 0.0, float(size[0])
    if kind == CYLINDER:
        axis, half, across = turn[:, 2], float(size[1]), float(size[0])
    elif kind == BOX:
        longest = int(np.argmax(size))
        axis, half, across = turn[:, longest], float(size[longest]), float(np.linalg.norm(np.delete(size, longest)))
    else:
        return turn[:, 2], 0.0, float(model.geom_rbound[geom])
    radius = WIDER * across
    reach = float(np.sqrt(radius**2 - across**2))  # how far beyond an end of the segment the whole cross section is inside
    return (axis, half - reach, radius) if half > reach else (axis, 0.0, float(np.hypot(half, across)))


def _chain(model: mujoco.MjModel, robot: RobotConfig) -> tuple[dict[str, ChainJoint], dict[int, LinkFrame]]:
    """Joints by name and link frames of the bodies from the base to the end effector."""
    joints: dict[str, ChainJoint] = {}
    frames: dict[int, LinkFrame] = {}
    rotation, offset = np.eye(3), np.zeros(3)
    for body in _bodies_to(model, int(model.site(robot.end_effector_site).bodyid[0])):
        offset = offset + rotation @ model.body_pos[body]
        rotation = rotation @ _matrix(model.body_quat[body])
        start = int(model.body_jntadr[body])
        for j in range(start, start + int(model.body_jntnum[body])):
            to_z, anchor = _rotation_to_z(model.jnt_axis[j]), model.jnt_pos[j]
            joints[model.joint(j).name] = ChainJoint(kind=KINDS[int(model.jnt_type[j])], rotation=rotation @ to_z, offset=offset + rotation @ anchor)
            rotation, offset = to_z.T, to_z.T @ -anchor
        frames[body] = (len(joints) - 1, rotation, offset)
    return joints, frames


def _bodies_to(model: mujoco.MjModel, body: int) -> list[int]:
    """Bodies from the base to `body`."""
    path: list[int] = []
    while body > 0:
        path.append(body)
        body = int(model.body_parentid[body])
    return path[::-1]


def _matrix(quat: FloatArray) -> FloatArray:
    out = np.zeros(9)
    mujoco.mju_quat2Mat(out, quat)
    return out.reshape(3, 3)


def _rotation_to_z(axis: FloatArray) -> FloatArray:
    """A rotation whose z column is `axis`."""
    quat = np.zeros(4)
    mujoco.mju_quatZ2Vec(quat, np.asarray(axis, dtype=float))
    return _matrix(quat)
