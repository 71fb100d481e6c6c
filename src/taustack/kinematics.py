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
    zero: float = 0.0


@dataclass(frozen=True, kw_only=True)
class KinematicChain:
    """Joints from base to tip, in the order of robot.yaml, and the tip (3,) [m] in the last joint's frame."""

    joints: tuple[ChainJoint, ...]
    tip: NDArray[np.float64]

    def position(self, q: Any, xp: Any = np) -> Any:
        """Tip in the base frame (..., 3) [m] for joint positions q (..., n); `xp` is numpy or torch."""
        like = (lambda a: xp.asarray(a)) if xp is np else (lambda a: xp.as_tensor(a, dtype=q.dtype))
        sin, cos = xp.sin(q), xp.cos(q)
        point = like(self.tip) + xp.zeros_like(q[..., :1])
        for i in reversed(range(len(self.joints))):
            joint = self.joints[i]
            x, y, z = point[..., 0:1], point[..., 1:2], point[..., 2:3]
            if joint.kind == "revolute":
                s, c = sin[..., i : i + 1], cos[..., i : i + 1]
                point = xp.concatenate([c * x - s * y, s * x + c * y, z], -1)
            else:
                point = xp.concatenate([x, y, z + q[..., i : i + 1]], -1)
            point = point @ like(joint.rotation.T) + like(joint.offset)
        return point
