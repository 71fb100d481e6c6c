"""A random fault campaign: many runs in lockstep with random combinations of faults, over a pool of processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taustack.config import load_robot, load_task
from taustack.pool import run_all
from taustack.sim.fault_run import FaultRig
from taustack.sim.faults import Fault, draw_faults
from taustack.sim.goals import draw_goal
from taustack.sim.mjcf import chain_from_model
from taustack.sim.planners import make_planner
from taustack.sim.plant import MujocoPlant
from taustack.sim.scenario import Scenario

RUN_S = 2.5
SETTLE_S = 1.0  # after the last fault could begin, for whatever comes to rest
PAYLOAD_KG = 1.0  # in every third run, so that it can drop


@dataclass(frozen=True, kw_only=True)
class CampaignSpec:
    """All that one run depends on. Every fourth run plans by MPPI over the bundle, the others by a feedback law."""

    robot: Path
    task: str
    bundle: Path
    seed: int
    index: int


@dataclass(frozen=True, kw_only=True)
class CampaignRun:
    """What came of it."""

    index: int
    faults: tuple[Fault, ...]
    violations: dict[str, int]
    impacts: int
    unsafe_end: str | None
    final_state: str
    final_reason: str
    transitions: int
    contacts: int


def run_one(spec: CampaignSpec) -> CampaignRun:
    """One random run: a function of its argument alone."""
    robot = load_robot(spec.robot)
    task = load_task(robot, spec.task)
    rng = np.random.default_rng([spec.seed, spec.index])
    scenario = Scenario(payload_kg=PAYLOAD_KG if spec.index % 3 == 0 else 0.0)
    plant = MujocoPlant(robot, scenario)
    goal = draw_goal(plant, chain_from_model(plant.nominal, robot), rng)
    faults = draw_faults(rng, robot.n, RUN_S)
    planner = make_planner("least_squares" if spec.index % 4 else "direct", robot, task, spec.bundle, rng)
    result = FaultRig(robot, scenario, planner, goal, faults, seed=spec.seed + spec.index).run(RUN_S + SETTLE_S)
    return CampaignRun(
        index=spec.index, faults=faults, violations=result.violations, impacts=result.impacts, unsafe_end=result.unsafe_end, final_state=result.final_state,
        final_reason=result.final_reason, transitions=len(result.journal), contacts=result.contacts,
    )  # fmt: skip


def run_campaign(specs: list[CampaignSpec], on_done: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Metrics over all runs, in the order of the specs."""
    runs = run_all(run_one, specs, on_done=on_done)
    violations: Counter[str] = Counter()
    for run in runs:
        violations.update(run.violations)
    bad = [run for run in runs if sum(run.violations.values()) or run.unsafe_end]
    return {
        "runs": len(runs), "faults": dict(Counter(fault.kind for run in runs for fault in run.faults)), "limit_violations": sum(violations.values()),
        "violations": dict(violations), "unsafe_end_states": sum(run.unsafe_end is not None for run in runs),
        "final_states": dict(Counter(run.final_state for run in runs)), "runs_with_contact": sum(bool(run.contacts) for run in runs),
        "ticks_fast_in_impact": sum(run.impacts for run in runs),
        "bad_runs": [
            {
                "index": run.index, "faults": [fault.model_dump() for fault in run.faults], "violations": run.violations, "unsafe_end": run.unsafe_end,
                "final_state": run.final_state, "final_reason": run.final_reason,
            }
            for run in bad
        ],
    }  # fmt: skip
