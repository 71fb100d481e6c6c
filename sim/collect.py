"""Smooth random motion within the limits, to learn from: `taustack collect`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from taustack.config import RobotConfig
from taustack.controllers.reference import Reference
from taustack.controllers.safety import SafetyFilter
from taustack.models.dataset import Run
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario

FloatArray = NDArray[np.float64]
LOOKAHEAD_S = 0.5


def collect_run(robot: RobotConfig, scenario: Scenario, seconds: float, seed: int, on_step: Callable[[int], object] = lambda _: None) -> Run:
    """Drive the plant with random velocity ramps for `seconds` and record a transition every control_dt.

    Every 0.1–0.5 s each joint draws a new velocity to ramp to: uniform within the limits, or zero in one of six draws. A
    draw whose motion would touch something within the lookahead is drawn again; if none is free the arm brakes.
    """
    rng = np.random.default_rng(seed)
    plant = MujocoPlant(robot, scenario, rng)
    plant.reset(_free_configuration(robot, plant, rng))
    tick_dt = 1.0 / robot.rates.tracker_hz
    safety, reference = SafetyFilter(robot, tick_dt), Reference.at_rest(plant.read().q)
    ticks = round(robot.rates.control_dt / tick_dt)
    states, u = [plant.read()], []
    wanted, left = np.zeros(robot.n), 0
    for _ in range(round(seconds / robot.rates.control_dt)):
        if left == 0:
            wanted, left = _draw(robot, plant, reference, rng), int(rng.integers(5, 26))
        slope = ramp_slope(robot, wanted, reference.dq, robot.rates.control_dt)
        reference = follow_ramp(plant, safety, reference, slope, ticks)
        state = plant.read()
        states.append(state)
        u.append(state.dq_ref)
        left -= 1
        on_step(1)
    return Run(x=np.array([s.x() for s in states]), u=np.array(u), ee=np.array([s.ee for s in states]), torque=np.array([s.torque for s in states]))


def follow_ramp(plant: MujocoPlant, safety: SafetyFilter, reference: Reference, slope: FloatArray, ticks: int) -> Reference:
    """Ramp the reference velocity by `slope` (n,) for so many ticks of the tracker, through the safety filter; the reference at the end."""
    start = reference.dq
    for tick in range(ticks):
        reference, _ = safety.step(reference, start + slope * (tick + 1) * safety.dt, slope)
        plant.write(reference.q, reference.dq)
        plant.advance(safety.dt)
    return reference


def ramp_slope(robot: RobotConfig, wanted: FloatArray, dq_ref: FloatArray, dt: float) -> FloatArray:
    """Slope (n,) of a ramp over `dt` [s] towards a wanted velocity, within the acceleration limits."""
    bound = robot.limit_fraction * robot.limits("acceleration")
    return np.clip((wanted - dq_ref) / dt, -bound, bound)


def _draw(robot: RobotConfig, plant: MujocoPlant, reference: Reference, rng: np.random.Generator) -> FloatArray:
    bound = robot.limit_fraction * robot.limits("velocity")
    for _ in range(30):
        wanted = rng.uniform(-bound, bound) * rng.uniform(0.2, 1.0)
        wanted *= rng.random(robot.n) > 1 / 6
        if _stays_free(robot, plant, reference, wanted):
            return wanted
    return np.zeros(robot.n)


def _stays_free(robot: RobotConfig, plant: MujocoPlant, reference: Reference, wanted: FloatArray) -> bool:
    """Kinematic look ahead: ramp to `wanted`, run for LOOKAHEAD_S, then brake; nothing may touch."""
    dt = robot.rates.control_dt
    q, dq = reference.q, reference.dq
    steps = round(LOOKAHEAD_S / dt)
    for step in range(2 * steps):
        slope = ramp_slope(robot, wanted if step < steps else np.zeros(robot.n), dq, dt)
        q, dq = q + dt * (dq + 0.5 * dt * slope), dq + dt * slope
        q = np.clip(q, robot.q_min, robot.q_max)
        if step % 4 == 3 and plant.in_collision(q):
            return False
    return True


def _free_configuration(robot: RobotConfig, plant: MujocoPlant, rng: np.random.Generator) -> FloatArray:
    for _ in range(1000):
        q = rng.uniform(robot.q_min, robot.q_max)
        if not plant.in_collision(q):
            return q
    return robot.home
