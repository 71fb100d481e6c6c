"""Plans that are spoilt, late, doubled or out of order on their way to the tracker. Knows no robot."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.plan import Plan
from taustack.sim.fault_schedule import Schedule
from taustack.sim.faults import Fault

FloatArray = NDArray[np.float64]
SILENT = ("no_plan", "inference_raises", "inference_hangs", "bridge_dead", "tracker_stalls", "tracker_killed")
"""Kinds under which no plan is made, or none gets through."""


class PlansUnderWay:
    """See the module.

    Args:
        schedule: of the faults.
        limit: largest action (nu,), for plans that ask for corners.
    """

    def __init__(self, schedule: Schedule, limit: FloatArray) -> None:
        self._schedule, self._limit = schedule, limit
        self._under_way: deque[tuple[float, Plan]] = deque()
        self._kept: Plan | None = None
        self._sent = 0

    def send(self, plan: Plan, now: float) -> None:
        """Spoil a plan and send it on its way."""
        schedule = self._schedule
        self._sent += 1
        for fault in schedule.faults:
            if fault.active(now):
                plan = self._spoilt(plan, fault)
        flood, slow = schedule.active(now, "plan_flood"), schedule.active(now, "inference_slow")
        arrives = now + (slow.strength if slow else 0.0)
        if schedule.active(now, "reordered_plan"):
            if self._sent % 2:
                self._kept = plan
                return
            self._under_way.append((arrives, plan))
            plan = self._kept or plan
        self._under_way.extend([(arrives, plan)] * (round(flood.strength) if flood else 1))

    def due(self, now: float) -> Iterator[Plan]:
        """What has arrived by now."""
        while self._under_way and self._under_way[0][0] <= now:
            yield self._under_way.popleft()[1]

    def _spoilt(self, plan: Plan, fault: Fault) -> Plan:
        """A plan under one fault."""
        kind, actions = fault.kind, plan.actions.copy()
        limit = self._limit[: actions.shape[1]]  # another fault may have taken a column
        if kind == "nan_plan":
            actions[0, 0] = np.nan
        elif kind == "infinite_plan":
            actions[-1, -1] = np.inf
        elif kind == "wrong_size_plan":
            actions = actions[:, :-1]
        elif kind == "corner_plan":
            corner = np.where(np.arange(len(limit)) % 2 == 0, 1.0, -1.0)
            actions[:] = fault.strength * corner * limit
        elif kind == "alternating_plan":
            actions[:] = limit if self._sent % 2 else -limit
        elif kind == "swapped_outputs":
            actions[:, [0, -1]] = actions[:, [-1, 0]]
        elif kind == "stale_plan":
            return plan._replace(state_t=plan.state_t - fault.strength)
        elif kind == "future_plan":
            return plan._replace(effective_t=plan.effective_t + fault.strength)
        elif kind == "other_epoch_plan":
            return plan._replace(epoch=plan.epoch + 1)
        return plan._replace(actions=actions)
