"""Lines to stderr from a loop that must not wait: a full pipe, or a reader that was stopped, holds up only this thread."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading

ROOM = 1000  # lines that may wait; later ones are lost


class LogThread:
    """`say` returns at once."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(ROOM)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def say(self, line: str) -> None:
        """Queue a line; it is lost if too many wait."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self, timeout_s: float = 0.5) -> None:
        """Give the lines that wait a moment to get out."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            print(line, file=sys.stderr, flush=True)
