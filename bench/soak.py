"""The whole graph for a long time: `python bench/soak.py --minutes 30 --json F`. Memory, descriptors, threads and lateness over time,
what each process takes of a core, why the e-stop was pressed and reset, and what was logged; with --no-log the same without the
logger at work, to be put side by side.

The arm wanders between two goals, a robot on legs around a field; every ten seconds each process is looked at. Growth is the slope of a robust line through
the second half (Theil and Sen), times the length of the run, as a share of the median.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from graph import wandering

from taustack.cli.run import miss_ratio
from taustack.cli.up import launch_arguments
from taustack.launching.runner import Runner
from taustack.shared_memory import sessions_root

EVERY_S = 10.0
SETTLE_S = 60.0  # caches fill, pools grow to their size


def growth(t: np.ndarray, y: np.ndarray) -> float:
    """Share by which y grew over t, by the median of all pairwise slopes."""
    i, j = np.triu_indices(len(t), 1)
    return float(np.median((y[j] - y[i]) / (t[j] - t[i])) * (t[-1] - t[0]) / max(1e-9, np.median(y)))


def look(runner: Runner) -> dict[str, dict[str, float]]:
    """Resident memory [MB], threads, descriptors and CPU time [s] of each process."""
    out = {}
    for child in runner.children:
        process = psutil.Process(child.process.pid)
        cpu = process.cpu_times()
        out[child.name] = {
            "rss_mb": process.memory_info().rss / 1e6, "threads": process.num_threads(), "descriptors": process.num_fds(), "cpu_s": cpu.user + cpu.system,
        }  # fmt: skip
    return out


def soak(minutes: float, robot: str, arguments: dict[str, str]) -> dict[str, Any]:
    """Run, look, stop; the figures."""
    folder = Path(tempfile.mkdtemp(prefix="taustack-soak-"))
    rows: list[tuple[float, dict[str, dict[str, float]]]] = []
    lateness: list[dict[str, Any]] = []
    with wandering(folder, 60 * minutes, {"robot": robot, **arguments}) as graph:
        started = time.monotonic()
        try:
            while time.monotonic() - started < 60 * minutes:
                time.sleep(EVERY_S)
                graph.poll()
                rows.append((time.monotonic() - started, look(graph.runner)))
                if status := graph.status():
                    lateness.append(status)
            said = {"estops": graph.resets(), "goals": graph.goals(), "damped": graph.damped()}
        finally:
            (folder / "rows.json").write_text(json.dumps(rows))
    tracker, controller = (json.loads((folder / f"{name}.json").read_text()) for name in ("tracker", "controller"))
    logged = json.loads((folder / "logger.json").read_text()) if (folder / "logger.json").is_file() else {}
    subgoals = json.loads((folder / "subgoals.json").read_text()) if (folder / "subgoals.json").is_file() else {}
    return figures(rows, lateness, tracker, controller) | {"logged": logged, "subgoals": subgoals, "plans_by": controller["plans_by"]} | said


def figures(rows: list[Any], lateness: list[dict[str, Any]], tracker: dict[str, Any], controller: dict[str, Any]) -> dict[str, Any]:
    """Growth of each process, what it takes of a core, and the tracker's timing."""
    kept = [(t, seen) for t, seen in rows if t > SETTLE_S] or rows
    t = np.array([row[0] for row in kept])
    processes = {}
    for name in kept[-1][1]:
        series = [row[1][name] for row in kept if name in row[1]]
        half = series[len(series) // 2 :]
        megabytes = np.array([seen["rss_mb"] for seen in half])
        processes[name] = {
            "rss_mb": half[-1]["rss_mb"], "memory_growth": growth(t[-len(half) :], megabytes) if len(half) > 2 else 0.0,
            "thread_growth": half[-1]["threads"] - half[0]["threads"], "descriptor_growth": half[-1]["descriptors"] - half[0]["descriptors"],
            "restarted": len(series) < len(kept), "of_a_core": (half[-1]["cpu_s"] - half[0]["cpu_s"]) / max(1e-9, float(t[-1] - t[-len(half)])),
        }  # fmt: skip
    missed = tracker["skipped"] / max(1, tracker["ticks"] + tracker["skipped"])
    return {
        "minutes": round(float(rows[-1][0]) / 60, 1), "processes": processes, "tracker_hz": tracker["hz"], "lateness_ms": tracker["lateness_ms"],
        "work_ms": tracker["work_ms"], "missed_ticks": missed, "state_age_ms": tracker["state_age_ms"], "steal_share": tracker["steal_share"],
        "p99_over_time_ms": [round(s["lateness_ms"]["p99"], 3) for s in lateness[:: max(1, len(lateness) // 12)]],
        "plan_ms": controller["plan_ms"], "plan_hz": controller["plan_hz"], "accepted": tracker["accepted"], "deadline_misses": tracker["deadline_misses"],
        "plan_miss_ratio": miss_ratio(tracker),
        "left_in_shared_memory": [p.name for p in sessions_root().glob(f"run-{os.getpid()}*")],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--no-log", action="store_true", help="without the logger at work")
    parser.add_argument("--json", type=Path)
    parser.add_argument("arguments", nargs="*", metavar="NAME:=VALUE", help="arguments of the launch file, such as kind:=tdm task:=wall")
    options = parser.parse_args()
    result = soak(options.minutes, options.robot, launch_arguments(options.arguments) | ({"log": ""} if options.no_log else {}))
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    worst = max(p["memory_growth"] for p in result["processes"].values())
    grown = any(p["thread_growth"] > 0 or p["descriptor_growth"] > 0 for p in result["processes"].values())
    return 1 if worst > 0.02 or grown or result["left_in_shared_memory"] else 0


if __name__ == "__main__":
    sys.exit(main())
