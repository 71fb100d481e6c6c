"""A robot at the other end of shared memory: the simulated one, or an adapter that owns the real one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.wire import CommandOut, Measurement, pack_command, reader, unpack_measurement, writer
from taustack.errors import TaustackError
from taustack.layout import RobotState
from taustack.stop_flag import StopFlag

FloatArray = NDArray[np.float64]


class SharedHardware:
    """Reads the newest measurement, writes commands; never waits.

    Args:
        folder: the session's channels.
        n: number of joints.
    """

    def __init__(self, folder: Path, n: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.n, self.clock = n, clock
        self._measurements, self._commands = reader(folder, "measurement"), writer(folder, "command")
        self._newest: Measurement | None = None
        self.unreadable = 0

    def wait(self, timeout_s: float, stop: StopFlag | None = None) -> bool:
        """Wait for the first measurement; False if `stop` was set before it came.

        Raises:
            TaustackError: none came.
        """
        return wait_for_measurement(self.look, timeout_s, stop, self.clock)

    def look(self) -> bool:
        """Take in the newest measurement, which `read` gives until the next look; False before the first one came.

        Look before reading the clock: a process that is not run between the two then finds the measurement old, never in the future.
        """
        data = self._measurements.newest_message()
        if data is not None:
            try:
                self._newest = unpack_measurement(data, self.n)
            except ValueError:
                self.unreadable += 1
        return self._newest is not None

    def read(self) -> RobotState:
        """The measurement of the last look."""
        assert self._newest is not None, "call wait() first"
        return self._newest.state

    def write(self, q_ref: FloatArray, dq_ref: FloatArray) -> None:
        self._commands.write(pack_command(CommandOut(t=self.clock(), q_ref=q_ref, dq_ref=dq_ref, damped=False)))

    def damp(self) -> None:
        state = self.read()
        self._commands.write(pack_command(CommandOut(t=self.clock(), q_ref=state.q, dq_ref=np.zeros(self.n), damped=True)))

    @property
    def estop_pressed(self) -> bool:
        return self._newest is not None and self._newest.estop

    @property
    def self_stopped(self) -> bool:
        return self._newest is not None and self._newest.self_stopped

    def close(self) -> None:
        """Let the channels go."""
        self._measurements.close()
        self._commands.close()


def wait_for_measurement(look: Callable[[], bool], timeout_s: float, stop: StopFlag | None, clock: Callable[[], float]) -> bool:
    """Look until there is one; False if `stop` was set before it came.

    Raises:
        TaustackError: none came within timeout_s [s].
    """
    until = clock() + timeout_s
    while not look():
        if stop is not None and stop.is_set():
            return False
        if clock() > until:
            raise TaustackError(f"no measurement from the robot within {timeout_s:g} s: is its process running?")
        time.sleep(0.01)
    return True
