"""Why and whether a process should end."""

from __future__ import annotations

import threading


class StopFlag:
    """Set by SIGINT, SIGTERM, or a failure; remembers why."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.reason = ""
        self.failed = False

    def set(self, reason: str, *, failed: bool = False) -> None:
        self.reason = self.reason or reason
        self.failed = self.failed or failed
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)
