"""A robot arm that brings its end effector to a point: joint velocities at 20 Hz, behind the safety filter, in MuJoCo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.layout import RobotState
from taustack.sim.collect import follow_ramp, ramp_slope
from taustack.sim.goals import draw_goal
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario
from taustack.tdm_layout import TDMLayout

FloatArray = NDArray[np.float64]
AXES = ("x", "y", "z")
DT = 0.05  # [s]


def arm_layout(robot: RobotConfig, tau_max: int) -> TDMLayout:
    """State: sine and cosine of the joints, reference velocities, end effector; goal: end effector; action: reference velocities."""
    names = robot.joint_names
    state = (*(f"sin {n}" for n in names), *(f"cos {n}" for n in names), *(f"dq_ref {n}" for n in names), *(f"ee {a}" for a in AXES))
    limit = robot.limit_fraction * robot.limits("velocity")
    return TDMLayout(state=state, goal=state[-3:], action=names, action_limit=tuple(limit.tolist()), dt=DT, tau_max=tau_max)


def arm_state(state: RobotState) -> FloatArray:
    """State (3 n + 3,) of a TDM of an arm."""
    return np.concatenate([np.sin(state.q), np.cos(state.q), state.dq_ref, state.ee])


class ArmReach:
    """Starts and goals are drawn anew in each episode: a configuration that touches nothing, and a point in front of the robot."""

    def __init__(self, robot: RobotConfig, scenario: Scenario | None = None, tau_max: int = 15, steps: int = 50) -> None:
        self.name = f"{robot.name}_reach"
        self.steps = steps
        self.layout = arm_layout(robot, tau_max)
        self.robot = robot
        self._plant = MujocoPlant(robot, scenario or Scenario())
        model = compile_model(robot)
        self._chain = chain_from_model(model, robot)
        self._safety = SafetyFilter(robot, 1.0 / robot.rates.tracker_hz, keep_out_from_model(model, robot))
        self._reference = Reference.at_rest(robot.home)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """A free configuration near home (half of each joint's range), at rest, and a goal."""
        robot = self.robot
        while True:
            q = robot.home + 0.5 * rng.uniform(robot.q_min - robot.home, robot.q_max - robot.home)
            if not self._plant.in_collision(q):
                break
        self._plant.reset(q)
        self._reference = Reference.at_rest(self._plant.read().q)
        return arm_state(self._plant.read()), draw_goal(self._plant, self._chain, rng)

    def step(self, a: FloatArray) -> FloatArray:
        """Ramp the reference velocity to a within the acceleration limits; 0.05 s."""
        slope = ramp_slope(self.robot, a, self._reference.dq, DT)
        self._reference = follow_ramp(self._plant, self._safety, self._reference, slope, round(DT / self._safety.dt))
        return arm_state(self._plant.read())
