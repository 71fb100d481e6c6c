"""Delays are found in runs, and a planner that knows them does better."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import load_bundle
from taustack.controllers.mppi import MPPI
from taustack.controllers.plan import Plan
from taustack.errors import BadInput
from taustack.manifest import MANIFEST
from taustack.models.dataset import Run
from taustack.models.delay import aligned, identify_delay
from taustack.sim.collect import collect_run
from taustack.sim.episode import run_episode
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario


class Watched(MPPI):
    """Keeps the least trust and the largest load of its plans."""

    least_trust, most_load = 10_000, 0.0

    def plan(self, *arguments: Any, **more: Any) -> Plan:
        plan = super().plan(*arguments, **more)
        self.least_trust, self.most_load = min(self.least_trust, self.trust.steps), max(self.most_load, plan.cost["load"])
        return plan


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_a_delay_is_found_joint_by_joint(robot: RobotConfig, steps: int) -> None:
    runs = [collect_run(robot, Scenario(actuator_delay_s=0.02 * steps), 8.0, seed) for seed in range(2)]
    found = identify_delay(runs, robot.joint_names)
    assert found.steps == steps
    assert sum(joint == steps for joint in found.per_joint) >= 5


def test_payload_and_friction_are_not_taken_for_a_delay(robot: RobotConfig) -> None:
    scenario = Scenario(payload_kg=2.5, joint_friction=0.02, damping_scale=3.0, actuator_delay_s=0.04)
    assert identify_delay([collect_run(robot, scenario, 10.0, 5)], robot.joint_names).steps == 2


def test_a_joint_that_did_not_move_says_nothing(robot: RobotConfig) -> None:
    run = collect_run(robot, Scenario(), 6.0, 1)
    x, u = run.x.copy(), run.u.copy()
    for part in range(4):
        x[:, part * robot.n + 3] = 0.0
    u[:, 3] = 0.0
    assert identify_delay([dataclasses.replace(run, x=x, u=u)], robot.joint_names).per_joint[3] == -1
    with pytest.raises(BadInput, match="excitation"):
        identify_delay([dataclasses.replace(run, x=0 * x, u=0 * u)], robot.joint_names)
    with pytest.raises(BadInput, match="longer runs"):
        identify_delay([Run(x=x[:5], u=u[:4], ee=run.ee[:5], torque=run.torque[:5])], robot.joint_names)


def test_alignment_takes_references_of_before_and_joints_of_now() -> None:
    t = np.arange(21.0)
    run = Run(x=np.stack([t, t, 100 + t, 200 + t], axis=1), u=201 + t[:-1, None], ee=np.zeros((21, 3)), torque=300 + t[:, None])
    (late,) = aligned([run], 3)
    np.testing.assert_array_equal(late.x[0], [3, 3, 100, 200])
    assert late.u[0, 0] == 201
    assert late.torque[0, 0] == 303
    assert late.x.shape == (18, 4)
    assert late.u.shape == (17, 1)
    np.testing.assert_array_equal(late.x[1:, 3], late.u[:, 0])
    assert aligned([run], 0) == [run]
    assert aligned([Run(x=run.x[:3], u=run.u[:2], ee=run.ee[:3], torque=run.torque[:3])], 3) == []


def test_a_planner_that_knows_the_delay_sees_no_load_keeps_its_trust_and_is_there_sooner(robot: RobotConfig, task: TaskConfig, bundle_copy: Path) -> None:
    """The same model, once told that the robot is 80 ms late: who does not know it takes the way still to come for load, as none of its data has it."""
    times: dict[int, list[float]] = {0: [], 4: []}
    for steps in (0, 4):
        path = bundle_copy / MANIFEST
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"delay_steps": steps}))
        bundle = load_bundle(bundle_copy, robot)
        for goal in ([0.5, 0.3, 0.4], [0.4, -0.4, 0.6], [0.6, 0.1, 0.3]):
            watched = Watched(bundle, robot, task, np.random.default_rng(0))
            done = run_episode(MujocoPlant(robot, Scenario(actuator_delay_s=0.08)), watched, np.array(goal), task.success)
            assert done.success
            assert done.final_error_m < 0.01
            times[steps].append(done.time_to_goal_s)
            if steps:
                assert watched.least_trust == watched.horizon
                assert watched.most_load < 1e-3
            else:
                assert watched.least_trust < watched.horizon
                assert watched.most_load > 1.0
    assert np.median(times[4]) < 0.75 * np.median(times[0])
