"""`taustack bench faults`: random combinations of faults in lockstep, judged by the plant's state."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from taustack.errors import BadInput

Campaign = Callable[[Callable[[int], object]], dict[str, Any]]
"""Runs it all, telling of each run that is done; gives the metrics."""


def bench_faults(options: argparse.Namespace) -> int:
    """Exit code 0 only without a violated limit and without an unsafe end."""
    from tqdm import tqdm

    from taustack.cli.output import table, write_json
    from taustack.robot_folders import default_robot, has_legs

    if not 1 <= options.campaign <= 100_000:
        raise BadInput("argument", "--campaign", options.campaign, "1 to 100000")
    robot = options.robot or default_robot()
    begin = _walks if has_legs(robot) else _motions
    name, campaign = begin(options, robot)
    with tqdm(total=options.campaign, unit="run", disable=None) as bar:
        metrics: dict[str, Any] = {"robot": name, "seed": options.seed} | campaign(bar.update)
    if options.json:
        write_json(options.json, metrics)
    print(table(["metric", "value"], [[key, str(value)] for key, value in metrics.items() if key not in ("bad_runs", "faults", "robot", "seed")]))
    for run in metrics["bad_runs"]:
        kinds = ", ".join(f"{fault['kind']} at {fault['at_s']} s" for fault in run["faults"])
        broken = {what: ticks for what, ticks in run["violations"].items() if ticks}
        print(f"run {run['index']}: {broken or 'no limit exceeded'}, {run['unsafe_end'] or 'safe end'}, {run['final_state']}: {run['final_reason']} ({kinds})")
    return 1 if metrics["limit_violations"] or metrics["unsafe_end_states"] else 0


def _motions(options: argparse.Namespace, robot_name: str) -> tuple[str, Campaign]:
    """The campaign of an arm."""
    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.sim.campaign import CampaignSpec, run_campaign

    robot = load_robot(robot_name)
    task = options.task or "reach"
    load_task(robot, task)
    bundle = options.bundle or robot.folder / "bundle"
    load_bundle(bundle, robot)
    specs = [CampaignSpec(robot=robot.folder, task=task, bundle=Path(bundle), seed=options.seed, index=i) for i in range(options.campaign)]
    return robot.name, partial(run_campaign, specs)


def _walks(options: argparse.Namespace, robot_name: str) -> tuple[str, Campaign]:
    """The campaign of a robot on legs."""
    from taustack.controllers.walk_bundle import load_walk_bundle
    from taustack.legged import load_legged
    from taustack.sim.campaign import CampaignSpec
    from taustack.sim.legged_campaign import run_leg_campaign
    from taustack.walk_task import load_walk_task

    robot = load_legged(robot_name)
    task = options.task or "velocity"
    load_walk_task(robot, task)
    bundle = options.bundle or robot.folder / "bundle"
    load_walk_bundle(bundle, robot)
    specs = [CampaignSpec(robot=robot.folder, task=task, bundle=Path(bundle), seed=options.seed, index=i) for i in range(options.campaign)]
    return robot.name, partial(run_leg_campaign, specs)
