"""What the tasks of an arm share: reference velocities at a low rate, behind the safety filter, in MuJoCo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.kinematics import KinematicChain
from taustack.layout import RobotState
from taustack.sim.collect import follow_ramp, ramp_slope
from taustack.sim.goals import draw_goal
from taustack.sim.keep_out import keep_out_from_model
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario
from taustack.sim.tdm_tasks.ticks import whole_ticks
from taustack.tdm_arm import joint_state, layout_of, reach_layout, reach_state

FloatArray = NDArray[np.float64]
CORNER = 0.9  # share of each joint's range that configurations are drawn from


class Arm:
    """A simulated arm whose reference ramps to a wanted velocity in each step, within its acceleration limits."""

    def __init__(self, robot: RobotConfig, scenario: Scenario | None) -> None:
        self.robot = robot
        self.plant = MujocoPlant(robot, scenario or Scenario())
        model = compile_model(robot)
        self.chain: KinematicChain = chain_from_model(model, robot)
        self._keep_out = keep_out_from_model(model, robot)
        self._safety = SafetyFilter(robot, 1.0 / robot.rates.tracker_hz, self._keep_out)
        self._reference = Reference.at_rest(robot.home)

    def reset(self, rng: np.random.Generator, share: float) -> RobotState:
        """At rest in a free configuration: home and so much of the way to the limits at the most."""
        q = self.free_configuration(rng, share)
        self.plant.reset(q)
        self._reference = Reference.at_rest(self.plant.read().q)
        return self.plant.read()

    def free_configuration(self, rng: np.random.Generator, share: float) -> FloatArray:
        """Joint positions (n,) that touch nothing, and outside the margin in which the safety filter lets a robot move only back."""
        robot = self.robot
        while True:
            q = robot.home + share * rng.uniform(robot.q_min - robot.home, robot.q_max - robot.home)
            if not self.plant.in_collision(q) and self._keep_out.distances(q[None]).min() >= self._safety.margin:
                return np.asarray(q)

    def step(self, a: FloatArray, ticks: int) -> RobotState:
        """The state after so many ticks of the tracker towards reference velocities a (n,)."""
        slope = ramp_slope(self.robot, a, self._reference.dq, ticks * self._safety.dt)
        self._reference = follow_ramp(self.plant, self._safety, self._reference, slope, ticks)
        return self.plant.read()


class ArmReach:
    """Goals are points for the end effector. Each episode begins at rest, at half of the joints' ranges at the most."""

    def __init__(self, robot: RobotConfig, scenario: Scenario | None = None, tau_max: int = 15, steps: int = 50) -> None:
        self.name = f"{robot.name}_reach"
        self.steps = steps
        self._arm = Arm(robot, scenario)
        self.layout = reach_layout(robot, self._arm.chain, tau_max)
        self._ticks = whole_ticks(robot.folder, "end_effector_position", self.layout.dt, robot.rates.tracker_hz)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """A free configuration, and a point in front of the robot."""
        state = self._arm.reset(rng, 0.5)
        return reach_state(state), draw_goal(self._arm.plant, self._arm.chain, rng)

    def step(self, a: FloatArray) -> FloatArray:
        """dt towards velocities of the reference."""
        return reach_state(self._arm.step(a, self._ticks))


class ArmJoints:
    """Goals are joint positions: what a planner of subgoals chains, for the state at rest there is known."""

    def __init__(self, robot: RobotConfig, scenario: Scenario | None = None, tau_max: int = 15, steps: int = 24) -> None:
        self.name = f"{robot.name}_joints"
        self.steps = steps
        self.layout = layout_of(robot, tau_max)
        self._ticks = whole_ticks(robot.folder, "joint_positions", self.layout.dt, robot.rates.tracker_hz)
        self._arm = Arm(robot, scenario)

    def reset(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Two free configurations."""
        state = self._arm.reset(rng, CORNER)
        return np.asarray(joint_state(state.x())), self._arm.free_configuration(rng, CORNER)

    def step(self, a: FloatArray) -> FloatArray:
        """dt towards velocities of the reference."""
        return np.asarray(joint_state(self._arm.step(a, self._ticks).x()))
