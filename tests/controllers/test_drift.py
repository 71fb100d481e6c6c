"""Drift: quiet on the robot that the model learned, loud on one that changed, and quiet again when it is as before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from taustack.config import RobotConfig, TaskConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.drift import LEAST, Drift, DriftMonitor
from taustack.controllers.mppi import MPPI
from taustack.controllers.wire import TrackRows
from taustack.kinematics import KinematicChain
from taustack.sim.episode import run_episode
from taustack.sim.goals import draw_goal
from taustack.sim.log import EpisodeLog
from taustack.sim.mjcf import chain_from_model
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario


def rows_of(log: EpisodeLog, n: int, start: float) -> TrackRows:
    """An episode's ticks as the tracker sends them."""
    t, tick, plan_seq, state = (np.array([row[i] for row in log.rows]) for i in range(4))
    q, dq, q_ref, dq_ref, torque, ee = np.split(np.array([row[4] for row in log.rows]), n * np.arange(1, 6), axis=1)
    return TrackRows(
        t=start + t, tick=tick, plan_seq=plan_seq, epoch=np.zeros(len(t), np.uint32), state=state, q=q, dq=dq, q_ref=q_ref, dq_ref=dq_ref, torque=torque, ee=ee
    )


def part(rows: TrackRows, chosen: slice) -> TrackRows:
    return TrackRows(**{field.name: getattr(rows, field.name)[chosen] for field in dataclasses.fields(rows)})


def episodes(robot: RobotConfig, task: TaskConfig, bundle: Bundle, scenario: Scenario, count: int, seed: int) -> list[TrackRows]:
    out = []
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        plant, log = MujocoPlant(robot, scenario), EpisodeLog()
        goal = draw_goal(plant, chain_from_model(plant.nominal, robot), rng)
        run_episode(plant, MPPI(bundle, robot, task, rng), goal, task.success, log)
        out.append(rows_of(log, robot.n, 10.0 * i))
    return out


def feed(monitor: DriftMonitor, episodes: list[TrackRows]) -> Drift:
    """Fifty rows at a time."""
    for rows in episodes:
        for first in range(0, len(rows.t), 50):
            monitor.add(part(rows, slice(first, first + 50)))
    return monitor.drift


@pytest.fixture(scope="module")
def as_learned(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> list[TrackRows]:
    return episodes(robot, task, bundle, Scenario(), 6, 1)


@pytest.fixture(scope="module")
def changed(robot: RobotConfig, task: TaskConfig, bundle: Bundle) -> list[TrackRows]:
    return episodes(robot, task, bundle, Scenario(payload_kg=2.0, actuator_delay_s=0.03), 6, 2)


def test_the_robot_that_was_learned_does_not_drift(bundle: Bundle, chain: KinematicChain, as_learned: list[TrackRows]) -> None:
    drift = feed(DriftMonitor(bundle, chain), as_learned)
    assert drift.rollouts >= LEAST
    assert not drift.drifting
    assert drift.beyond_horizon < 0.3


def test_a_robot_that_changed_drifts_and_one_that_was_mended_does_not(
    bundle: Bundle, chain: KinematicChain, as_learned: list[TrackRows], changed: list[TrackRows]
) -> None:
    monitor = DriftMonitor(bundle, chain)
    drift = feed(monitor, changed)
    assert drift.drifting
    assert drift.one_step_m > 0
    later = [dataclasses.replace(rows, t=rows.t + 1000.0) for rows in as_learned]
    assert not feed(monitor, later).drifting


def test_rest_damping_gaps_and_nan_say_nothing(bundle: Bundle, chain: KinematicChain, changed: list[TrackRows], robot: RobotConfig) -> None:
    monitor = DriftMonitor(bundle, chain)
    for rows in changed:
        still = dataclasses.replace(rows, dq_ref=0 * rows.dq_ref)
        damped = dataclasses.replace(rows, state=np.full_like(rows.state, 4), t=rows.t + 500)
        spoilt = dataclasses.replace(rows, q=rows.q * np.nan, t=rows.t + 900)
        gaps = dataclasses.replace(rows, t=20.0 * rows.t + 5000)
        for kind in (still, damped, spoilt, gaps):
            feed(monitor, [kind])
    assert monitor.drift == Drift()
    assert monitor.add(part(changed[0], slice(0, 0))) == Drift()


def test_a_bundle_without_a_holdout_is_not_judged(bundle: Bundle, chain: KinematicChain, changed: list[TrackRows]) -> None:
    bare = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"holdout": None}))
    assert feed(DriftMonitor(bare, chain), changed) == Drift()


def test_memory_stays_flat_over_a_long_motion(bundle: Bundle, chain: KinematicChain, changed: list[TrackRows]) -> None:
    monitor = DriftMonitor(bundle, chain)
    rows = changed[0]
    for i in range(100):
        monitor.add(part(dataclasses.replace(rows, t=rows.t + 10.0 * i), slice(0, 400)))
    assert sum(len(kept.t) for kept in monitor._rows) <= 400
    assert len(monitor._errors) <= 30
