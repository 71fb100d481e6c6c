"""Measures a bundle for the gate: open loop on held-out runs, closed loop in lockstep, plan time; the live bundle side by side."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from taustack.config import RobotConfig, load_task
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.mppi import MPPI
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.manifest import DYNAMICS, MANIFEST, HoldoutErrors, Quantiles, sha256_of
from taustack.models.dataset import Run
from taustack.models.delay import MOST_STEPS
from taustack.models.gate import GateRules, Measured, Verdict, judge
from taustack.pool import Workers, run_all
from taustack.rollout import roll_open_loop
from taustack.sim.evaluate import EpisodeSpec, episode, metrics
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.sim.tdm_errors import tdm_errors

FloatArray = NDArray[np.float64]
EVERY = 5  # steps between two starts of an open-loop rollout
TIMED_PLANS = 60


@dataclass(frozen=True, kw_only=True)
class GateSuite:
    """What the closed loop is tried on."""

    task: str
    scenarios: tuple[str, ...]
    episodes: int
    seed: int
    workers: Workers = Workers()
    subgoal_task: str | None = None
    """Task on which a new temporal difference model has to show that it leads around what is in the way; None: not tried."""


def run_gate(
    candidate: Path,
    live: Path,
    robot: RobotConfig,
    held: Sequence[Run],
    suite: GateSuite,
    rules: GateRules,
    on_episode: Callable[[int], object] = lambda _: None,
) -> Verdict:
    """Measure both and judge.

    Raises:
        BadInput: the live bundle itself does not load, or the held-out runs are too short.
    """
    ours, theirs = _loaded(candidate, robot), load_bundle(live, robot)
    horizon = theirs.manifest.plan.horizon
    chain = chain_from_model(compile_model(robot), robot)
    about: dict[str, Any] = {
        "robot": robot.name, "task": suite.task, "scenarios": list(suite.scenarios), "episodes": suite.episodes, "seed": suite.seed,
        "candidate_sha256": sha256_of(candidate / MANIFEST) if (candidate / MANIFEST).is_file() else "", "live_sha256": theirs.sha256,
        "held_out_runs": len(held), "held_out_minutes": sum(len(run.u) for run in held) * robot.rates.control_dt / 60,
    }  # fmt: skip
    parts = dict.fromkeys(robot.joint_names, "rad or m")
    if isinstance(ours, str):
        nothing = Measured(error={}, run_error={}, parts=[], suite={}, plan_ms=float("nan"), refused=ours)
        return judge(rules, nothing, nothing, horizon, parts, about)
    if tdm_sha256(ours) in ("", tdm_sha256(theirs)):  # what is carried along is not on trial
        suite = dataclasses.replace(suite, subgoal_task=None)
    plan_ms = plan_times(ours, theirs, robot, suite.task)
    found = [
        _measure(bundle, folder, robot, chain, held, suite, horizon, ms, on_episode)
        for bundle, folder, ms in ((ours, candidate, plan_ms[0]), (theirs, live, plan_ms[1]))
    ]
    return judge(rules, found[0], found[1], horizon, parts, about)


def _loaded(folder: Path, robot: RobotConfig) -> Bundle | str:
    try:
        return load_bundle(folder, robot)
    except BadInput as error:
        return str(error)


def _measure(
    bundle: Bundle, folder: Path, robot: RobotConfig, chain: KinematicChain, held: Sequence[Run], suite: GateSuite, horizon: int, plan_ms: float,
    on_episode: Callable[[int], object],
) -> Measured:  # fmt: skip
    joint, ee = open_loop(bundle, held, chain, horizon)
    closed = {}
    for scenario in suite.scenarios:
        closed[scenario] = _closed(folder, robot, suite, suite.task, scenario, "direct", on_episode)
    if suite.subgoal_task is not None and bundle.manifest.tdm is not None:
        closed[f"{suite.subgoal_task}, led by tdm"] = _closed(folder, robot, suite, suite.subgoal_task, suite.scenarios[0], "tdm", on_episode)
    return Measured(
        error={steps: float(np.mean(np.concatenate([run[:, steps - 1] for run in ee]))) for steps in sorted({1, 10, horizon})},
        run_error={f"run {i}": float(run[:, -1].mean()) for i, run in enumerate(ee)},
        parts=[float(value) for value in np.concatenate(joint).mean(axis=0)], suite=closed, plan_ms=plan_ms,
        tdm=tdm_errors(bundle, robot, held), tdm_sha256=tdm_sha256(bundle), dynamics_sha256=bundle.manifest.files[DYNAMICS],
    )  # fmt: skip


def tdm_sha256(bundle: Bundle) -> str:
    """Of a bundle's temporal difference model; empty: it has none."""
    spec = bundle.manifest.tdm
    return bundle.manifest.files[spec.file] if spec is not None else ""


