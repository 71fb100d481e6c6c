"""Controllers without learning and without looking ahead, to stand beside every result."""

from __future__ import annotations

import mink
import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.plan import Plan
from taustack.errors import PlanFailed
from taustack.layout import Measured
from taustack.sim.mjcf import compile_model, joint_addresses

FloatArray = NDArray[np.float64]


class LeastSquaresVelocity:
    """Damped-least-squares velocity control of the end-effector position, by mink's differential inverse kinematics.

    Asks for the velocity that closes the distance in `time_constant_s`, within velocity and position limits, and brakes in
    time: the task-space speed is bounded by what the slowest joint can shed.
    """

    def __init__(self, robot: RobotConfig, time_constant_s: float = 0.2, damping: float = 1e-2) -> None:
        self.robot, self.dt = robot, robot.rates.control_dt
        self.time_constant_s, self.damping = time_constant_s, damping
        self.model = compile_model(robot)
        self._qpos, self._dof, _ = joint_addresses(self.model, robot)
        self._task = mink.FrameTask(robot.end_effector_site, "site", position_cost=1.0, orientation_cost=0.0, lm_damping=damping)
        bound = robot.limit_fraction * robot.limits("velocity")
        self._limits = [mink.ConfigurationLimit(self.model), mink.VelocityLimit(self.model, dict(zip(robot.joint_names, bound, strict=True)))]
        self._rate = robot.limit_fraction * robot.limits("acceleration") * self.dt
        self._seq = 0

    def reset(self) -> None:
        """Nothing is kept between plans."""

    def plan(self, measured: Measured, goal: FloatArray, tau: float = 0.0) -> Plan:
        """Constant velocity towards the goal for five steps, from the reference the robot has reached."""
        state = measured.state
        if state.q.shape != (self.robot.n,) or state.dq.shape != (self.robot.n,):
            raise PlanFailed(f"state of {state.q.size} and {state.dq.size} joints, expected {self.robot.n}")
        qpos = np.zeros(self.model.nq)
        qpos[self._qpos] = state.q_ref
        configuration = mink.Configuration(self.model, qpos)
        target = configuration.get_transform_frame_to_world(self.robot.end_effector_site, "site")
        self._task.set_target(mink.SE3.from_rotation_and_translation(target.rotation(), goal))
        try:
            velocity = mink.solve_ik(configuration, [self._task], self.time_constant_s, solver="daqp", damping=self.damping, limits=self._limits)
        except mink.MinkError as error:
            raise PlanFailed(f"inverse kinematics found no velocity: {error}") from None
        wanted = velocity[self._dof]
        before, actions = state.dq_ref, []
        for _ in range(5):
            before = np.clip(wanted, before - self._rate, before + self._rate)
            actions.append(before)
        self._seq += 1
        return Plan(
            seq=self._seq, state_seq=measured.seq, epoch=measured.epoch, state_t=state.t, effective_t=state.t + self.dt, dt=self.dt,
            actions=np.array(actions), states=np.tile(state.x(), (6, 1)),
        )  # fmt: skip
