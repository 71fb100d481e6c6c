"""`taustack bench`: ratios measured in one run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from taustack.cli.faults import bench_faults
from taustack.errors import TaustackError

PROJECT = Path(__file__).resolve().parents[3]


def add(commands: Any) -> None:
    command = commands.add_parser("bench", help="measure ratios against what else there is, interleaved in one run")
    kinds = command.add_subparsers(dest="kind", required=True, metavar="KIND")
    plan = kinds.add_parser("plan", help="our plan step against pytorch_mppi and against the bare matrix products")
    plan.add_argument("--json", type=Path, help="write the figures to this file")
    plan.add_argument("--repeats", type=int, default=120, help="rounds of the interleaved run (default: %(default)s)")
    plan.add_argument("--activation", choices=("tanh", "silu", "relu"), default="tanh", help="activation of the network (default: %(default)s)")
    plan.set_defaults(function=bench_plan)
    faults = kinds.add_parser("faults", help="a random fault campaign in lockstep, judged by the plant's state")
    faults.add_argument("robot", nargs="?", help="robot, by name or folder (default: the first one shipped)")
    faults.add_argument("--task", help="task of the robot (default: reach, of a robot on legs velocity)")
    faults.add_argument("--bundle", type=Path, help="folder of the bundle (default: the robot's own)")
    faults.add_argument("--campaign", type=int, default=100, help="number of runs (default: %(default)s)")
    faults.add_argument("--seed", type=int, default=0, help="seed of faults and goals (default: %(default)s)")
    faults.add_argument("--json", type=Path, help="write the figures to this file")
    faults.set_defaults(function=bench_faults)


def bench_plan(options: argparse.Namespace) -> int:
    import runpy

    script = PROJECT / "bench" / "plan.py"
    if not script.is_file():
        raise TaustackError(f"{script} is missing: benchmarks run from a checkout of the project")
    return int(runpy.run_path(str(script))["main"](options.repeats, options.json, options.activation))
