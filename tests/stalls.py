"""What the machine did while a test ran: one watcher per core at the highest priority writes down when it could not run.

The tests of the real graph run in real time. Where the host takes the cores away for longer than the plant waits for a command,
arms stop, e-stops latch, and a failed test says nothing about the code: its verdict is "inconclusive", and it is tried again.
Without the right to that priority there is no witness, and every failure counts.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

STALL_S = 0.02  # as long as the plant waits for a command before it stops by itself
PERIOD_S = 0.004
PRIORITY = 90  # over all of the stack, so that the stack's own load is never taken for the host's


def watch(core: int) -> None:
    """Print the begin and length of each gap longer than STALL_S (monotonic, [s]) until the parent is gone."""
    os.sched_setaffinity(0, {core})
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    parent, last = os.getppid(), time.monotonic()
    while os.getppid() == parent:
        time.sleep(PERIOD_S)
        now = time.monotonic()
        if now - last > STALL_S:
            print(last, now - last, flush=True)
        last = now


@dataclass
class Witness:
    """Watches all cores from `start()` to `stop()`."""

    watchers: list[subprocess.Popen[str]] = field(default_factory=list)
    gaps: list[tuple[float, float]] = field(default_factory=list)

    def start(self) -> None:
        """Start the watchers; a second time changes nothing."""
        if self.watchers:
            return
        for core in sorted(os.sched_getaffinity(0)):
            call = [sys.executable, "-S", __file__, str(core)]
            self.watchers.append(subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True))
            threading.Thread(target=self._listen, args=(self.watchers[-1],), daemon=True).start()

    def stop(self) -> None:
        """End them."""
        for watcher in self.watchers:
            watcher.kill()
            watcher.wait()
        self.watchers.clear()

    def stalls(self, began: float, ended: float) -> list[float]:
        """Lengths of the gaps between two times [s]."""
        return [length for at, length in self.gaps if at < ended and at + length > began]

    def wait_for_rest(self, quiet_s: float, timeout_s: float) -> bool:
        """True once no core was taken away for `quiet_s`."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            time.sleep(0.1)
            now = time.monotonic()
            if not self.stalls(now - quiet_s, now):
                return True
        return False

    def _listen(self, watcher: subprocess.Popen[str]) -> None:
        assert watcher.stdout is not None
        for line in watcher.stdout:
            at, length = line.split()
            self.gaps.append((float(at), float(length)))


if __name__ == "__main__":
    watch(int(sys.argv[1]))
