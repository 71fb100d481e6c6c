"""Many episodes of a robot on legs, and what is to be said of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taustack.legged import load_legged
from taustack.pool import Workers, run_all
from taustack.sim.legged_episode import Course, WalkEpisode, kept_velocity, run_walk
from taustack.sim.legged_plant import LeggedPlant
from taustack.sim.legged_scenario import load_legged_scenario
from taustack.sim.walk_log import WalkLog
from taustack.sim.walk_planners import make_walk_planner
from taustack.walk_task import load_walk_task


@dataclass(frozen=True, kw_only=True)
class WalkSpec:
    """All that an episode depends on."""

    robot: Path
    task: str
    scenario: str
    planner: str
    seed: int
    index: int
    bundle: Path = Path()
    log: bool = False


def walk(spec: WalkSpec) -> WalkEpisode:
    """Run the episode of a spec: a function of its argument alone."""
    robot = load_legged(spec.robot)
    task = load_walk_task(robot, spec.task)
    course_rng, noise_rng, planner_rng = (np.random.default_rng([spec.seed, spec.index, stream]) for stream in range(3))
    plant = LeggedPlant(robot, load_legged_scenario(spec.scenario), noise_rng)
    law = make_walk_planner(spec.planner, robot, task, spec.bundle, planner_rng)
    log = WalkLog(every=round(robot.rates.tracker_hz / robot.rates.state_hz)) if spec.log else None
    return run_walk(plant, law, task, Course.drawn(task, robot.gait.frequency, course_rng), log)


def evaluate_walks(specs: list[WalkSpec], workers: Workers = Workers(), on_done: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Metrics over the episodes, in the order of the specs whatever runs them."""
    return walk_metrics(specs[0], run_all(walk, specs, workers, on_done))


def walk_metrics(spec: WalkSpec, episodes: list[WalkEpisode]) -> dict[str, Any]:
    """Metrics over episodes of the robot and task of a spec."""
    robot = load_legged(spec.robot)
    task = load_walk_task(robot, spec.task)
    metrics: dict[str, Any] = {
        "episodes": len(episodes), "success_rate": float(np.mean([done.success for done in episodes])),
        "falls": float(np.mean([done.fallen for done in episodes])), "limit_violations": sum(done.fastest > 1.0 for done in episodes),
        "fastest_joint_share": max(done.fastest for done in episodes), **estimates(episodes),
    }  # fmt: skip
    if task.kind == "goal":
        reached = [done for done in episodes if done.success]
        speeds = [float(np.hypot(*done.course.goal)) / done.time_s for done in reached]
        metrics |= {
            "mean_speed_m_s": float(np.mean(speeds)) if speeds else None,
            "median_time_s": float(np.median([d.time_s for d in reached])) if reached else None,
        }
    else:
        errors = np.vstack([kept_velocity(task, done, robot.gait.frequency, robot.rates.plan_hz) for done in episodes])
        rms = np.sqrt((errors**2).mean(0)).tolist() if len(errors) else [None] * 3
        metrics |= dict(zip(("rms_vx_m_s", "rms_vy_m_s", "rms_turn_rad_s"), rms, strict=True))
    kicks = sum(len(done.course.kicks) for done in episodes)
    if kicks:
        given = sum(done.kicks_survived + int(done.fallen) for done in episodes)
        metrics |= {"kicks": given, "kicks_survived": sum(done.kicks_survived for done in episodes) / max(1, given)}
    metrics["failures"] = [
        {"episode": i, "cause": "fell" if done.fallen else "did not come to the goal in time", "at_s": round(done.time_s, 2)}
        for i, done in enumerate(episodes) if not done.success
    ]  # fmt: skip
    return metrics


def estimates(episodes: list[WalkEpisode]) -> dict[str, float | None]:
    """How far the estimator was from the truth: RMS of its velocity, and its drift as a share of the way; None where all fell or none went far."""
    errors, drifts = [], []
    for done in episodes:
        if done.fallen or len(done.rows) < 2:
            continue
        errors += [row.velocity_said[:2] - row.velocity[:2] for row in done.rows]
        way = sum(float(np.hypot(*(b.position - a.position)[:2])) for a, b in zip(done.rows, done.rows[1:], strict=False))
        last = done.rows[-1]
        if way > 1.0:
            drifts.append(float(np.hypot(*(last.position_said - last.position)[:2])) / way)
    return {
        "estimator_velocity_rms_m_s": float(np.sqrt(np.mean(np.square(errors)))) if errors else None,
        "estimator_drift_share": float(np.median(drifts)) if drifts else None,
    }
