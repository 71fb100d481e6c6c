"""A stop by signal must come through wherever the main thread is at that moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from taustack.stop_flag import StopFlag

STORM = """
import signal
from taustack.stop_flag import StopFlag
for _ in range(3000):
    stop = StopFlag()
    signal.signal(signal.SIGALRM, lambda *_: stop.set("a signal"))
    signal.setitimer(signal.ITIMER_REAL, 2e-5)
    while not stop.wait(0.0):
        pass
print("through")
"""


def test_a_signal_is_heard_whenever_it_comes() -> None:
    """With the lock of a `threading.Event` one in some hundred of these handlers waits for itself."""
    done = subprocess.run([sys.executable, "-c", STORM], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "through\n", done.stderr


def test_all_who_wait_are_told_and_the_first_reason_stays() -> None:
    stop = StopFlag()
    began = time.monotonic()
    assert not stop.wait(0.02)
    assert time.monotonic() - began >= 0.02
    told = [threading.Event() for _ in range(3)]
    threads = [threading.Thread(target=lambda event=event: stop.wait(30.0) and event.set()) for event in told]
    for thread in threads:
        thread.start()
    stop.set("first")
    stop.set("second", failed=True)
    for thread in threads:
        thread.join(20.0)
    assert all(event.is_set() for event in told)
    assert (stop.is_set(), stop.wait(0.0), stop.reason, stop.failed) == (True, True, "first", True)
