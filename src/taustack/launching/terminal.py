"""The e-stop of who started the stack: keys of the terminal, straight to the tracker's shared memory, past all of ROS.

A process of its own with a priority of its own: `python -m taustack.launching.terminal SESSION`. A runner that is busy, or
stopped, does not silence it; one that dies takes it along, and silence is pressed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
import time
import tty
from functools import partial
from typing import IO

from taustack.controllers.wire import Request, pack_request, writer
from taustack.parent import die_with_parent
from taustack.realtime import ask_for_real_time, real_time_wanted
from taustack.shared_memory import session_folder

BEAT_S = 0.05
PRIORITY = 30
PRESS, RESET = " e", "r"
HELP = "keys: SPACE or e presses the e-stop, r resets it"


class Terminal:
    """The handle that the runner has of that process.

    Args:
        session: whose tracker listens.
        out: where it says what it did.
    """

    def __init__(self, session: str, out: IO[str]) -> None:
        self._interactive = sys.stdin is not None and sys.stdin.isatty()
        self._saved = termios.tcgetattr(sys.stdin) if self._interactive else None
        command = [sys.executable, "-m", "taustack.launching.terminal", session, *(["--keys"] if self._interactive else [])]
        read, self._write = os.pipe()
        self.process = subprocess.Popen([*command, str(read)], pass_fds=(read,), preexec_fn=partial(die_with_parent, signal.SIGKILL))
        os.close(read)
        if self._interactive:
            print(f"[up] {HELP}", file=out, flush=True)

    def press(self) -> None:
        """Press the e-stop."""
        os.write(self._write, b"e")

    def reset(self) -> None:
        """Let go of it and ask for a reset."""
        os.write(self._write, b"r")

    def close(self) -> None:
        """End the process and give the terminal back as it was."""
        os.close(self._write)
        try:
            self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)


def beat(session: str, sources: list[int]) -> None:
    """Give a sign of life 20 times a second and act on keys, until the first source is closed."""
    channel = writer(session_folder(session), "terminal")
    pressed, resets = False, 0
    while True:
        ready = select.select(sources, [], [], BEAT_S)[0]
        for source in ready:
            keys = os.read(source, 64).decode("ascii", "ignore")
            if not keys and source == sources[0]:
                return
            if not keys:
                sources.remove(source)
            for key in keys:
                if key in PRESS:
                    pressed = True
                    print("[up] E-STOP pressed; r resets it", flush=True)
                elif key == RESET:
                    pressed, resets = False, resets + 1
                    print("[up] e-stop: reset asked for", flush=True)
        request = Request(t=time.monotonic(), estop=pressed, estop_reason="a key", resets=resets)
        channel.write(pack_request(request))


def main() -> None:
    """Ctrl-C is for the runner; this process ends when the runner closes its pipe, or dies."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if real_time_wanted():
        ask_for_real_time(PRIORITY)
    session, pipe = sys.argv[1], int(sys.argv[-1])
    sources = [pipe]
    if "--keys" in sys.argv:
        tty.setcbreak(sys.stdin)
        sources.append(sys.stdin.fileno())
    beat(session, sources)


if __name__ == "__main__":
    main()
