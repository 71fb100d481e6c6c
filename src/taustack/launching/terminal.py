"""The e-stop of who started the stack: keys of its terminal, straight to the tracker's shared memory, past all of ROS."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from typing import IO

from taustack.controllers.wire import Request, pack_request, writer
from taustack.shared_memory import session_folder

BEAT_S = 0.05
HELP = "keys: SPACE or e presses the e-stop, r resets it"


class Terminal:
    """Gives a sign of life 20 times a second; SPACE or e presses, r releases and asks for a reset.

    Args:
        session: whose tracker listens.
        out: where it says what it did.
        read_keys: returns the keys since the last call; None reads this process's terminal if it has one.
    """

    def __init__(self, session: str, out: IO[str], read_keys: Callable[[], str] | None = None) -> None:
        self._channel = writer(session_folder(session), "terminal")
        self._out = out
        self._saved = None
        if read_keys is None and sys.stdin is not None and sys.stdin.isatty():
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            print(f"[up] {HELP}", file=out, flush=True)
            read_keys = _keys_of_stdin
        self._read_keys = read_keys or (lambda: "")
        self._pressed, self._resets = False, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="terminal", daemon=True)
        self._thread.start()

    def press(self) -> None:
        """Press the e-stop."""
        self._pressed = True
        print("[up] E-STOP pressed; r resets it", file=self._out, flush=True)

    def reset(self) -> None:
        """Let go of it and ask for a reset."""
        self._pressed = False
        self._resets += 1
        print("[up] e-stop: reset asked for", file=self._out, flush=True)

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._end.set()
        self._thread.join(timeout=1.0)
        if self._saved is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
        self._channel.close()

    def _run(self) -> None:
        while not self._end.is_set():
            for key in self._read_keys():
                if key in " e":
                    self.press()
                elif key == "r":
                    self.reset()
            request = Request(t=time.monotonic(), estop=self._pressed, estop_reason="a key", resets=self._resets)
            self._channel.write(pack_request(request))
            self._end.wait(BEAT_S)


def _keys_of_stdin() -> str:
    """Keys that wait at the terminal; none if this process is in the background."""
    if os.getpgrp() != os.tcgetpgrp(sys.stdin.fileno()) or not select.select([sys.stdin], [], [], 0)[0]:
        return ""
    return os.read(sys.stdin.fileno(), 64).decode("ascii", "ignore")
