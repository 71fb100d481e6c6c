"""`taustack sim`: many episodes in process, in lockstep, over a pool."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.cli.output import add_workers, table, workers_of, write_json
from taustack.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from taustack.config import RobotConfig, TaskConfig


def add(commands: Any) -> None:
    command = commands.add_parser("sim", help="run episodes in simulation, in lockstep and without ROS")
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("task", help="task of the robot")
    command.add_argument("--scenario", help="scenario by name or path (default: nominal; on legs those of the task)")
    command.add_argument("--faults", type=Path, help="YAML file of faults; the episodes run under them")
    command.add_argument(
        "--planner",
        help="direct (MPPI to the goal), straight or tdm (MPPI to subgoals), tdm_policy (that policy to them) or least_squares; "
        "robots on legs: mppi, open_loop, feed_forward or feedback (default: direct; on legs mppi)",
    )
    command.add_argument("--bundle", type=Path, help="folder of the bundle (default: the robot's own)")
    command.add_argument("--episodes", type=int, default=20, help="number of episodes (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of goals, noise and sensors (default: %(default)s)")
    add_workers(command)
    command.add_argument("--log", type=Path, help="write a bag of the episodes into this folder; it must not be there yet")
    command.add_argument("--video", type=Path, help="write a film of the first episode (robots on legs)")
    command.add_argument("--json", type=Path, help="write the metrics to this file")
    command.set_defaults(function=simulate)


def simulate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from taustack.cli.walk import simulate_walks
    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.subgoal_kinds import KINDS
    from taustack.pool import run_all
    from taustack.robot_folders import has_legs
    from taustack.sim.evaluate import EpisodeSpec, episode
    from taustack.sim.evaluate import metrics as metrics_of
    from taustack.sim.log import write_log
    from taustack.sim.planners import PLANNERS
    from taustack.sim.scenario import load_scenario

    if options.episodes < 1:
        raise BadInput("argument", "--episodes", options.episodes, "at least 1")
    if has_legs(options.robot):
        return simulate_walks(options)
    if options.video is not None:
        raise BadInput("argument", "--video", str(options.video), "none for an arm; `taustack run` films one")
    options.planner, options.scenario = options.planner or "direct", options.scenario or "nominal"
    if options.planner not in PLANNERS:
        raise UnknownName("planner", options.planner, PLANNERS)
    robot = load_robot(options.robot)
    task = load_task(robot, options.task)
    load_scenario(options.scenario, robot.n)
    if options.faults:
        return simulate_faults(options, robot, task)
    folder = options.bundle or robot.folder / "bundle"
    if options.planner in KINDS:
        load_bundle(folder, robot)
    specs = [
        EpisodeSpec(
            robot=robot.folder,
            task=options.task,
            scenario=options.scenario,
            planner=options.planner,
            bundle=folder,
            seed=options.seed,
            index=i,
            log=options.log is not None,
        )
        for i in range(options.episodes)
    ]
    with tqdm(total=len(specs), unit="episode", disable=None) as bar:
        started = time.perf_counter()
        episodes = run_all(episode, specs, workers_of(options), bar.update)
        metrics = metrics_of(episodes, time.perf_counter() - started)
    metrics = {"robot": robot.name, "task": options.task, "scenario": options.scenario, "planner": options.planner, "seed": options.seed} | metrics
    if options.log:
        about = {"task": options.task, "scenario": options.scenario, "planner": options.planner, "bundle": str(folder), "seed": str(options.seed)}
        count = write_log(options.log, robot, [done.log for done in episodes if done.log is not None], about)
        print(f"{options.log}: {count} messages")
    if options.json:
        write_json(options.json, metrics)
    rows = [[key, f"{value:.4g}" if isinstance(value, float) else str(value)] for key, value in metrics.items() if key not in ("failures", "violations")]
    print(table(["metric", "value"], rows))
    for failed in metrics["failures"]:
        print(f"episode {failed['episode']}: goal {failed['goal']}, {1e3 * failed['final_error_m']:.1f} mm away at the end: {failed['cause']}")
    return 0


def simulate_faults(options: argparse.Namespace, robot: RobotConfig, task: TaskConfig) -> int:
    """Run under the faults of a file and tell what the tracker did; 0 only without a violated limit or an unsafe end."""
    import numpy as np

    from taustack.sim.fault_run import FaultRig
    from taustack.sim.faults import load_faults
    from taustack.sim.goals import draw_goal, scenario_of_task
    from taustack.sim.mjcf import chain_from_model
    from taustack.sim.planners import make_planner
    from taustack.sim.plant import MujocoPlant
    from taustack.sim.scenario import load_scenario

    scenario, faults = load_scenario(options.scenario, robot.n), load_faults(options.faults, robot.n)
    scenario = scenario_of_task(robot, task, scenario, np.random.default_rng(options.seed))
    seconds = max([3.0, *(fault.at_s + (fault.for_s or 0.0) + 1.5 for fault in faults)])
    plant = MujocoPlant(robot, scenario)
    runs: list[dict[str, Any]] = []
    chain = chain_from_model(plant.nominal, robot)
    for i in range(options.episodes):
        rng = np.random.default_rng([options.seed, i])
        goal = draw_goal(plant, chain, rng, task.goals)
        planner = make_planner(options.planner, robot, task, options.bundle or robot.folder / "bundle", rng)
        run = FaultRig(robot, scenario, planner, goal, (*scenario.faults, *faults), seed=options.seed + i).run(seconds)
        told = [{"t": round(c.t, 3), "state": c.after, "reason": c.reason} for c in run.journal]
        runs.append({"episode": i, "states": told, "violations": run.violations, "unsafe_end": run.unsafe_end, "contact_ticks": run.contacts})
        print(f"episode {i}: " + "; ".join(f"{c['t']:.3f} s {c['state']} ({c['reason']})" for c in told))
        print(f"  limit violations {sum(run.violations.values())}, unsafe end: {run.unsafe_end or 'no'}, ticks in contact {run.contacts}")
    if options.json:
        write_json(options.json, {"robot": robot.name, "faults": [fault.model_dump() for fault in faults], "runs": runs})
    return 1 if any(sum(run["violations"].values()) or run["unsafe_end"] for run in runs) else 0
