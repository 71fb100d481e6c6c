"""Another bundle goes live while the arm moves, again and again: `python bench/swaps.py --times 20 --json F`.

Promotions and rollbacks in turn, of two versions that are the shipped bundle under other names. Counted at the tracker: plans that
came too late, from the promotion until a second after the new bundle planned, beside as long a time before it without a swap.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from taustack.cli.output import table
from taustack.config import load_robot
from taustack.controllers.wire import reader, unpack_status
from taustack.launching.launch_file import LaunchSpec, read_launch
from taustack.launching.runner import Runner
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.registry import REPORT, Registry
from taustack.shared_memory import session_folder

CLIENT = Path(__file__).resolve().parent / "wander.py"
AFTER_S = 1.0
TOO_LONG_S = 120.0


def two_versions(robot: str, folder: Path) -> Registry:
    """A registry with versions 1 and 2."""
    config = load_robot(robot)
    registry = Registry(folder / "registry", config.name)
    for name in ("first", "second"):
        bundle = Path(shutil.copytree(config.folder / "bundle", folder / name))
        manifest = yaml.safe_load((bundle / MANIFEST).read_text()) | {"name": name}
        (bundle / MANIFEST).write_text(yaml.safe_dump(manifest))
        report = folder / f"{name}.json"
        report.write_text(json.dumps({"passed": True, "candidate_sha256": sha256_of(bundle / MANIFEST)}))
        registry.add(bundle, {REPORT: report})
    return registry


def swaps(times: int, robot: str) -> list[dict[str, Any]]:
    """One row a swap."""
    folder = Path(tempfile.mkdtemp(prefix="taustack-swaps-"))
    registry = two_versions(robot, folder)
    spec = read_launch("sim", {"robot": robot, "run_dir": str(folder), "log": str(folder / "log"), "registry": str(registry.root)})
    domain = {"ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "78")}
    rows: list[dict[str, Any]] = []
    with (folder / "log.txt").open("w+") as log:
        runner = Runner(LaunchSpec(nodes=spec.nodes, environment=spec.environment | domain), out=log)
        runner.start()
        status = reader(session_folder(runner.session), "status")

        def misses() -> dict[str, Any]:
            return unpack_status(status.newest_message() or b"{}")

        def until(done: Callable[[], object]) -> float:
            began = time.monotonic()
            while not done():
                runner.poll()
                if time.monotonic() - began > TOO_LONG_S:
                    raise SystemExit(f"nothing came for {TOO_LONG_S:g} s: see {folder / 'log.txt'}")
                time.sleep(0.02)
            return time.monotonic() - began

        def pause(seconds: float) -> None:
            end = time.monotonic() + seconds
            until(lambda: time.monotonic() > end)

        def said() -> int:
            return (folder / "log.txt").read_text(errors="replace").count("planning with")

        client = subprocess.Popen([sys.executable, str(CLIENT), "3600"], env=runner.environment, stdout=log, stderr=log)
        try:
            until(lambda: misses().get("accepted", 0) > 500)
            for number in range(times):
                before, known = misses(), said()
                if number and number % 2 == 0:
                    registry.rollback()
                else:
                    registry.promote("2" if number else "1")
                took = until(lambda known=known: said() > known)  # type: ignore[misc]
                pause(AFTER_S)
                after = misses()
                pause(took + AFTER_S)
                rows.append({"swap": number + 1, "took_s": took, "missed": late(before, after), "missed_without_swap": late(after, misses())})
                print(rows[-1], flush=True)
        finally:
            client.terminate()
            client.wait()
            runner.stop()
            status.close()
    if runner.restarted:
        print(f"restarted meanwhile: {runner.restarted}")
    return rows


def late(before: dict[str, Any], after: dict[str, Any]) -> int:
    """Plans between two looks that came after they should have taken effect, or too late to be followed at all."""
    return int(sum(sign * (status["deadline_misses"] + status["dropped"].get("stale", 0)) for sign, status in ((-1, before), (1, after))))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = swaps(options.times, options.robot)
    print(table(list(rows[0]), [[f"{value:.4g}" for value in row.values()] for row in rows]))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if max(row["missed"] for row in rows) <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
