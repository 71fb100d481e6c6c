"""Faults of processes and buttons on their schedule: whether the tracker runs, and what bridge and e-stop sources say. Knows no robot."""

from __future__ import annotations

from collections.abc import Sequence

from taustack.controllers.following import Signals
from taustack.sim.faults import Fault

BUTTON, OTHER_BUTTON = "the button", "the other button"
SECOND_S = 0.05  # for which the second of two e-stops is pressed


class Schedule:
    """See the module.

    Args:
        faults: what goes wrong.
        bridge_timeout_s: for which the tracker waits for a sign of life of the bridge [s].
    """

    def __init__(self, faults: Sequence[Fault], bridge_timeout_s: float) -> None:
        self.faults, self._timeout_s = tuple(faults), bridge_timeout_s
        self._bridge_heard = 0.0
        self._was: set[int] = set()

    def active(self, now: float, *kinds: str) -> Fault | None:
        """The first active fault of these kinds."""
        return next((fault for fault in self.faults if fault.kind in kinds and fault.active(now)), None)

    def ticks(self, tick: int, now: float) -> bool:
        """False if the tracker's process does not run at this tick."""
        if self.active(now, "tracker_stalls"):
            return False
        if any(fault.kind == "tracker_killed" and fault.at_s <= now for fault in self.faults):
            return False
        missed = self.active(now, "missed_ticks")
        return missed is None or tick % max(1, round(missed.strength)) == 0

    def signals(self, now: float) -> Signals:
        """Bridge and e-stop sources as the faults have them; to be asked at each tick."""
        if self.active(now, "bridge_dead") is None:
            self._bridge_heard = now
        hold = "no sign of life from the driver node" if now - self._bridge_heard > self._timeout_s else None
        if self.active(now, "hold_request"):
            hold = "the bridge asks for it"
        estop: dict[str, bool] = {}
        reset = False
        for i, fault in enumerate(self.faults):
            active = fault.active(now)
            if fault.kind in ("estop", "estop_twice", "estop_reset_while_pressed"):
                estop[BUTTON] = estop.get(BUTTON, False) or active
                if fault.kind == "estop_twice":
                    estop[OTHER_BUTTON] = active and now < fault.at_s + SECOND_S
                reset |= (fault.kind == "estop" and i in self._was and not active) or (fault.kind == "estop_reset_while_pressed" and active)
            elif fault.kind == "estop_silent" and not active:
                estop["the wireless button"] = False
            if active:
                self._was.add(i)
            else:
                self._was.discard(i)
        return Signals(hold=hold, estop=estop, reset=reset)
