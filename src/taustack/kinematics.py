"""Forward kinematics of a serial chain, written once for numpy and torch.

The chain is read off the MuJoCo tree (`taustack.sim.mjcf.chain_from_model`). The point is carried from the tip to the
base, so a joint costs one plane rotation and one constant 3x3 product: p <- R (Rot_z(q) p) + t.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
    """Joints from base to tip, in the order of robot.yaml, and points on them; the first point is the tip."""

    joints: tuple[ChainJoint, ...]
    points: tuple[ChainPoint, ...]

    def position(self, q: Any, xp: Any = np) -> Any:
        """Tip in the base frame (..., 3) [m] for joint positions q (..., n); `xp` is numpy or torch."""
        return KinematicChain(joints=self.joints, points=self.points[:1]).positions(q, xp)[..., 0, :]

    def positions(self, q: Any, xp: Any = np) -> Any:
        """All points in the base frame (..., P, 3) [m]; they share the way down, each joining at its joint."""

        def like(array: NDArray[np.float64]) -> Any:
            return array if xp is np else xp.as_tensor(array, dtype=q.dtype)

        sin, cos = xp.sin(q), xp.cos(q)
        order = sorted(range(len(self.points)), key=lambda k: -self.points[k].joint)
        carried: Any = None
        for i in reversed(range(len(self.joints))):
            new = [self.points[k].position for k in order if self.points[k].joint == i]
            if new:
                fixed = like(np.array(new)) + xp.zeros_like(q[..., :1])[..., None]
                carried = fixed if carried is None else xp.concatenate([carried, fixed], -2)
            if carried is not None:
                carried = self._through(self.joints[i], carried, q[..., i : i + 1, None], sin[..., i : i + 1, None], cos[..., i : i + 1, None], like, xp)
        return carried[..., [order.index(k) for k in range(len(order))], :]

    @staticmethod
    def _through(joint: ChainJoint, points: Any, q: Any, sin: Any, cos: Any, like: Any, xp: Any) -> Any:
        """Points (..., P, 3) in a joint's frame to its parent's."""
        x, y, z = points[..., 0:1], points[..., 1:2], points[..., 2:3]
        if joint.kind == "revolute":
            points = xp.concatenate([cos * x - sin * y, sin * x + cos * y, z], -1)
        else:
            points = xp.concatenate([x, y, z + q], -1)
        return points @ like(joint.rotation.T) + like(joint.offset)
