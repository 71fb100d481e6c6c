"""Success and error against minutes of robot time: bundles from nothing, each with as many minutes, and what they do.

python bench/walks/minutes.py go2 --minutes 1 2 4.5 10 20 --train-seeds 0 --episodes 16 --seed 5 --work data/minutes --json runs/minutes.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from taustack.cli.output import table
from taustack.legged import load_legged
from taustack.pool import Workers
from taustack.sim.legged_evaluate import WalkSpec, evaluate_walks
from taustack.sim.walk_planners import MPPI
from taustack.strict_yaml import load
from taustack.walk_manifest import WalkManifest

TAUSTACK = str(Path(sys.executable).with_name("taustack"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("robot")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1.0, 2.0, 4.5, 10.0, 20.0])
    parser.add_argument("--train-seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("data/minutes"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    robot, results = load_legged(options.robot), list[dict[str, Any]]()
    for seed in options.train_seeds:
        for minutes in options.minutes:
            out = options.work / f"bundle_{minutes:g}min_seed{seed}"
            if not (out / "manifest.yaml").is_file():
                command = ["train", "bundle", options.robot, "--minutes", f"{minutes:g}", "--seed", str(seed), "--train-seed", str(seed)]
                subprocess.run([TAUSTACK, *command, "--out", str(out), "--work", str(options.work)], check=True)
            manifest = load(WalkManifest, out / "manifest.yaml")
            row: dict[str, Any] = {"minutes": minutes, "train_seed": seed, "falls_in_data": manifest.falls} | manifest.metrics
            for task in ("goal", "velocity"):
                spec = {"robot": robot.folder, "task": task, "scenario": "nominal", "planner": MPPI, "seed": options.seed, "bundle": out}
                specs = [WalkSpec(index=i, **spec) for i in range(options.episodes)]
                row |= {f"{task}_{key}": value for key, value in evaluate_walks(specs, Workers(count=options.workers)).items() if key != "failures"}
            results.append(row)
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))
    columns = (
        "falls_in_data",
        "goal_success_rate",
        "goal_mean_speed_m_s",
        "velocity_falls",
        "velocity_rms_vx_m_s",
        "velocity_rms_vy_m_s",
        "velocity_rms_turn_rad_s",
    )
    rows = [[f"{done['minutes']:g}", str(done["train_seed"]), *("-" if done[c] is None else f"{done[c]:.3g}" for c in columns)] for done in results]
    print(table(["minutes", "seed", *columns], rows))


if __name__ == "__main__":
    main()
