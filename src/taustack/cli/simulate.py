"""`taustack sim`: many episodes in process, in lockstep, over a pool."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from taustack.cli.output import table, write_json
from taustack.errors import BadInput, UnknownName


def add(commands: Any) -> None:
    command = commands.add_parser("sim", help="run episodes in simulation, in lockstep and without ROS")
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("task", help="task of the robot")
    command.add_argument("--scenario", default="nominal", help="scenario by name or path (default: %(default)s)")
    command.add_argument("--planner", default="mppi", help="mppi or least_squares (default: %(default)s)")
    command.add_argument("--bundle", type=Path, help="folder of the bundle (default: the robot's own)")
    command.add_argument("--episodes", type=int, default=20, help="number of episodes (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of goals, noise and sensors (default: %(default)s)")
    command.add_argument("--workers", type=int, help="processes (default: one a core)")
    command.add_argument("--json", type=Path, help="write the metrics to this file")
    command.set_defaults(function=simulate)


def simulate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.sim.evaluate import PLANNERS, EpisodeSpec, evaluate
    from taustack.sim.scenario import load_scenario

    if options.episodes < 1:
        raise BadInput("argument", "--episodes", options.episodes, "at least 1")
    if options.planner not in PLANNERS:
        raise UnknownName("planner", options.planner, PLANNERS)
    robot = load_robot(options.robot)
    load_task(robot, options.task)
    load_scenario(options.scenario, robot.n)
    folder = options.bundle or robot.folder / "bundle"
    if options.planner == "mppi":
        load_bundle(folder, robot)
    specs = [
        EpisodeSpec(robot=robot.folder, task=options.task, scenario=options.scenario, planner=options.planner, bundle=folder, seed=options.seed, index=i)
        for i in range(options.episodes)
    ]
    with tqdm(total=len(specs), unit="episode", disable=None) as bar:
        metrics = evaluate(specs, options.workers, bar.update)
    metrics = {"robot": robot.name, "task": options.task, "scenario": options.scenario, "planner": options.planner, "seed": options.seed} | metrics
    if options.json:
        write_json(options.json, metrics)
    rows = [[key, f"{value:.4g}" if isinstance(value, float) else str(value)] for key, value in metrics.items() if key not in ("failures", "violations")]
    print(table(["metric", "value"], rows))
    for failed in metrics["failures"]:
        print(f"episode {failed['episode']}: goal {failed['goal']}, {1e3 * failed['final_error_m']:.1f} mm away at the end: {failed['cause']}")
    return 0
