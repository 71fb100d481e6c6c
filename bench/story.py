"""A robot that changed, from failing to recovered by its own log: `python bench/story.py`. Prints and writes the figures of docs/benchmarks.

The commands are those of docs/how-to/learn-from-logs.md: simulate with a log, retrain (with the gate), simulate with the candidate.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from taustack.cli.output import table

LOG_SEED, REPORT_SEED = 500, 7


def taustack(*arguments: str) -> tuple[int, float]:
    """Exit code and wall time [s] of a command."""
    began = time.perf_counter()
    code = subprocess.run([sys.executable, "-c", "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))", *arguments], check=False).returncode
    return code, time.perf_counter() - began


def workers(options: argparse.Namespace) -> list[str]:
    """What each command is told of the cores that it may take."""
    return ["--workers", str(options.workers)] if options.workers else []


def success(options: argparse.Namespace, out: Path, *more: str) -> dict[str, Any]:
    """Metrics of lockstep episodes with the reporting seed."""
    episodes = ["--episodes", str(options.episodes), "--seed", str(REPORT_SEED), *workers(options)]
    taustack("sim", options.robot, "reach", "--scenario", options.scenario, *episodes, "--json", str(out), *more)
    metrics: dict[str, Any] = json.loads(out.read_text())
    return metrics


def rounds(options: argparse.Namespace, log: Path, minutes: float, seed: int) -> list[dict[str, Any]]:
    """A row for each round of retraining: from so many minutes of the log, then from those and as many of the candidate's own."""
    rows: list[dict[str, Any]] = []
    sources, base, scenario = [str(log)], [], options.scenario
    for number in range(1, options.rounds + 1):
        work = options.work / f"{minutes:g}min_seed{seed}_round{number}"
        arguments = ["--minutes", str(minutes * number), "--seed", str(seed), "--scenario", scenario, "--work", str(work), *base]
        where = ["--registry", str(options.work / "registry"), "--json", str(work.with_suffix(".json"))]
        budget = [*(["--epochs", str(options.epochs)] if options.epochs else []), "--episodes", str(options.gate_episodes), *workers(options)]
        code, took = taustack("retrain", options.robot, "--from", *sources, *arguments, *where, *budget)
        gate = json.loads(work.with_suffix(".json").read_text())
        candidate = ["--bundle", str(work / "candidate")]
        after = success(options, work / "after.json", *candidate)
        rows.append({
            "minutes": minutes * number, "seed": seed, "round": number, "success": after["success_rate"], "error_m": after["median_final_error_m"],
            "retrain_s": took, "gate": "passed" if code == 0 else "refused", "violations": after["limit_violations"],
            "open_loop_m": {steps: (gate["candidate"]["error"][steps], gate["live"]["error"][steps]) for steps in gate["candidate"]["error"]},
        })  # fmt: skip
        if number < options.rounds:
            own = work / "log"
            seeds = ["--episodes", str(options.log_episodes), "--seed", str(LOG_SEED + 1000 * number), *workers(options)]
            taustack("sim", options.robot, "reach", "--scenario", scenario, *seeds, "--log", str(own), *candidate)
            sources, base = [*sources, str(own)], ["--base", str(work / "candidate")]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--scenario", default="payload", help="the robot as it is now")
    parser.add_argument("--log-episodes", type=int, default=200, help="reaches of the shipped bundle that are logged")
    parser.add_argument("--minutes", type=float, nargs="+", default=[5.0], help="minutes of the log to learn from, each a row")
    parser.add_argument("--rounds", type=int, default=1, help="of retraining: each further one learns from the log of the candidate before as well")
    parser.add_argument("--train-seeds", type=int, nargs="+", default=[0], help="each a row")
    parser.add_argument("--episodes", type=int, default=50, help="of the report")
    parser.add_argument("--epochs", type=int, help="of a retraining (default: what retrain chooses)")
    parser.add_argument("--gate-episodes", type=int, default=20, help="of the gate, a bundle")
    parser.add_argument("--workers", type=int, help="processes and threads of each command (default: one a core)")
    parser.add_argument("--work", type=Path, default=Path("data/story"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    before = success(options, options.work / "before.json")
    log = options.work / "log"
    logged = ["--episodes", str(options.log_episodes), "--seed", str(LOG_SEED), *workers(options)]
    taustack("sim", options.robot, "reach", "--scenario", options.scenario, *logged, "--log", str(log))
    rows: list[dict[str, Any]] = [{"minutes": 0.0, "seed": "-", "success": before["success_rate"], "error_m": before["median_final_error_m"]}]
    for minutes in options.minutes:
        for seed in options.train_seeds:
            rows += rounds(options, log, minutes, seed)
            print(table(list(rows[0]), [[str(row.get(key, "")) for key in rows[0]] for row in rows]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
