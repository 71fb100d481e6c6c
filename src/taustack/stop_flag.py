"""Why and whether a process should end."""

from __future__ import annotations

import os
import signal
import threading

HARD_EXIT_S = 6.0  # after a signal the process ends, whatever hangs


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


def stop_on_signals() -> StopFlag:
    """A flag that SIGINT and SIGTERM set. Call it from the main thread."""
    stop = StopFlag()

    def on_signal(number: int, _: object) -> None:
        stop.set(signal.Signals(number).name)
        timer = threading.Timer(HARD_EXIT_S, os._exit, args=(1,))
        timer.daemon = True
        timer.start()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    return stop
