"""A random fault campaign of a robot on legs: many walks in lockstep with random combinations of faults, over a pool of processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from taustack.legged import load_legged
from taustack.pool import run_all
from taustack.sim.campaign import CampaignSpec
from taustack.sim.faults import KINDS, OF_OTHERS, Fault, draw_faults
from taustack.sim.legged_fault_run import LegFaultRig
from taustack.sim.legged_scenario import LeggedScenario
from taustack.sim.walk_planners import MPPI, make_walk_planner
from taustack.walk_task import load_walk_task

RUN_S = 4.0
SETTLE_S = 2.0  # after the last fault could begin, for whatever comes to rest
PAYLOAD_KG = 1.0  # in every third run, so that it can drop
LAW = "feedback"


@dataclass(frozen=True, kw_only=True)
class LegCampaignRun:
    """What came of it."""

    index: int
    faults: tuple[Fault, ...]
    violations: dict[str, int]
    impacts: int
    unsafe_end: str | None
    fell: bool
    final_state: str
    final_reason: str


def run_one_walk(spec: CampaignSpec) -> LegCampaignRun:
    """One random run: a function of its argument alone. Every fourth one plans by MPPI over the bundle, the others by a law without a model."""
    robot = load_legged(spec.robot)
    task = load_walk_task(robot, spec.task)
    rng = np.random.default_rng([spec.seed, spec.index])
    wanted = rng.uniform(-1, 1, 3) * np.array(task.velocity)
    faults = draw_faults(rng, robot.n, RUN_S, KINDS)
    law = make_walk_planner(LAW if spec.index % 4 else MPPI, robot, task, spec.bundle, rng)
    scenario = LeggedScenario(payload_kg=PAYLOAD_KG if spec.index % 3 == 0 else 0.0)
    result = LegFaultRig(robot, scenario, law, wanted, faults, seed=spec.seed + spec.index).run(RUN_S + SETTLE_S)
    return LegCampaignRun(
        index=spec.index, faults=faults, violations=result.violations, impacts=result.impacts, unsafe_end=result.unsafe_end,
        fell=result.fell_at is not None, final_state=result.final_state, final_reason=result.final_reason,
    )  # fmt: skip


def run_leg_campaign(specs: list[CampaignSpec], on_done: Callable[[int], object] = lambda _: None) -> dict[str, Any]:
    """Metrics over all runs, in the order of the specs. Falls are counted apart where nothing was wrong with the robot, its sensors and its
    surroundings: then it was the software that fell."""
    runs = run_all(run_one_walk, specs, on_done=on_done)
    violations: Counter[str] = Counter()
    for run in runs:
        violations.update(run.violations)
    healthy = [run for run in runs if all(fault.kind in OF_OTHERS for fault in run.faults)]
    bad = [run for run in runs if sum(run.violations.values()) or run.unsafe_end or (run.fell and run in healthy)]
    return {
        "runs": len(runs), "faults": dict(Counter(fault.kind for run in runs for fault in run.faults)), "limit_violations": sum(violations.values()),
        "violations": dict(violations), "unsafe_end_states": sum(run.unsafe_end is not None for run in runs),
        "final_states": dict(Counter(run.final_state for run in runs)), "falls": sum(run.fell for run in runs), "healthy_runs": len(healthy),
        "falls_of_healthy": sum(run.fell for run in healthy),
        "falls_by_fault": dict(Counter(kind for run in runs if run.fell for kind in sorted({fault.kind for fault in run.faults}))),
        "ticks_thrown_in_falls": sum(run.impacts for run in runs),
        "bad_runs": [
            {
                "index": run.index, "faults": [fault.model_dump() for fault in run.faults], "violations": run.violations, "unsafe_end": run.unsafe_end,
                "fell": run.fell, "final_state": run.final_state, "final_reason": run.final_reason,
            }
            for run in bad
        ],
    }  # fmt: skip
