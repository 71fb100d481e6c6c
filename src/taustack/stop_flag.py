"""Why and whether a process should end."""

from __future__ import annotations

import os
import select
import signal
import threading
import weakref

HARD_EXIT_S = 6.0  # after a signal the process ends, whatever hangs


class StopFlag:
    """Set by SIGINT, SIGTERM, or a failure; remembers why.

    A handler of signals runs between two lines of the main thread, wherever that is. `threading.Event` has a lock which a thread that waits on it
    takes for moments; set in one of these by a handler of the same thread, it waits for itself for ever. A file descriptor has none.
    """

    def __init__(self) -> None:
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._event).atexit = False  # a signal may still come
        self._set = False
        self.reason = ""
        self.failed = False

    def set(self, reason: str, *, failed: bool = False) -> None:
        self.reason = self.reason or reason
        self.failed = self.failed or failed
        if not self._set:
            self._set = True
            os.eventfd_write(self._event, 1)

    def is_set(self) -> bool:
        return self._set

    def wait(self, timeout_s: float) -> bool:
        """Until it is set, or for timeout_s [s]; True if it is."""
        if not self._set:
            waiting = select.poll()  # one of its own: several threads may wait
            waiting.register(self._event, select.POLLIN)
            waiting.poll(1e3 * timeout_s)
        return self._set


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
