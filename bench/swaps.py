"""Another bundle goes live while the arm moves, again and again: `python bench/swaps.py --times 20 --json F`.

Promotions and rollbacks in turn, of two versions that are the shipped bundle under other names. Counted at the tracker: plans that
came too late, from the promotion until a second after the new bundle planned, beside as long a time without a swap; and of those the ones within a
second of its first plan, for beside an arm in motion the rehearsal may wait long for a core, and a pause of the machine counts as well.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from graph import Graph, wandering

from taustack.cli.output import table
from taustack.config import load_robot
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.registry import REPORT, Registry

AFTER_S, LOOK_S = 1.0, 0.1
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
    rows: list[dict[str, Any]] = []
    with wandering(folder, 3600.0, {"robot": robot, "registry": str(registry.root)}) as graph:
        until(graph, lambda: graph.status().get("accepted", 0) > 500)
        for number in range(times):
            before, known = graph.status(), planned_with(graph)
            if number and number % 2 == 0:
                registry.rollback()
            else:
                registry.promote("2" if number else "1")
            recent = deque([before], maxlen=round(AFTER_S / LOOK_S))

            def swapped(known: int = known, recent: deque[dict[str, Any]] = recent) -> bool:
                pause(graph, LOOK_S)
                recent.append(graph.status())
                return planned_with(graph) > known

            took = until(graph, swapped)
            pause(graph, AFTER_S)
            after = graph.status()
            pause(graph, took + AFTER_S)
            missed = {"missed": late(before, after), "missed_at_first_plan": late(recent[0], after), "missed_without_swap": late(after, graph.status())}
            rows.append({"swap": number + 1, "took_s": took} | missed)
            print(rows[-1], flush=True)
    if graph.runner.restarted:
        print(f"restarted meanwhile: {graph.runner.restarted}")
    return rows


def until(graph: Graph, done: Callable[[], object]) -> float:
    """Wait for something; how long it took [s]."""
    began = time.monotonic()
    while not done():
        graph.poll()
        if time.monotonic() - began > TOO_LONG_S:
            raise SystemExit(f"nothing came for {TOO_LONG_S:g} s: see {graph.log}")
        time.sleep(0.02)
    return time.monotonic() - began


def pause(graph: Graph, seconds: float) -> None:
    """Let the graph work."""
    end = time.monotonic() + seconds
    until(graph, lambda: time.monotonic() > end)


def planned_with(graph: Graph) -> int:
    """How many bundles the controller has planned with so far."""
    return graph.log.read_text(errors="replace").count("planning with")


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
