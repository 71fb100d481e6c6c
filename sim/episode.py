"""One episode in process and in lockstep: the same tracker and planner objects as on the robot, no ROS, no wall clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig, SuccessConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.planner import Planner
from taustack.errors import PlanFailed
from taustack.layout import Measured
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.log import EpisodeLog
from taustack.sim.plant import MujocoPlant

FloatArray = NDArray[np.float64]
TOLERANCE = 1e-6  # relative, on limits judged from differences of floats


@dataclass(frozen=True, kw_only=True)
class Episode:
    """What happened. Violations count ticks: of the plant (position, velocity, torque), of the reference (acceleration, jerk)."""

    goal: FloatArray
    success: bool
    time_to_goal_s: float
    final_error_m: float
    best_error_m: float
    duration_s: float
    violations: dict[str, int]
    contact_ticks: int
    failed_plans: int
    commands: FloatArray
    """Reference velocities applied, (ticks, n)."""
    effective_samples: float
    plan_time_s: float
    damped: str = ""
    """Why the tracker gave up the reference, if it did."""
    log: EpisodeLog | None = None


class LimitJudge:
    """Counts limit violations tick by tick, at the plant's true state.

    Joints that are `dead` are not judged by position and velocity. A robot with a dead joint that was damped falls; where it
    hits its surroundings the blow whips the other joints, and no motor of 12 N m holds that. Such ticks are counted apart, in `impacts`.
    """

    def __init__(self, robot: RobotConfig, torque_limit: FloatArray, dead: tuple[int, ...] = ()) -> None:
        self.robot, self.dt = robot, 1.0 / robot.rates.tracker_hz
        self.limit = {what: robot.limits(what) * (1 + TOLERANCE) for what in ("velocity", "acceleration", "jerk", "torque")}
        self.torque_limit = torque_limit * (1 + TOLERANCE)
        self.count = dict.fromkeys(("position", "velocity", "torque", "acceleration", "jerk"), 0)
        self.impacts = 0
        self._alive = np.setdiff1d(np.arange(robot.n), dead)
        self._dq_ref, self._ddq_ref = np.zeros(robot.n), np.zeros(robot.n)

    def look(self, plant: MujocoPlant, dq_ref: FloatArray, *, damped: bool = False) -> None:
        """Judge the plant and the reference velocity at its input; a damped robot has none."""
        state, alive = plant.truth(), self._alive
        ddq_ref = (dq_ref - self._dq_ref) / self.dt
        jerk = (ddq_ref - self._ddq_ref) / self.dt
        self.count["position"] += bool(((state.q < self.robot.q_min) | (state.q > self.robot.q_max))[alive].any())
        fast = bool((np.abs(state.dq) > self.limit["velocity"])[alive].any())
        falls = damped and len(alive) < self.robot.n and plant.data.ncon > 0
        self.count["velocity"] += fast and not falls
        self.impacts += fast and falls
        self.count["torque"] += bool((np.abs(state.torque) > self.torque_limit).any())
        if damped:
            self._dq_ref, self._ddq_ref = np.zeros_like(dq_ref), np.zeros_like(dq_ref)
            return
        self._dq_ref, self._ddq_ref = dq_ref.copy(), ddq_ref
        self.count["acceleration"] += bool((np.abs(ddq_ref) > self.limit["acceleration"]).any())
        self.count["jerk"] += bool((np.abs(jerk) > self.limit["jerk"]).any())


def run_episode(plant: MujocoPlant, planner: Planner, goal: FloatArray, success: SuccessConfig, log: EpisodeLog | None = None) -> Episode:
    """Reach a goal from where the plant is: until it was held, or the time is over.

    The plan of a state takes effect one control step later, as on the robot; until then the tracker follows the plan before.
    A `log` is filled with every tick and plan.
    """
    robot = plant.robot
    core = DriverCore(robot, plant, keep_out_from_model(plant.nominal, robot))
    judge = LimitJudge(robot, plant.torque_limit)
    tick_dt = core.tracker.dt
    ticks = round(robot.rates.control_dt / tick_dt)
    core.tick(plant.data.time)  # from idle to ready: plans are taken from now on
    start, entered, held, contacts, failed = plant.data.time, None, False, 0, 0
    commands: list[FloatArray] = []
    errors: list[float] = []
    samples: list[float] = []
    plan_times: list[float] = []
    while not held and plant.data.time - start < success.timeout_s + success.hold_s:
        state = plant.read()
        measured = Measured(state=state, seq=len(errors))
        try:
            plan = planner.plan(measured, goal)
            core.offer(plan)
            samples.append(plan.effective_samples)
            plan_times.append(plan.plan_time_s)
            if log is not None:
                log.planned(measured, plan)
        except PlanFailed:
            failed += 1
        base = plant.data.time
        for tick in range(ticks):
            core.tick(base + tick * tick_dt)
            if log is not None:
                log.tick(core)
            dq_ref = plant.self_stop.reference.dq
            plant.advance(tick_dt)
            judge.look(plant, dq_ref, damped=plant.self_stop.damped)
            commands.append(dq_ref.copy())
            contacts += plant.data.ncon > 0
        errors.append(float(np.linalg.norm(plant.read().ee - goal)))
        now = plant.data.time - start
        entered = (entered if entered is not None else now) if errors[-1] <= success.tolerance else None
        held = entered is not None and now - entered >= success.hold_s - 1e-9
    reached = bool(held and entered is not None and entered <= success.timeout_s)
    return Episode(
        goal=goal, success=reached, time_to_goal_s=float(entered) if reached and entered is not None else float("nan"),
        final_error_m=errors[-1], best_error_m=min(errors), duration_s=plant.data.time - start, violations=judge.count, contact_ticks=contacts,
        failed_plans=failed, commands=np.array(commands), effective_samples=float(np.mean(samples or [0.0])),
        plan_time_s=float(np.median(plan_times or [0.0])), damped=core.tracker.reason if core.tracker.damped else "", log=log,
    )  # fmt: skip
