"""Steps of a task in ticks of the robot's tracker."""

from __future__ import annotations

from pathlib import Path

from taustack.errors import BadInput


def whole_ticks(folder: Path, goal_space: str, dt: float, tracker_hz: float) -> int:
    """How many ticks a step of dt [s] has.

    Raises:
        BadInput: not a whole number.
    """
    ticks = dt * tracker_hz
    if round(ticks) < 1 or abs(ticks - round(ticks)) > 1e-6:
        raise BadInput(folder / "robot.yaml", f"goal_spaces.{goal_space}.dt", dt, f"a whole number of ticks of {1 / tracker_hz:g} s (rates.tracker_hz)")
    return round(ticks)
