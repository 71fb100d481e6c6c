"""Distances that an arm keeps: its moving parts to the box of its cell, and its parts to each other. Numpy only.

Parts are covered by spheres fixed to the links; `taustack.sim.keep_out` reads them off the robot's model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from taustack.kinematics import ChainJoint

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
TURN = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@dataclass(frozen=True, kw_only=True)
class KeepOut:
    """Spheres on the links of a serial chain.

    joints: from base to tip. link (S,): index of the joint a sphere moves with, in rising order, -1: the base.
    centre (S, 3) [m] in that joint's frame. radius (S,) [m]. first, second (P,): pairs of spheres that must not touch.
    low, high (3,) [m]: box for all spheres that move.
    """

    joints: tuple[ChainJoint, ...]
    link: IndexArray
    centre: FloatArray
    radius: FloatArray
    first: IndexArray
    second: IndexArray
    low: FloatArray
    high: FloatArray

    def distances(self, q: FloatArray) -> FloatArray:
        """(2, B) [m] at positions q (B, n): the least distance to the box, and between two parts. Negative: beyond, or into each other."""
        at = self._components(q)
        out = np.full((2, len(q)), np.inf)
        if self._moving.any():
            moving = at[:, :, self._moving]
            out[0] = np.minimum(moving - self._low, self._high - moving).min(axis=(0, 2))
        if len(self.first):
            apart = at.take(self.first, 2)
            apart -= at.take(self.second, 2)
            apart *= apart
            out[1] = (np.sqrt(apart[0] + apart[1] + apart[2]) - self._touch).min(axis=1)
        return out

    def centres(self, q: FloatArray) -> FloatArray:
        """Centres of the spheres in the base frame (B, S, 3) [m]."""
        return self._components(q).transpose(1, 2, 0)

    def change(self, moved: FloatArray) -> float:
        """Bound [m] on how much a distance changes when the joints move by `moved` (n,): the reach beyond each joint times its motion."""
        return float(self._reach @ np.abs(moved))

    def _components(self, q: FloatArray) -> FloatArray:
        """Centres with components first (3, B, S): long contiguous rows are what numpy is fast at."""
        local = self._local(q.T[:, :, None, None])
        poses = np.empty((len(self.joints) + 1, len(q), 4, 4))
        poses[0] = np.eye(4)
        poses[1] = local[0]
        for i in range(1, len(self.joints)):
            np.matmul(poses[i], local[i], out=poses[i + 1])
        rows = np.ascontiguousarray(poses[:, :, :3].transpose(2, 3, 1, 0)).take(self._row, 3)
        rows *= self._homogeneous
        return np.asarray(rows[:, 0] + rows[:, 1] + rows[:, 2] + rows[:, 3])

    def _local(self, q: FloatArray) -> FloatArray:
        """Pose of each joint's link in its parent's (n, B, 4, 4), for q (n, B, 1, 1)."""
        turned = self._fixed[:, None] + np.cos(q) * self._cos[:, None] + np.sin(q) * self._sin[:, None]
        return turned if self._revolute.all() else np.where(self._revolute[:, None, None, None], turned, self._frame[:, None] + q * self._slide[:, None])

    @cached_property
    def _moving(self) -> NDArray[np.bool_]:
        return np.asarray(self.link >= 0)

    @cached_property
    def _low(self) -> FloatArray:
        return np.asarray(self.low[:, None, None] + self.radius[self._moving])

    @cached_property
    def _high(self) -> FloatArray:
        return np.asarray(self.high[:, None, None] - self.radius[self._moving])

    @cached_property
    def _touch(self) -> FloatArray:
        return np.asarray(self.radius[self.first] + self.radius[self.second])

    @cached_property
    def _row(self) -> IndexArray:
        """Which of the poses, the base first, carries each sphere."""
        return np.asarray(self.link + 1)

    @cached_property
    def _homogeneous(self) -> FloatArray:
        """Homogeneous centres (4, 1, S)."""
        return np.concatenate([self.centre.T, np.ones((1, len(self.centre)))])[:, None]

    @cached_property
    def _reach(self) -> FloatArray:
        """For each joint the farthest that anything beyond it can be from its axis (n,) [m]; 1 for a prismatic joint."""
        n = len(self.joints)
        tip = [max((float(np.linalg.norm(c)) for c in self.centre[self.link == i]), default=0.0) for i in range(n)]
        reach = np.zeros(n)
        beyond = 0.0
        for i in reversed(range(n)):
            beyond = max(tip[i], beyond)
            reach[i] = beyond if self._revolute[i] else 1.0
            beyond += float(np.linalg.norm(self.joints[i].offset))
        return reach

    @cached_property
    def _frame(self) -> FloatArray:
        """Pose of each joint's frame in its parent's (n, 4, 4)."""
        frames = np.tile(np.eye(4), (len(self.joints), 1, 1))
        for frame, joint in zip(frames, self.joints, strict=True):
            frame[:3, :3], frame[:3, 3] = joint.rotation, joint.offset
        return frames

    @cached_property
    def _revolute(self) -> NDArray[np.bool_]:
        return np.array([joint.kind == "revolute" for joint in self.joints])

    @cached_property
    def _cos(self) -> FloatArray:
        return np.asarray(self._frame @ np.diag([1.0, 1, 0, 0]))

    @cached_property
    def _sin(self) -> FloatArray:
        return np.asarray(self._frame @ TURN)

    @cached_property
    def _fixed(self) -> FloatArray:
        return np.asarray(self._frame @ np.diag([0.0, 0, 1, 1]))

    @cached_property
    def _slide(self) -> FloatArray:
        along = np.zeros((4, 4))
        along[2, 3] = 1.0
        return np.asarray(self._frame @ along)
