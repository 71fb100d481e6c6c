"""One lockstep episode of a robot on legs: plant, estimator, law, gait. The law never sees the simulator's truth."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.attitude import yaw_of
from taustack.controllers.gait_state import GaitCommand
from taustack.controllers.walk_laws import WalkLaw, towards
from taustack.controllers.walk_state import WalkState
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_rig import LeggedRig
from taustack.sim.walk_log import WalkLog
from taustack.walk_task import WalkTaskConfig

FloatArray = NDArray[np.float64]
STAND_S = 0.5
"""Before a task begins: the robot settles on its feet."""
SETTLE_S = 1.0
"""After a command changed, until how well it is kept is judged."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What an episode asks. goal (2,) on the floor [m] for a task of that kind; velocities (N, 3), one every `change_s`; kicks (M, 4): time [s],
    velocity in the world (3,) [m/s]; heading at the start [rad]."""

    yaw: float
    goal: FloatArray = field(default_factory=lambda: np.zeros(0))
    velocities: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    kicks: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))

    @classmethod
    def drawn(cls, task: WalkTaskConfig, frequency: float, rng: np.random.Generator) -> Course:
        """One of a task: goals in any direction, commands within the task's, kicks at any phase of the gait and in any direction."""
        yaw, bearing = rng.uniform(-np.pi, np.pi, 2)
        if task.kind == "goal":
            return cls(yaw=yaw, goal=rng.uniform(*task.distance) * np.array([np.cos(bearing), np.sin(bearing)]))
        velocities = rng.uniform(-1, 1, (int(np.ceil(task.timeout_s / task.change_s)), 3)) * np.array(task.velocity)
        kicks = np.zeros((0, 4))
        if task.kick_every_s is not None:
            times = np.arange(task.kick_every_s, task.timeout_s - 1.0, task.kick_every_s)
            angles = rng.uniform(-np.pi, np.pi, len(times))
            times = times + rng.uniform(0, 1 / frequency, len(times))
            kicks = np.stack([times, task.kick * np.cos(angles), task.kick * np.sin(angles), 0 * times], -1)
        return cls(yaw=yaw, velocities=velocities, kicks=kicks)

    def wanted(self, task: WalkTaskConfig, t: float, state: WalkState) -> FloatArray:
        """Velocity (3,) that is wanted at time t [s] of the task."""
        if task.kind == "goal":
            return towards(self.goal, state, np.array(task.velocity))
        return np.asarray(self.velocities[min(int(t / task.change_s), len(self.velocities) - 1)])


@dataclass(frozen=True, kw_only=True)
class WalkRow:
    """50 times a second. t [s]; wanted, true and estimated local velocity (3,); true and estimated position (3,); qpos (nq,) of the simulation."""

    t: float
    wanted: FloatArray
    velocity: FloatArray
    velocity_said: FloatArray
    position: FloatArray
    position_said: FloatArray
    qpos: FloatArray


@dataclass(frozen=True, kw_only=True)
class WalkEpisode:
    """What came of it."""

    course: Course
    rows: list[WalkRow]
    fallen: bool
    success: bool
    time_s: float
    fastest: float
    kicks_survived: int
    log: WalkLog | None = None


def run_walk(plant: LeggedPlant, law: WalkLaw, task: WalkTaskConfig, course: Course, log: WalkLog | None = None) -> WalkEpisode:
    """Run one episode: stand, then the task until it is done, time is over, or the robot has fallen."""
    rig, stand = LeggedRig(plant), GaitCommand(velocity=np.zeros(3))
    rig.reset(course.yaw)
    law.reset()
    for _ in range(round(STAND_S / rig.dt)):
        state = rig.tick(stand)
    each = round(plant.robot.rates.tracker_hz / plant.robot.rates.plan_hz)
    command, wanted, rows, kicked = stand, np.zeros(3), [], 0
    for tick in range(round(task.timeout_s / rig.dt)):
        t = tick * rig.dt
        if tick % each == 0:
            wanted = course.wanted(task, t, state)
            command = law.command(wanted, state)
            rows.append(_row(t, wanted, state, plant))
        if kicked < len(course.kicks) and t >= course.kicks[kicked, 0]:
            plant.kick(course.kicks[kicked, 1:])
            kicked += 1
        state = rig.tick(command)
        if log is not None:
            log.tick(state)
        if plant.fallen or _arrived(task, course, plant, wanted):
            break
    if log is not None:
        log.fallen = plant.fallen
    return replace(_episode(task, course, rows, plant, t, kicked), log=log)


def _arrived(task: WalkTaskConfig, course: Course, plant: LeggedPlant, wanted: FloatArray) -> bool:
    """True once the robot is at the goal by the simulator's truth, and means to stand."""
    return task.kind == "goal" and not wanted.any() and _distance(course, plant) < task.tolerance


def _distance(course: Course, plant: LeggedPlant) -> float:
    return float(np.hypot(*(course.goal - plant.truth().position[:2])))


def _episode(task: WalkTaskConfig, course: Course, rows: list[WalkRow], plant: LeggedPlant, t: float, kicked: int) -> WalkEpisode:
    fallen = plant.fallen
    success = not fallen and (task.kind != "goal" or _distance(course, plant) < task.tolerance)
    return WalkEpisode(
        course=course, rows=rows, fallen=fallen, success=success, time_s=t, fastest=plant.fastest, kicks_survived=kicked - int(fallen and kicked > 0),
    )  # fmt: skip


def _row(t: float, wanted: FloatArray, state: WalkState, plant: LeggedPlant) -> WalkRow:
    truth = plant.truth()
    yaw = yaw_of(truth.quaternion)
    c, s = np.cos(yaw), np.sin(yaw)
    vx, vy = truth.velocity[:2]
    turn = float(plant.data.qvel[5])
    return WalkRow(
        t=t, wanted=wanted, velocity=np.array([c * vx + s * vy, c * vy - s * vx, turn]), velocity_said=state.base.local_velocity,
        position=truth.position, position_said=state.base.position, qpos=plant.data.qpos.copy(),
    )  # fmt: skip


def kept_velocity(task: WalkTaskConfig, episode: WalkEpisode, frequency: float, plan_hz: float) -> FloatArray:
    """Errors (N, 3) between wanted velocity and the true one averaged over a stride, away from changes of the command."""
    if not episode.rows:
        return np.zeros((0, 3))
    stride = max(1, round(plan_hz / frequency))
    velocity = np.array([row.velocity for row in episode.rows])
    mean = np.stack([np.convolve(velocity[:, i], np.full(stride, 1 / stride), mode="same") for i in range(3)], -1)
    settled = np.array([row.t % task.change_s > SETTLE_S for row in episode.rows])
    settled[-stride:] = False
    errors: FloatArray = (mean - np.array([row.wanted for row in episode.rows]))[settled]
    return errors
