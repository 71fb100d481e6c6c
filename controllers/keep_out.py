"""Distances that an arm keeps: its moving parts to the box of its cell, and its parts to each other.

Parts are covered by spheres fixed to the links; `taustack.sim.keep_out` reads them off the robot's model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.compiled import FLAGS, FLOAT, INDICES, INT, MATRIX, NEW_MATRIX, NEW_TENSOR, TENSOR, VECTOR, compiled
from taustack.kinematics import ChainJoint

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


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
        return _distances(self.centres(q), self._moving, self.radius, self.first, self.second, self.low, self.high)

    def centres(self, q: FloatArray) -> FloatArray:
        """Centres of the spheres in the base frame (B, S, 3) [m]."""
        return _centres(np.asarray(q, dtype=float), self._revolute, self._rotations, self._offsets, self.link, self.centre)

    def change(self, before: FloatArray, after: FloatArray) -> float:
        """Bound [m] on how much a distance differs between positions (B, n) and (B, n), row by row: the reach beyond each joint times its motion."""
        return _change(self._reach, before, after)

    @cached_property
    def _moving(self) -> NDArray[np.bool_]:
        return np.asarray(self.link >= 0)

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
    def _rotations(self) -> FloatArray:
        return np.array([joint.rotation for joint in self.joints])

    @cached_property
    def _offsets(self) -> FloatArray:
        return np.array([joint.offset for joint in self.joints])

    @cached_property
    def _revolute(self) -> NDArray[np.bool_]:
        return np.array([joint.kind == "revolute" for joint in self.joints])


@compiled(FLOAT, MATRIX, INT, VECTOR)
def _times(turn: FloatArray, row: int, v: FloatArray) -> float:
    """One row of a rotation times a vector."""
    return float(turn[row, 0] * v[0] + turn[row, 1] * v[1] + turn[row, 2] * v[2])


@compiled(NEW_TENSOR, MATRIX, FLAGS, TENSOR, MATRIX, INDICES, MATRIX)
def _centres(q: FloatArray, revolute: NDArray[np.bool_], rotations: FloatArray, offsets: FloatArray, link: IndexArray, centre: FloatArray) -> FloatArray:
    """Centres (B, S, 3): each joint's frame is its parent's, moved by its offset, turned by its rotation, then by q about z or moved along it."""
    out = np.empty((len(q), len(link), 3))
    turn, next_turn, at = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for b in range(len(q)):
        turn[:], at[:] = np.eye(3), 0.0
        s = 0
        for joint in range(-1, len(revolute)):
            if joint >= 0:
                c, d = (math.cos(q[b, joint]), math.sin(q[b, joint])) if revolute[joint] else (1.0, 0.0)
                slide = 0.0 if revolute[joint] else q[b, joint]
                for row in range(3):
                    x, y, z = _times(turn, row, rotations[joint, :, 0]), _times(turn, row, rotations[joint, :, 1]), _times(turn, row, rotations[joint, :, 2])
                    at[row] += _times(turn, row, offsets[joint]) + slide * z
                    next_turn[row, 0], next_turn[row, 1], next_turn[row, 2] = c * x + d * y, c * y - d * x, z
                turn[:] = next_turn
            while s < len(link) and link[s] == joint:
                for row in range(3):
                    out[b, s, row] = at[row] + _times(turn, row, centre[s])
                s += 1
    return out


@compiled(NEW_MATRIX, TENSOR, FLAGS, VECTOR, INDICES, INDICES, VECTOR, VECTOR)
def _distances(
    centres: FloatArray, moving: NDArray[np.bool_], radius: FloatArray, first: IndexArray, second: IndexArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """(2, B): see `KeepOut.distances`."""
    out = np.full((2, len(centres)), np.inf)
    for b in range(len(centres)):
        for s in range(len(radius)):
            if moving[s]:
                for axis in range(3):
                    at = centres[b, s, axis]
                    out[0, b] = min(out[0, b], at - low[axis] - radius[s], high[axis] - at - radius[s])
        for p in range(len(first)):
            i, j = first[p], second[p]
            x, y, z = centres[b, i, 0] - centres[b, j, 0], centres[b, i, 1] - centres[b, j, 1], centres[b, i, 2] - centres[b, j, 2]
            out[1, b] = min(out[1, b], math.sqrt(x * x + y * y + z * z) - radius[i] - radius[j])
        if not math.isfinite(centres[b].sum()):  # a least value passes NaN over: what is not a number is no clearance
            out[:, b] = -np.inf
    return out


@compiled(FLOAT, VECTOR, MATRIX, MATRIX)
def _change(reach: FloatArray, before: FloatArray, after: FloatArray) -> float:
    """See `KeepOut.change`; infinite if a position is no number."""
    total = 0.0
    for i in range(len(reach)):
        most = 0.0
        for b in range(len(before)):
            moved = abs(after[b, i] - before[b, i])
            if not math.isfinite(moved):
                return np.inf
            most = max(most, moved)
        total += reach[i] * most
    return total
