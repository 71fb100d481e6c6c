"""The simulated robot as a process of its own, in real time: commands and measurements pass through shared memory."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from taustack.controllers.wire import reader, writer
from taustack.realtime import Durations, freeze_garbage, run_periodic
from taustack.sim.trace import Trace
from taustack.stop_flag import StopFlag

TRACE_S = 120.0  # the newest part of the run that is kept
TINY_S = 1e-6
PHASE = 0.75
"""Of the periods, see `run_periodic`: half a period from the tracker's, so that a measurement is half a period old, and neither has to wait for the other."""
CATCH_UP_S = 1.0  # at most that is made up for after the process did not run: a real robot does not pause
AFTER_STOP_S = 0.5  # the robot outlives who commands it, so that its watchdog ends the motion


class Timed(Protocol):
    """A command with its time, monotonic [s]."""

    @property
    def t(self) -> float: ...


C = TypeVar("C", bound=Timed)


class Simulated(Protocol[C]):
    """A robot that a process simulates; C: its commands."""

    period_s: float
    """Of the tracker: what `advance` simulates."""
    trace: Trace

    def unpack(self, data: bytes) -> C:
        """A command. Raises ValueError if it is none."""
        ...

    def take(self, command: C) -> None:
        """Follow a command from now on, unless the robot's own watchdog refuses it."""
        ...

    def advance(self, end: float) -> None:
        """One period that ends at a time (monotonic, [s])."""
        ...

    def measured(self, deadline: float) -> bytes:
        """The newest measurement, as taken at a time (monotonic, [s])."""
        ...


class PlantProcess(Generic[C]):
    """Commands in, measurements out, at the tracker's rate.

    Args:
        simulated: the robot.
        folder: the session's channels.
    """

    def __init__(self, simulated: Simulated[C], folder: Path) -> None:
        self.simulated = simulated
        self._commands, self._measurements = reader(folder, "command"), writer(folder, "measurement")
        self._commands.new()  # what a run before this one commanded is not for us
        self._waiting: deque[C] = deque()
        self.lateness = Durations()
        self.unreadable = 0
        # One wake-up a tracker period: the commands come no faster, and each wake-up costs a busy machine more than a step.
        self.period_s = simulated.period_s

    def run(self, stop: StopFlag) -> None:
        """Step until stopped."""
        stopped_at: float | None = None

        def step(deadline: float, ticks: int) -> bool:
            nonlocal stopped_at
            if stop.is_set() and stopped_at is None:
                stopped_at = deadline
            self.step(deadline, ticks)
            return stopped_at is None or deadline - stopped_at < AFTER_STOP_S

        freeze_garbage()
        run_periodic(self.period_s, step, self.lateness, phase=PHASE)

    def step(self, deadline: float, periods: int = 1) -> None:
        """Simulate the tracker's periods that ended since the last call, each with the commands of its time, and measure.

        Its time is the deadline's, whenever this process gets to run: what was commanded after it waits for its own period.
        Of a pause longer than CATCH_UP_S the beginning is simulated: in it the tracker, which got no measurement, came to rest.
        Commands that left the channel meanwhile are missed as a real robot would miss them: it stops by itself.
        """
        self._hear(deadline)
        for left in range(periods - 1, max(-1, periods - 1 - round(CATCH_UP_S / self.period_s)), -1):
            end = deadline - left * self.period_s
            self._take_until(end)
            self.simulated.advance(end)
        self._take_until(deadline)
        self._measurements.write(self.simulated.measured(deadline))

    def _hear(self, deadline: float) -> None:
        """Queue what came. A command of a time that is none, or far ahead, would hold up all behind it."""
        for data in self._commands.new():
            try:
                command = self.simulated.unpack(data)
            except ValueError:
                self.unreadable += 1
                continue
            if command.t <= deadline + CATCH_UP_S:
                self._waiting.append(command)
            else:
                self.unreadable += 1

    def _take_until(self, end: float) -> None:
        while self._waiting and self._waiting[0].t <= end + TINY_S:
            self.simulated.take(self._waiting.popleft())

    def write_trace(self, folder: Path) -> None:
        """The truth of the run's last two minutes, as plant.npz."""
        folder.mkdir(parents=True, exist_ok=True)
        columns: dict[str, Any] = self.simulated.trace.columns()
        np.savez_compressed(folder / "plant.npz", **columns)

    def close(self) -> None:
        self._commands.close()
        self._measurements.close()