def _closed(
    folder: Path, robot: RobotConfig, suite: GateSuite, task: str, scenario: str, planner: str, on_episode: Callable[[int], object]
) -> dict[str, Any]:  # fmt: skip
    """Metrics of the suite's episodes of a task."""
    specs = [
        EpisodeSpec(robot=robot.folder, task=task, scenario=scenario, planner=planner, bundle=folder.resolve(), seed=suite.seed, index=i)
        for i in range(suite.episodes)
    ]
    found = metrics(run_all(episode, specs, suite.workers, on_episode), 1.0)
    for key in ("realtime_factor", "median_plan_ms"):  # of this machine's moment, not of the bundle
        found.pop(key)
    return found


def open_loop(bundle: Bundle, runs: Sequence[Run], chain: KinematicChain, horizon: int) -> tuple[list[FloatArray], list[FloatArray]]:
    """Rollouts from many starts of each run: joint errors (S, n) after H steps, end-effector errors (S, H) [m]; a list entry a run.

    Raises:
        BadInput: no run is long enough.
    """
    session, late = bundle.session(DYNAMICS), bundle.manifest.delay_steps
    joint, ee = [], []
    for run in runs:
        starts = np.arange(MOST_STEPS, len(run.u) - horizon, EVERY)  # the same ones whatever the delay
        if not len(starts):
            continue
        n = run.u.shape[1]
        x = np.concatenate([run.x[starts, : 2 * n], run.x[starts - late, 2 * n :]], axis=1)
        ahead = starts[:, None] + np.arange(horizon)
        q, truth = roll_open_loop(session, x, run.u[ahead - late])[..., :n], run.x[ahead + 1, :n]
        joint.append(np.abs(q[:, -1] - truth[:, -1]))
        ee.append(np.linalg.norm(chain.position(q) - chain.position(truth), axis=-1))
    if not ee:
        raise BadInput("held-out runs", "", f"none of {len(runs)} longer than {MOST_STEPS + horizon} steps", "longer ones: more minutes of log")
    return joint, ee


def state_holdout(folder: Path, robot: RobotConfig, held: Sequence[Run], disagreement: FloatArray) -> None:
    """Write into a bundle's manifest how large its errors are on runs that it never saw, and how far its members disagree there.

    Drift is judged by the errors, the trust horizon of plans by the disagreement (see `models.train_dynamics.disagreement`).

    Raises:
        BadInput: the runs are too short.
    """
    bundle = load_bundle(folder, robot)
    _, ee = open_loop(bundle, held, chain_from_model(compile_model(robot), robot), bundle.manifest.plan.horizon)
    errors = np.concatenate(ee)

    def quantiles(values: FloatArray) -> Quantiles:
        return Quantiles(**{name: float(f"{np.quantile(values, share):.4g}") for name, share in (("q50", 0.5), ("q95", 0.95), ("q99", 0.99))})

    stated = HoldoutErrors(rollouts=len(errors), one_step_m=quantiles(errors[:, 0]), horizon_m=quantiles(errors[:, -1]), disagreement=quantiles(disagreement))
    data = bundle.manifest.model_copy(update={"holdout": stated}).model_dump(mode="json")
    part = folder / f".{MANIFEST}.part"
    part.write_text(yaml.safe_dump(data, sort_keys=False, width=120))
    part.replace(folder / MANIFEST)


def plan_times(ours: Bundle, theirs: Bundle, robot: RobotConfig, task: str) -> tuple[float, float]:
    """Median time of a plan step of both [ms], in turns, so that what else runs here hits both."""
    config = load_task(robot, task)
    planners = [MPPI(bundle, robot, config, np.random.default_rng(0)) for bundle in (ours, theirs)]
    home = np.concatenate([robot.home, 0 * robot.home] * 2)
    took: tuple[list[float], list[float]] = ([], [])
    for i in range(TIMED_PLANS + 5):
        for planner, times in zip(planners, took, strict=True):
            began = time.perf_counter()
            planner.rehearse(home)
            if i >= 5:
                times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(took[0])), float(np.median(took[1]))
