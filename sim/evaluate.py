"""evaluate(scenario, bundle, seed) -> metrics: many lockstep episodes over a pool of processes."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taustack.config import load_robot, load_task
from taustack.pool import Workers, run_all
from taustack.sim.episode import Episode, run_episode
from taustack.sim.goals import draw_goal, scenario_of_task
from taustack.sim.log import EpisodeLog
from taustack.sim.mjcf import chain_from_model
from taustack.sim.planners import make_planner
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import load_scenario


@dataclass(frozen=True, kw_only=True)
class EpisodeSpec:
    """All that an episode depends on."""

    robot: Path
    task: str
    scenario: str
    planner: str
    bundle: Path
    seed: int
    index: int
    log: bool = False


def episode(spec: EpisodeSpec) -> Episode:
    """Run the episode of a spec: a function of its argument alone."""
    robot = load_robot(spec.robot)
    task = load_task(robot, spec.task)
    plant_rng, goal_rng, noise_rng = (np.random.default_rng([spec.seed, spec.index, stream]) for stream in range(3))
    scenario = scenario_of_task(robot, task, load_scenario(spec.scenario, robot.n), goal_rng)
    plant = MujocoPlant(robot, scenario, plant_rng)
    goal = draw_goal(plant, chain_from_model(plant.nominal, robot), goal_rng, task.goals)
    planner = make_planner(spec.planner, robot, task, spec.bundle, noise_rng)
    log = EpisodeLog(goal=goal, name=f"episode {spec.index}") if spec.log else None
    return run_episode(plant, planner, goal, task.success, log)


def evaluate(specs: list[EpisodeSpec], workers: Workers = Workers(), on_done: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Metrics over the episodes, in the order of the specs whatever runs them."""
    started = time.perf_counter()
    episodes = run_all(episode, specs, workers, on_done)
    return metrics(episodes, time.perf_counter() - started)


def metrics(episodes: list[Episode], wall_s: float) -> dict[str, Any]:
    """Aggregate; times and errors in SI units."""
    digest = hashlib.sha256()
    violations: Counter[str] = Counter()
    for done in episodes:
        digest.update(np.ascontiguousarray(done.commands).tobytes())
        violations.update(done.violations)
    reached = [done for done in episodes if done.success]
    times = [done.time_to_goal_s for done in reached]
    return {
        "episodes": len(episodes),
        "success_rate": len(reached) / len(episodes),
        "median_final_error_m": float(np.median([done.final_error_m for done in episodes])),
        "p90_final_error_m": float(np.quantile([done.final_error_m for done in episodes], 0.9)),
        "median_time_to_goal_s": float(np.median(times)) if times else None,
        "p90_time_to_goal_s": float(np.quantile(times, 0.9)) if times else None,
        "realtime_factor": sum(done.duration_s for done in episodes) / wall_s,
        "limit_violations": sum(violations.values()),
        "violations": dict(violations),
        "collisions": sum(done.contact_ticks > 0 for done in episodes),
        "contact_ticks": sum(done.contact_ticks for done in episodes),
        "failed_plans": sum(done.failed_plans for done in episodes),
        "median_plan_ms": 1e3 * float(np.median([done.plan_time_s for done in episodes])),
        "mean_effective_samples": float(np.mean([done.effective_samples for done in episodes])),
        "commands_sha256": digest.hexdigest(),
        "failures": [failure(i, done) for i, done in enumerate(episodes) if not done.success],
    }


def failure(index: int, done: Episode) -> dict[str, Any]:
    """An episode that did not reach its goal, with what can be said of the cause."""
    if done.damped:
        cause = f"the tracker damped the robot: {done.damped}"
    elif done.contact_ticks:
        cause = "touched itself or an obstacle"
    elif done.best_error_m <= 0.02:
        cause = "was there but did not stay, or came too late"
    else:
        cause = "stopped on the way (local minimum of the horizon)"
    return {
        "episode": index, "goal": [round(float(v), 4) for v in done.goal], "final_error_m": done.final_error_m,
        "best_error_m": done.best_error_m, "cause": cause,
    }  # fmt: skip
