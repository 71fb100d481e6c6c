"""`taustack bench`: ratios measured in one run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

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


def bench_plan(options: argparse.Namespace) -> int:
    import runpy

    script = PROJECT / "bench" / "plan.py"
    if not script.is_file():
        raise TaustackError(f"{script} is missing: benchmarks run from a checkout of the project")
    return int(runpy.run_path(str(script))["main"](options.repeats, options.json, options.activation))
