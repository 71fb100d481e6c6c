"""A robot that changed, before and after learning from minutes of its own: laws without a model, the same calibrated again, MPPI with the shipped
model and with one that went on learning.

python bench/walks/changed.py go2 --scenarios payload slippery weak late stiff_joint steps slope --minutes 3 --episodes 16 --seed 5 --json runs/changed.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from taustack.cli.output import table
from taustack.legged import load_legged
from taustack.pool import Workers
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks
from taustack.sim.walk_planners import MPPI

TAUSTACK = str(Path(sys.executable).with_name("taustack"))
COMMAND_S = 2.4
"""That a command of the calibration takes."""


def run(*arguments: str) -> None:
    subprocess.run([TAUSTACK, *arguments], check=True)


def calibrated(robot: Path, scenario: str, minutes: float, work: Path) -> Path:
    """A folder of the robot whose strides were measured in a scenario, for so many minutes."""
    folder = work / f"calibrated_{scenario}" / robot.name
    if not (folder / "strides.yaml").is_file() or not (folder.parent / "done").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(robot, folder)
        commands = str(round(60 * minutes / COMMAND_S))
        run("train", "strides", str(folder), "--scenario", scenario, "--commands", commands, "--seed", "0", "--out", str(folder / "strides.yaml"))
        (folder.parent / "done").touch()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot")
    parser.add_argument("--scenarios", nargs="+", default=["payload", "slippery", "weak", "late", "stiff_joint", "steps", "slope"])
    parser.add_argument("--task", default="goal")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("data/changed"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    robot = load_legged(options.robot)
    shipped, results = robot.folder / "bundle", list[dict[str, Any]]()
    for scenario in options.scenarios:
        again, out = calibrated(robot.folder, scenario, options.minutes, options.work), options.work / f"bundle_{scenario}"
        if not (out / "manifest.yaml").is_file():
            learn = ["--scenario", scenario, "--minutes", f"{options.minutes:g}", "--start", str(shipped)]
            run("train", "bundle", options.robot, *learn, "--out", str(out), "--work", str(options.work))
        spec = WalkSpec(robot=robot.folder, task=options.task, scenario=scenario, planner="", seed=options.seed, index=0, bundle=shipped)
        rows = {
            "feed_forward": replace(spec, planner="feed_forward"), "feed_forward again": replace(spec, planner="feed_forward", robot=again),
            "feedback": replace(spec, planner="feedback"), "feedback again": replace(spec, planner="feedback", robot=again),
            "mppi": replace(spec, planner=MPPI), "mppi again": replace(spec, planner=MPPI, bundle=out),
        }  # fmt: skip
        for name, row in rows.items():
            done = evaluate_walks([replace(row, index=i) for i in range(options.episodes)], Workers(count=options.workers))
            results.append({"scenario": scenario, "row": name} | done)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
        shown = [[r["row"], f"{r['success_rate']:.2f}", f"{r['falls']:.2f}", str(r.get("limit_violations"))] for r in results if r["scenario"] == scenario]
        print(table([f"{options.task}, {scenario}", "success", "falls", "limit violations"], shown), flush=True)


if __name__ == "__main__":
    main()
