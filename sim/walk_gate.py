"""Measures a bundle of a robot on legs for the gate: open loop on held-out walks, closed loop in lockstep, plan time; the live bundle side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.standing import standing
from taustack.controllers.walk_bundle import WalkBundle, load_walk_bundle
from taustack.controllers.walk_mppi import WalkMPPI
from taustack.errors import BadInput
from taustack.legged import LeggedConfig
from taustack.legged_layout import layout
from taustack.manifest import DYNAMICS, MANIFEST, sha256_of
from taustack.models.gate import GateRules, Measured, Verdict, judge
from taustack.models.walk_dataset import WalkRun
from taustack.pool import Workers
from taustack.rollout import roll_open_loop
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks
from taustack.sim.walk_planners import MPPI
from taustack.walk_task import load_walk_task

FloatArray = NDArray[np.float64]
EVERY = 5  # steps between two starts of an open-loop rollout
TIMED_PLANS, WARM_UPS = 60, 5
PARTS = {"forward": "m/s", "sideways": "m/s", "turn": "rad/s"}


@dataclass(frozen=True, kw_only=True)
class WalkGateSuite:
    """What the closed loop is tried on."""

    task: str
    scenarios: tuple[str, ...]
    episodes: int
    seed: int
    workers: Workers = Workers()


def run_walk_gate(
    candidate: Path, live: Path, robot: LeggedConfig, held: Sequence[WalkRun], suite: WalkGateSuite, rules: GateRules,
    on_episode: Callable[[int], object] = lambda _: None,
) -> Verdict:  # fmt: skip
    """Measure both and judge.

    Raises:
        BadInput: the live bundle itself does not load, or the held-out walks are too short.
    """
    ours, theirs = _loaded(candidate, robot), load_walk_bundle(live, robot)
    horizon = theirs.manifest.plan.horizon
    about: dict[str, Any] = {
        "robot": robot.name, "task": suite.task, "scenarios": list(suite.scenarios), "episodes": suite.episodes, "seed": suite.seed,
        "candidate_sha256": sha256_of(candidate / MANIFEST) if (candidate / MANIFEST).is_file() else "", "live_sha256": theirs.sha256,
        "held_out_runs": len(held), "held_out_minutes": sum(len(run.u) for run in held) / robot.rates.plan_hz / 60,
    }  # fmt: skip
    if isinstance(ours, str):
        nothing = Measured(error={}, run_error={}, parts=[], suite={}, plan_ms=float("nan"), refused=ours)
        return judge(rules, nothing, nothing, horizon, PARTS, about, "m/s")
    plan_ms = plan_times(ours, theirs, robot, suite.task)
    found = [_measure(bundle, robot, held, suite, horizon, ms, on_episode) for bundle, ms in ((ours, plan_ms[0]), (theirs, plan_ms[1]))]
    return judge(rules, found[0], found[1], horizon, PARTS, about, "m/s")


def _loaded(folder: Path, robot: LeggedConfig) -> WalkBundle | str:
    try:
        return load_walk_bundle(folder, robot)
    except BadInput as error:
        return str(error)


def _measure(
    bundle: WalkBundle, robot: LeggedConfig, held: Sequence[WalkRun], suite: WalkGateSuite, horizon: int, plan_ms: float,
    on_episode: Callable[[int], object],
) -> Measured:  # fmt: skip
    errors = velocity_gaps(bundle, held, robot, horizon)
    speed = [np.linalg.norm(run[..., :2], axis=-1) for run in errors]
    closed = {}
    for scenario in suite.scenarios:
        spec = WalkSpec(robot=robot.folder, task=suite.task, scenario=scenario, planner=MPPI, seed=suite.seed, index=0, bundle=bundle.folder)
        closed[scenario] = evaluate_walks([replace(spec, index=i) for i in range(suite.episodes)], suite.workers, on_episode)
    return Measured(
        error={steps: float(np.mean(np.concatenate([run[:, steps - 1] for run in speed]))) for steps in sorted({1, 10, horizon})},
        run_error={f"run {i}": float(run[:, -1].mean()) for i, run in enumerate(speed)},
        parts=[float(value) for value in np.abs(np.concatenate([run[:, -1] for run in errors])).mean(axis=0)], suite=closed, plan_ms=plan_ms,
        dynamics_sha256=bundle.manifest.files[DYNAMICS],
    )  # fmt: skip


def velocity_gaps(bundle: WalkBundle, walks: Sequence[WalkRun], robot: LeggedConfig, horizon: int) -> list[FloatArray]:
    """Predicted less true forward, sideways velocity [m/s] and turn [rad/s] (S, H, 3), from every few states of each walk on.

    Raises:
        BadInput: no walk is long enough without a kick.
    """
    session, part = bundle.session(DYNAMICS), layout(robot.n)
    columns = [part["velocity"].start, part["velocity"].start + 1, part["rate"].start + 2]
    out = []
    for walk in walks:
        starts = np.array([s for s in range(0, len(walk.u) - horizon + 1, EVERY) if not walk.kicked[s : s + horizon].any()], dtype=int)
        if not len(starts):
            continue
        ahead = starts[:, None] + np.arange(horizon)
        out.append((roll_open_loop(session, walk.x[starts], walk.u[ahead]) - walk.x[ahead + 1])[..., columns])
    if not out:
        raise BadInput("held-out runs", "", f"none of {len(walks)} with {horizon} steps without a kick", "longer ones: more minutes of log")
    return out


def plan_times(ours: WalkBundle, theirs: WalkBundle, robot: LeggedConfig, task: str) -> tuple[float, float]:
    """Median time of a plan of both [ms], in turns, so that what else runs here hits both."""
    config, wanted = load_walk_task(robot, task), np.array([0.3, 0.0, 0.0])
    planners, state = [WalkMPPI(bundle, robot, config, np.random.default_rng(0)) for bundle in (ours, theirs)], standing(robot)
    took: tuple[list[float], list[float]] = ([], [])
    for i in range(TIMED_PLANS + WARM_UPS):
        for planner, times in zip(planners, took, strict=True):
            began = time.perf_counter()
            planner.plan(state, wanted)
            if i >= WARM_UPS:
                times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(took[0])), float(np.median(took[1]))
