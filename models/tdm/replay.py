"""Paths that were walked, and batches of transitions with other goals and times: one transition teaches many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.errors import BadInput
from taustack.models.tdm.spec import Relabel
from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Transitions s, a, s_next, what was wanted g, and the steps left after this one, tau."""

    s: FloatArray
    a: FloatArray
    s_next: FloatArray
    g: FloatArray
    tau: FloatArray


class Replay:
    """Paths of T steps: states (paths, T+1, ns), actions (paths, T, na), the goal that was pursued (paths, ng) and tau then (paths, T).

    Args:
        layout: of states, goals and actions.
        paths: how many are kept; the oldest go first.
        steps: T.
    """

    def __init__(self, layout: TDMLayout, paths: int, steps: int) -> None:
        ns, ng, na = layout.sizes
        if steps < 1:
            raise BadInput("temporal difference model", "steps of a path", steps, "at least 1")
        self._layout, self._index = layout, list(layout.goal_index)
        self.s = np.zeros((paths, steps + 1, ns), np.float32)
        self.a = np.zeros((paths, steps, na), np.float32)
        self.g = np.zeros((paths, ng), np.float32)
        self.tau = np.zeros((paths, steps), np.float32)
        self.steps = np.zeros(paths, np.int64)
        self._next = 0

    def __len__(self) -> int:
        """Transitions kept."""
        return int(self.steps.sum())

    def begin(self, s: NDArray[np.float64], g: NDArray[np.float64]) -> None:
        """A new path, from s (ns,) to g (ng,)."""
        self._row = self._next % len(self.steps)
        self._next += 1
        self.steps[self._row] = 0
        self.s[self._row, 0], self.g[self._row] = s, g

    def add(self, a: NDArray[np.float64], s_next: NDArray[np.float64], tau: int) -> None:
        """The next transition of the newest path, made with `tau` steps left after it."""
        t = self.steps[self._row]
        self.a[self._row, t], self.s[self._row, t + 1], self.tau[self._row, t] = a, s_next, tau
        self.steps[self._row] += 1

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Everything kept, to be stored."""
        return {"s": self.s, "a": self.a, "g": self.g, "tau": self.tau, "steps": self.steps, "next": np.array([self._next])}

    def restore(self, arrays: dict[str, NDArray[np.generic]]) -> None:
        """Back to what `arrays` stored."""
        for name in ("s", "a", "g", "tau", "steps"):
            getattr(self, name)[:] = arrays[name]
        self._next = int(arrays["next"][0])

    def transitions(self) -> tuple[FloatArray, FloatArray]:
        """All s and s_next, (N, ns) each."""
        kept = np.arange(self.a.shape[1]) < self.steps[:, None]
        return self.s[:, :-1][kept], self.s[:, 1:][kept]

    def sample(self, count: int, relabel: Relabel | None, rng: np.random.Generator) -> Batch:
        """Transitions drawn uniformly; tau is uniform on 0..tau_max, goals are drawn by the shares of `relabel`.

        Raises:
            BadInput: nothing was added yet.
        """
        if not len(self):
            raise BadInput("temporal difference model", "data", "no transition", "at least one path of one step")
        ends = np.cumsum(self.steps)
        flat = rng.integers(ends[-1], size=count)
        row = np.searchsorted(ends, flat, side="right")
        t = flat - (ends[row] - self.steps[row])
        g, tau = self.g[row], self.tau[row, t]
        if relabel is not None:
            tau = rng.integers(self._layout.tau_max + 1, size=count).astype(np.float32)
            later = t + 1 + (rng.random(count) * (self.steps[row] - t)).astype(np.int64)
            other = rng.integers(ends[-1], size=count)
            other_row = np.searchsorted(ends, other, side="right")
            other_t = other - (ends[other_row] - self.steps[other_row])
            draw = rng.random(count)[:, None]
            g = np.where(draw < relabel.future, self.s[row, later][:, self._index], g)
            from_buffer = (draw >= relabel.future) & (draw < relabel.future + relabel.buffer)
            g = np.where(from_buffer, self.s[other_row, other_t][:, self._index], g)
        return Batch(s=self.s[row, t], a=self.a[row, t], s_next=self.s[row, t + 1], g=g, tau=tau)
