"""`taustack sim` of a robot on legs, and `taustack train strides`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import table, workers_of, write_json
from taustack.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from taustack.legged import LeggedConfig
    from taustack.sim.legged_scenario import LeggedScenario

SETTLE_S = 2.0  # after the last fault, for whatever comes to rest


def simulate_walks(options: argparse.Namespace) -> int:
    """Episodes of a robot on legs; the law or planner is `--planner`."""
    from tqdm import tqdm

    from taustack.cli.walk_video import write_video
    from taustack.controllers.walk_bundle import load_walk_bundle
    from taustack.legged import load_legged
    from taustack.pool import run_all
    from taustack.sim.legged_evaluate import WalkSpec, walk, walk_metrics
    from taustack.sim.legged_scenario import load_legged_scenario
    from taustack.sim.walk_log import write_walk_log
    from taustack.sim.walk_planners import MPPI, WALK_PLANNERS
    from taustack.walk_task import load_walk_task

    planner = options.planner or MPPI
    if planner not in WALK_PLANNERS:
        raise UnknownName("planner", planner, WALK_PLANNERS)
    if options.log is not None and options.faults is not None:
        raise BadInput("argument", "--log", str(options.log), "none with --faults: such runs are told, not logged")
    if options.log is not None and options.log.exists():
        raise BadInput("argument", "--log", str(options.log), "a folder that is not there yet")
    if options.video is not None and not options.video.parent.is_dir():
        raise BadInput("argument", "--video", str(options.video), f"a file in a folder that is there: {options.video.parent} is not")
    robot = load_legged(options.robot)
    task = load_walk_task(robot, options.task)
    scenarios = (options.scenario,) if options.scenario else task.scenarios
    try:
        scenario, *_ = [load_legged_scenario(name) for name in scenarios]  # all are read before anything walks
    except UnknownName as error:
        if options.scenario:
            raise
        raise BadInput(robot.folder / "tasks" / f"{options.task}.yaml", "scenarios", error.got, error.expected) from None
    bundle = options.bundle or robot.folder / "bundle"
    if planner == MPPI:
        load_walk_bundle(bundle, robot)
    if options.faults is not None:
        return _under_faults(options, robot, scenario, planner, bundle)
    spec = WalkSpec(robot=robot.folder, task=options.task, scenario=scenarios[0], planner=planner, seed=options.seed, index=0, bundle=bundle)
    spec = replace(spec, log=options.log is not None)
    specs = [replace(spec, index=i, scenario=scenarios[i % len(scenarios)]) for i in range(options.episodes)]
    with tqdm(total=len(specs), unit="episode", disable=None) as bar:
        episodes = run_all(walk, specs, workers_of(options), bar.update)
    if options.log is not None:
        about = {"scenario": ", ".join(scenarios), "task": options.task, "planner": planner, "seed": str(options.seed)}
        count = write_walk_log(options.log, robot, [done.log for done in episodes if done.log is not None], about)
        print(f"{options.log}: {count} messages")
    metrics = walk_metrics(spec, episodes)
    metrics = {"robot": robot.name, "task": options.task, "scenario": ", ".join(scenarios), "planner": planner, "seed": options.seed} | metrics
    if options.json:
        write_json(options.json, metrics)
    rows = [[key, f"{value:.4g}" if isinstance(value, float) else str(value)] for key, value in metrics.items() if key != "failures"]
    print(table(["metric", "value"], rows))
    if options.video is not None:
        write_video(options.video, robot, scenario, walk(specs[0]))
        print(f"video of episode 0: {options.video}")
    for failed in metrics["failures"]:
        print(f"episode {failed['episode']} ({specs[failed['episode']].scenario}): {failed['cause']} after {failed['at_s']} s")
    return 0


def _under_faults(options: argparse.Namespace, robot: LeggedConfig, scenario: LeggedScenario, planner: str, bundle: Path) -> int:
    """Walk under the faults of a file and tell what the tracker did; 0 only without a violated limit or an unsafe end."""
    import numpy as np

    from taustack.sim.faults import KINDS, load_faults
    from taustack.sim.legged_fault_run import LegFaultRig
    from taustack.sim.walk_planners import make_walk_planner
    from taustack.walk_task import load_walk_task

    task, faults = load_walk_task(robot, options.task), load_faults(options.faults, robot.n, KINDS)
    seconds = max([4.0, *(fault.at_s + (fault.for_s or 0.0) + SETTLE_S for fault in faults)])
    runs: list[dict[str, Any]] = []
    for i in range(options.episodes):
        rng = np.random.default_rng([options.seed, i])
        wanted = rng.uniform(-1, 1, 3) * np.array(task.velocity)
        law = make_walk_planner(planner, robot, task, bundle, rng)
        run = LegFaultRig(robot, scenario, law, wanted, faults, seed=options.seed + i).run(seconds)
        told = [{"t": round(c.t, 3), "state": c.after, "reason": c.reason} for c in run.journal]
        runs.append({"episode": i, "states": told, "violations": run.violations, "unsafe_end": run.unsafe_end, "fell_at_s": run.fell_at})
        print(f"episode {i}: " + "; ".join(f"{c['t']:.3f} s {c['state']} ({c['reason']})" for c in told))
        fell = "no" if run.fell_at is None else f"after {run.fell_at:.2f} s"
        print(f"  limit violations {sum(run.violations.values())}, unsafe end: {run.unsafe_end or 'no'}, fell: {fell}")
    if options.json:
        write_json(options.json, {"robot": robot.name, "faults": [fault.model_dump() for fault in faults], "runs": runs})
    return 1 if any(sum(run["violations"].values()) or run["unsafe_end"] for run in runs) else 0


def add_strides(what: Any) -> None:
    """`taustack train strides`."""
    command = what.add_parser("strides", help="measure what velocity a commanded stride gives, on a simulated robot on legs, by its own estimator")
    command.add_argument("robot", help="robot on legs, by name or folder")
    command.add_argument("--scenario", default="nominal", help="scenario by name or path (default: %(default)s)")
    command.add_argument("--commands", type=int, default=100, help="random commands, 2.4 s each (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed (default: %(default)s)")
    command.add_argument("--out", type=Path, required=True, help="file to write, such as robots/NAME/strides.yaml")
    command.set_defaults(function=train_strides)


def train_strides(options: argparse.Namespace) -> int:
    import numpy as np
    import yaml

    from taustack.controllers.walk_laws import StrideMap
    from taustack.legged import load_legged
    from taustack.sim.legged_scenario import load_legged_scenario
    from taustack.sim.legged_strides import HOLD_S, measure_strides

    if options.commands < 8:
        raise BadInput("argument", "--commands", options.commands, "at least 8, for the twelve numbers of the map")
    if not options.out.parent.is_dir():
        raise BadInput("argument", "--out", str(options.out), f"a file in a folder that is there: {options.out.parent} is not")
    robot = load_legged(options.robot)
    commands, velocities, falls = measure_strides(robot, load_legged_scenario(options.scenario), options.commands, np.random.default_rng(options.seed))
    strides = StrideMap.fitted(commands, velocities)
    left = np.sqrt(((commands @ strides.gain.T + strides.offset - velocities) ** 2).mean(0))
    made_by = f"# taustack train strides {robot.name} --scenario {options.scenario} --commands {options.commands} --seed {options.seed}\n"
    data = {"gain": np.round(strides.gain, 4).tolist(), "offset": np.round(strides.offset, 4).tolist()}
    options.out.write_text(made_by + yaml.safe_dump(data, default_flow_style=None))
    print(
        f"{options.out}: {len(commands)} commands, {len(commands) * HOLD_S / 60:.1f} minutes, {falls} falls; left {np.round(left, 3).tolist()} m/s, m/s, rad/s"
    )
    return 0
