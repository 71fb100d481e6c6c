"""Forward kinematics of a serial chain, written once for numpy and torch.

The chain is read off the MuJoCo tree (`taustack.sim.mjcf.chain_from_model`). The point is carried from the tip to the
base, so a joint costs one plane rotation and one constant 3x3 product: p <- R (Rot_z(q) p) + t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIFFERENCE = 1e-5  # [rad or m] for the Jacobian
EXACT = 1e-15  # entries of a rotation this near to 0 or 1 are taken as such


@dataclass(frozen=True, kw_only=True)
class ChainJoint:
    """A joint about or along the z axis of its own frame; `rotation` (3, 3) and `offset` (3,) [m] place that frame in its parent's."""

    kind: str
    rotation: NDArray[np.float64]
    offset: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ChainPoint:
    """A point (3,) [m] fixed in the frame of the `joint`-th joint (0: the first)."""

    joint: int
    position: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class KinematicChain:
    """Joints from base to tip, in the order of robot.yaml, and points on them.

    The first point is the tip, the last ones are the ends of the capsules that cover the robot, two for each radius [m].
    """

    joints: tuple[ChainJoint, ...]
    points: tuple[ChainPoint, ...]
    capsules: tuple[float, ...] = ()

    @property
    def of_points(self) -> KinematicChain:
        """The same without the capsules: the tip and the other points."""
        return KinematicChain(joints=self.joints, points=self.points[: len(self.points) - 2 * len(self.capsules)])

    @property
    def of_capsules(self) -> KinematicChain:
        """The same with the ends of the capsules alone."""
        return KinematicChain(joints=self.joints, points=self.points[len(self.points) - 2 * len(self.capsules) :], capsules=self.capsules)

    def position(self, q: Any, xp: Any = np) -> Any:
        """Tip in the base frame (..., 3) [m] for joint positions q (..., n); `xp` is numpy or torch."""
        tip = KinematicChain(joints=self.joints, points=self.points[:1])
        return xp.moveaxis(tip.components(xp.moveaxis(q, q.ndim - 1, 0), xp)[:, 0], 0, q.ndim - 1)  # from the front: the exporter does not count back

    def jacobian(self, q: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Jacobian (3, n) of the tip by forward differences at positions q (n,), and the tip (3,) [m]."""
        positions = np.asarray(self.position(np.vstack([q, q + DIFFERENCE * np.eye(len(q))])))
        return (positions[1:] - positions[0]).T / DIFFERENCE, positions[0]

    def components(self, q: Any, xp: Any = np) -> Any:
        """All points in the base frame (3, P, ...) [m] for joint positions q (n, ...).

        Components come first, so that every product runs over long contiguous arrays; the points share the way down to the
        base, each joining at its joint; entries of the fixed rotations that are 0 or 1 cost nothing.
        """
        sin, cos = xp.sin(q), xp.cos(q)
        order = sorted(range(len(self.points)), key=lambda k: -self.points[k].joint)
        carried: list[Any] = []
        for i in reversed(range(len(self.joints))):
            parts = [_to_parent(self.joints[i], carried, q[i], sin[i], cos[i])] if carried else []
            new = [self.points[k].position for k in order if self.points[k].joint == i]
            if new:
                parts.append(_joining(self.joints[i], np.array(new), q[i], sin[i], cos[i], xp))
            carried = [xp.concatenate(rows) if len(rows) > 1 else rows[0] for rows in zip(*parts, strict=True)]
        back = [order.index(k) for k in range(len(order))]
        return xp.stack(carried if back == sorted(back) else [component[back] for component in carried])


def _joining(joint: ChainJoint, points: NDArray[np.float64], q: Any, sin: Any, cos: Any, xp: Any) -> list[Any]:
    """Points (m, 3) fixed in a joint's frame, as components (m, ...) in its parent's: a + b sin q + c cos q, or a + b q, with numbers for a, b, c."""
    about_z = joint.rotation[:, 2:] * points[:, 2]
    still = about_z + joint.offset[:, None]
    if joint.kind == "revolute":
        moving = [(cos, joint.rotation[:, :2] @ points[:, :2].T), (sin, joint.rotation[:, :2] @ np.array([-points[:, 1], points[:, 0]]))]
    else:
        still, moving = still + joint.rotation[:, :2] @ points[:, :2].T, [(q, joint.rotation[:, 2:] * np.ones(len(points)))]
    out = []
    for row in range(3):
        total: Any = None
        for part, weights in moving:
            if np.any(np.abs(weights[row]) > EXACT):
                moved = _column(weights[row], q, xp) * part
                total = moved if total is None else total + moved
        out.append((0.0 * cos if total is None else total) + _column(still[row], q, xp))
    return out


def _column(values: NDArray[np.float64], like: Any, xp: Any) -> Any:
    """Numbers (m,) to be broadcast over an array: (m, 1, ...)."""
    return xp.asarray(values.reshape(-1, *(1,) * len(like.shape)), dtype=like.dtype)


def _to_parent(joint: ChainJoint, point: list[Any], q: Any, sin: Any, cos: Any) -> list[Any]:
    """Components of points in a joint's frame to those in its parent's."""
    x, y, z = point
    turned = [cos * x - sin * y, sin * x + cos * y, z] if joint.kind == "revolute" else [x, y, z + q]
    out = []
    for row, shift in zip(joint.rotation, joint.offset, strict=True):
        total: Any = 0.0
        for weight, part in zip(row, turned, strict=True):
            if abs(weight) > EXACT:
                total = total + (part if abs(weight - 1.0) <= EXACT else float(weight) * part)
        out.append(total + float(shift) if abs(shift) > EXACT else total)
    return out
