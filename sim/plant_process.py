"""The simulated robot as a process of its own: impedance law, own watchdog, faults, and the true course of the run."""

from __future__ import annotations

import dataclasses
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.wire import CommandOut, Measurement, pack_measurement, reader, unpack_command, writer
from taustack.layout import RobotState
from taustack.realtime import Durations, freeze_garbage, run_periodic
from taustack.sim.faulty_robot import FaultyRobot
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario
from taustack.stop_flag import StopFlag

TRACE_S = 120.0  # the newest part of the run that is kept
TINY_S = 1e-6
CATCH_UP_S = 1.0  # at most that is made up for after the process did not run: a real robot does not pause
AFTER_STOP_S = 0.5  # the robot outlives who commands it, so that its watchdog ends the motion


class Trace:
    """The truth, one row a tracker period: t, self_stopped, damped, then q, dq, q_ref, dq_ref, torque (n each) and the end effector (3)."""

    def __init__(self, n: int, rows: int) -> None:
        self.n, self.rows = n, np.zeros((rows, 6 + 5 * n))
        self.count = 0

    def add(self, t: float, truth: RobotState, *, self_stopped: bool, damped: bool) -> None:
        """Keep the plant's state as the newest row."""
        row = self.rows[self.count % len(self.rows)]
        row[0], row[1], row[2] = t, self_stopped, damped
        row[3:] = np.concatenate((truth.ee, truth.q, truth.dq, truth.q_ref, truth.dq_ref, truth.torque))
        self.count += 1

    def columns(self) -> dict[str, NDArray[np.float64]]:
        """The rows by name, the oldest first."""
        kept, n = min(self.count, len(self.rows)), self.n
        rows = self.rows[np.arange(self.count - kept, self.count) % len(self.rows)]
        vectors = {name: rows[:, 6 + i * n : 6 + (i + 1) * n] for i, name in enumerate(("q", "dq", "q_ref", "dq_ref", "torque"))}
        return {"t": rows[:, 0], "self_stopped": rows[:, 1], "damped": rows[:, 2], "ee": rows[:, 3:6], **vectors}


class PlantProcess:
    """Commands in, measurements out, at the tracker's rate.

    Args:
        robot, scenario: what is simulated, with its faults; their times count from the first command.
        folder: the session's channels.
    """

    def __init__(self, robot: RobotConfig, scenario: Scenario, folder: Path) -> None:
        self.robot = robot
        rng = np.random.default_rng(0)
        self.plant = MujocoPlant(robot, scenario, rng)
        self.hardware = FaultyRobot(self.plant, scenario.faults, rng)
        self._commands, self._measurements = reader(folder, "command"), writer(folder, "measurement")
        self._commands.new()  # what a run before this one commanded is not for us
        self._waiting: deque[CommandOut] = deque()
        self.trace = Trace(robot.n, round(TRACE_S * robot.rates.plant_hz))
        self.lateness = Durations()
        self.unreadable = 0
        # One wake-up a tracker period: the commands come no faster, and each wake-up costs a busy machine more than a step.
        self._steps = round(robot.rates.plant_hz / robot.rates.tracker_hz)
        self.period_s = self._steps * self.plant.dt

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
        run_periodic(self.period_s, step, self.lateness)

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
            for _ in range(self._steps):
                self.hardware.step()
            self.trace.add(end, self.plant.truth(), self_stopped=self.plant.self_stopped, damped=self.plant.self_stop.damped)
        self._take_until(deadline)
        state = self.hardware.read()
        lag = self.plant.data.time - state.t  # a delayed or stopped sensor shows by its stamp
        measured = dataclasses.replace(state, t=deadline - lag)
        self._measurements.write(pack_measurement(Measurement(state=measured, estop=self.hardware.estop_pressed, self_stopped=self.hardware.self_stopped)))

    def _hear(self, deadline: float) -> None:
        """Queue what came. A command of a time that is none, or far ahead, would hold up all behind it."""
        for data in self._commands.new():
            try:
                command = unpack_command(data, self.robot.n)
            except ValueError:
                self.unreadable += 1
                continue
            if command.t <= deadline + CATCH_UP_S:
                self._waiting.append(command)
            else:
                self.unreadable += 1

    def _take_until(self, end: float) -> None:
        while self._waiting and self._waiting[0].t <= end + TINY_S:
            self._take(self._waiting.popleft())

    def _take(self, command: CommandOut) -> None:
        if command.damped:
            self.hardware.damp()
        else:
            self.hardware.write(command.q_ref, command.dq_ref)

    def write_trace(self, folder: Path) -> None:
        """The truth of the run's last two minutes, as plant.npz."""
        folder.mkdir(parents=True, exist_ok=True)
        columns: dict[str, Any] = self.trace.columns()
        np.savez_compressed(folder / "plant.npz", **columns)

    def close(self) -> None:
        self._commands.close()
        self._measurements.close()
