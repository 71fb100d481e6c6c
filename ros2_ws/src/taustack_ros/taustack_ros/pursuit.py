"""A goal that the subgoal planner pursues: how near it is, how long it was held, and what its client is told."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future
from taustack_msgs.action import ReachGoal

from taustack.config import RobotConfig
from taustack.controllers.subgoals import Subgoal
from taustack.obstacles import Obstacle, obstacle_rows, point_distances

SAME_M = 1e-3  # a subgoal that moved by less is not sent again
FLOOD = 20  # goals in a second; more are refused


class Flood:
    """Counts goals as they come."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=FLOOD)

    def fault(self, now: float) -> str | None:
        """Take note of a goal at time now [s]; what is wrong if there are too many, or None."""
        flooded = len(self._recent) == FLOOD and now - self._recent[0] < 1.0
        self._recent.append(now)
        return f"goals: got more than {FLOOD} in a second, expected fewer" if flooded else None


@dataclass(kw_only=True)
class Pursuit:
    """A goal that runs."""

    handle: ServerGoalHandle
    goal: np.ndarray
    tolerance: float
    hold_s: float
    timeout_s: float
    started: float
    done: Future
    subgoal: Subgoal | None = None
    sent: np.ndarray | None = None
    due: float = 0.0
    choosing: bool = False
    moving: bool = False
    error: float = float("nan")
    entered: float | None = None

    def look(self, ee: np.ndarray, now: float) -> None:
        """Take note of where the end effector is."""
        self.error = float(np.linalg.norm(ee - self.goal))
        if self.error > self.tolerance:
            self.entered = None
        elif self.entered is None:
            self.entered = now

    def is_new(self, subgoal: np.ndarray) -> bool:
        """True if a subgoal, a point (3,) [m] and maybe joint positions, is another one than was sent last; it counts as sent then."""
        if self.sent is not None and self.sent.size == subgoal.size and np.abs(subgoal - self.sent).max() <= SAME_M:
            return False
        self.sent = subgoal
        return True

    def held(self, now: float) -> bool:
        """True once it stayed within the tolerance for hold_s."""
        return self.entered is not None and now - self.entered >= self.hold_s


def feedback_of(pursuit: Pursuit, now: float) -> ReachGoal.Feedback:
    """What a client is told on the way."""
    subgoal = pursuit.subgoal
    told = {"left": math.nan, "probability": math.nan}
    if subgoal is not None:
        told |= {"expected_s": subgoal.time_s, "tau_s": subgoal.tau_s, "free": subgoal.free}
        told |= {name: value for name, value in (("left", subgoal.left_m), ("probability", subgoal.probability)) if value is not None}
    return ReachGoal.Feedback(distance=pursuit.error, elapsed_s=now - pursuit.started, **told)


def fault_of(request: ReachGoal.Goal, base_frame: str) -> str | None:
    """What is wrong with a request by itself, or None."""
    frame = request.target.header.frame_id
    if frame not in ("", base_frame):
        return f"target.header.frame_id: got {frame!r}, expected {base_frame!r} or empty"
    for name in ("tolerance", "hold_s", "timeout_s"):
        value = getattr(request, name)
        if not (np.isfinite(value) and value >= 0):
            return f"{name}: got {value}, expected a finite value of at least 0"
    return None


def point_of(request: ReachGoal.Goal) -> np.ndarray:
    """The goal (3,) [m] of a request."""
    return np.array([request.target.point.x, request.target.point.y, request.target.point.z])


def place_fault(point: np.ndarray, robot: RobotConfig, obstacles: Sequence[Obstacle]) -> str | None:
    """What is wrong with a goal (3,) [m] where it is, or None."""
    expected = robot.workspace.fault(point)
    if expected is not None:
        return f"target.point: got {point.tolist()}, expected {expected}"
    depth = float(point_distances(point, obstacle_rows(obstacles)).min(initial=np.inf))
    if depth < 0:
        return f"target.point: got {point.tolist()}, {-1e3 * depth:.0f} mm inside an obstacle, expected one outside of them"
    return None
