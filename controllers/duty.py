"""How long work that may fill a core has to rest, so that something is left for all that it does not know of."""

from __future__ import annotations


class Duty:
    """Work owes rest for the time it took; waiting, for whatever reason, pays it back.

    Args:
        rest: seconds of rest owed for a second of work.
        credit_s: what may be owed before work has to wait: a single long step shall not cost the next one its turn.
    """

    def __init__(self, rest: float, credit_s: float) -> None:
        self._rest, self._credit_s = rest, credit_s
        self._owed_s = 0.0
        self._since = float("inf")

    def may_begin(self, now: float) -> bool:
        """True if little enough is owed at `now` [s]."""
        return self._owed_s - max(0.0, now - self._since) <= self._credit_s

    def worked(self, began: float, ended: float) -> None:
        """Take note of work between two times [s]."""
        self._owed_s = max(0.0, self._owed_s - max(0.0, began - self._since)) + self._rest * (ended - began)
        self._since = ended
