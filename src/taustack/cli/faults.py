"""`taustack bench faults`: random combinations of faults in lockstep, judged by the plant's state."""

from __future__ import annotations

import argparse
from pathlib import Path

from taustack.errors import BadInput


def bench_faults(options: argparse.Namespace) -> int:
    """Exit code 0 only without a violated limit and without an unsafe end."""
    from tqdm import tqdm

    from taustack.cli.output import table, write_json
    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.robot_folders import default_robot
    from taustack.sim.campaign import CampaignSpec, run_campaign

    if not 1 <= options.campaign <= 100_000:
        raise BadInput("argument", "--campaign", options.campaign, "1 to 100000")
    robot = load_robot(options.robot or default_robot())
    load_task(robot, options.task)
    bundle = options.bundle or robot.folder / "bundle"
    load_bundle(bundle, robot)
    specs = [CampaignSpec(robot=robot.folder, task=options.task, bundle=Path(bundle), seed=options.seed, index=i) for i in range(options.campaign)]
    with tqdm(total=len(specs), unit="run", disable=None) as bar:
        metrics = {"robot": robot.name, "seed": options.seed} | run_campaign(specs, bar.update)
    if options.json:
        write_json(options.json, metrics)
    shown = ("runs", "limit_violations", "unsafe_end_states", "final_states", "runs_with_contact", "ticks_fast_in_impact")
    print(table(["metric", "value"], [[key, str(metrics[key])] for key in shown]))
    for run in metrics["bad_runs"]:
        kinds = ", ".join(f"{fault['kind']} at {fault['at_s']} s" for fault in run["faults"])
        print(f"run {run['index']}: {run['violations']}, {run['unsafe_end'] or 'safe end'} ({kinds})")
    return 1 if metrics["limit_violations"] or metrics["unsafe_end_states"] else 0
