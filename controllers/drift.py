"""Whether the robot still does what its model says: live prediction errors against those of the bundle's hold-out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.bundle import Bundle
from taustack.controllers.wire import TrackRows
from taustack.kinematics import KinematicChain
from taustack.layout import STATES
from taustack.manifest import DYNAMICS
from taustack.rollout import roll_open_loop

FloatArray = NDArray[np.float64]
EVERY = 5  # steps between two starts of a rollout
WINDOW = 30  # newest rollouts, three seconds of motion, over which errors are judged
LEAST = 15  # of them before anything is said
DRIFTS, RECOVERS = 0.5, 0.2  # share of errors beyond the hold-out's 95 % quantile; 0.05 is what to expect
MOVING = 0.05  # [rad/s or m/s] of some reference; at rest every model is right
GAP_S = 0.01
FOLLOWS = tuple(STATES.index(name) for name in ("running", "holding"))  # a damped robot follows no reference


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What is known of the model's errors. Errors are of the end effector [m]."""

    drifting: bool = False
    rollouts: int = 0
    one_step_m: float = float("nan")
    horizon_m: float = float("nan")
    beyond_one_step: float = 0.0
    beyond_horizon: float = 0.0
    """Share of errors beyond the hold-out's 95 % quantile."""


class DriftMonitor:
    """Feed it the tracker's rows; it rolls the model out over the references that were really applied.

    Args:
        bundle: with `holdout` in its manifest, else nothing is ever said.
        chain: kinematics of the end effector.
    """

    def __init__(self, bundle: Bundle, chain: KinematicChain) -> None:
        self.bundle, self.chain = bundle, chain
        self.drift = Drift()
        self._session = bundle.session(DYNAMICS)
        self._dt = bundle.manifest.contract.control_dt
        self._late, self._horizon = bundle.manifest.delay_steps, bundle.manifest.plan.horizon
        self._errors: deque[tuple[float, float]] = deque(maxlen=WINDOW)
        self._rows: list[TrackRows] = []
        self._next_t = -np.inf

    def add(self, rows: TrackRows) -> Drift:
        """Rows in the order of time; returns what is known now."""
        if self.bundle.manifest.holdout is None or not len(rows.t):
            return self.drift
        if not self._joins(rows):
            self._rows, self._next_t = [], -np.inf
        if not (np.isin(rows.state, FOLLOWS).all() and (rows.epoch == rows.epoch[0]).all() and (np.diff(rows.t) < GAP_S).all() and _finite(rows)):
            self._rows, self._next_t = [], -np.inf
            return self.drift
        self._rows.append(rows)
        self._roll()
        return self._judge()

    def _joins(self, rows: TrackRows) -> bool:
        before = self._rows[-1] if self._rows else None
        return before is None or bool(0 < rows.t[0] - before.t[-1] < GAP_S and rows.epoch[0] == before.epoch[-1])

    def _roll(self) -> None:
        """Roll out from every start whose end has been measured by now."""
        t = np.concatenate([rows.t for rows in self._rows])
        begin = max(self._next_t, float(t[0]) + self._late * self._dt)
        starts = np.arange(begin, float(t[-1]) - self._horizon * self._dt, EVERY * self._dt)
        if len(starts):
            self._next_t = float(starts[-1]) + EVERY * self._dt
            joined = {name: np.concatenate([getattr(rows, name) for rows in self._rows]) for name in ("q", "dq", "q_ref", "dq_ref")}
            for start in starts:
                self._one(start, t, joined)
        keep = self._next_t - self._late * self._dt - GAP_S if np.isfinite(self._next_t) else t[0]
        self._rows = [rows for rows in self._rows if rows.t[-1] >= keep]

    def _one(self, start: float, t: FloatArray, rows: dict[str, FloatArray]) -> None:
        grid = start + self._dt * np.arange(-self._late, self._horizon + 1)
        values = {name: np.stack([np.interp(grid, t, column) for column in rows[name].T], axis=1) for name in rows}
        if np.abs(values["dq_ref"]).max() < MOVING:
            return
        now = self._late
        x = np.concatenate([values["q"][now], values["dq"][now], values["q_ref"][0], values["dq_ref"][0]])
        u = values["dq_ref"][1 : self._horizon + 1]
        states = roll_open_loop(self._session, x[None], u[None])[0]
        n = values["q"].shape[1]
        error = np.linalg.norm(self.chain.position(states[:, :n]) - self.chain.position(values["q"][now + 1 :]), axis=-1)
        self._errors.append((float(error[0]), float(error[-1])))

    def _judge(self) -> Drift:
        holdout = self.bundle.manifest.holdout
        if holdout is None or len(self._errors) < LEAST:
            return self.drift
        one, far = np.array(self._errors).T
        beyond_one, beyond_far = float((one > holdout.one_step_m.q95).mean()), float((far > holdout.horizon_m.q95).mean())
        share = max(beyond_one, beyond_far)
        drifting = share > DRIFTS or (self.drift.drifting and share > RECOVERS)
        self.drift = Drift(
            drifting=drifting, rollouts=len(one), one_step_m=float(np.median(one)), horizon_m=float(np.median(far)), beyond_one_step=beyond_one,
            beyond_horizon=beyond_far,
        )  # fmt: skip
        return self.drift


def _finite(rows: TrackRows) -> bool:
    return bool(np.isfinite(rows.t).all() and all(np.isfinite(getattr(rows, name)).all() for name in ("q", "dq", "q_ref", "dq_ref")))
