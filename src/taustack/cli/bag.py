"""`taustack bag`: look at bags, check them, save what a damaged one still holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from taustack.cli.output import table, write_json
from taustack.errors import BadInput


def add(commands: Any) -> None:
    command = commands.add_parser("bag", help="look at what was logged")
    actions = command.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, function, text in (
        ("info", info, "topics, counts, rates, what the bag carries along"),
        ("check", check, "gaps, rates, clock jumps, values that are not finite, joint order; exit code 1 if something is wrong"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("bag", type=Path, help="folder of the bag, or one .mcap file")
        action.add_argument("--json", type=Path, help="write the report to this file")
        action.set_defaults(function=function)
    action = actions.add_parser("recover", help="copy what can be read of a damaged bag into a new one")
    action.add_argument("bag", type=Path, help="folder of the bag, or one .mcap file")
    action.add_argument("--out", type=Path, required=True, help="folder of the new bag; must not be there yet")
    action.set_defaults(function=save)
    action = actions.add_parser("export", help="the tracker's rows, states and plans as Parquet, or the motions as a dataset of LeRobot")
    action.add_argument("bag", type=Path, help="folder of the bag, or one .mcap file")
    action.add_argument("--out", type=Path, required=True, help="folder of the files; must not be there yet")
    action.add_argument("--format", choices=EXPORTS, default="parquet", help="parquet, or lerobot: its dataset format v3 (default: %(default)s)")
    action.add_argument("--robot", help="robot of a LeRobot dataset, by name or folder (default: the one the bag names)")
    action.add_argument("--task", default="reach", help="what LeRobot calls the task (default: %(default)s)")
    action.set_defaults(function=export)
    action = actions.add_parser("plot", help="a picture: joints, references, states of the tracker, errors of the plans' predictions")
    action.add_argument("bag", type=Path, help="folder of the bag, or one .mcap file")
    action.add_argument("--out", type=Path, default=Path("bag.png"), help="file of the picture (default: %(default)s)")
    action.set_defaults(function=draw)

    action = actions.add_parser("replay", help="the same plan step over the logged plans: the same bits? And why a plan was made, as a picture")
    action.add_argument("bag", type=Path, help="folder of the bag, or one .mcap file")
    action.add_argument("--bundle", type=Path, action="append", default=[], help="folder of a bundle that made plans of the bag (default: the robot's own)")
    action.add_argument("--robot", help="robot, by name or folder (default: the one the bag names)")
    action.add_argument("--task", default="reach", help="task whose noise the planner had (default: %(default)s)")
    action.add_argument("--at", type=float, help="seconds from the bag's first plan: draw the plan that took effect then")
    action.add_argument("--out", type=Path, default=Path("plan.png"), help="file of that picture (default: %(default)s)")
    action.set_defaults(function=replay)


def info(options: argparse.Namespace) -> int:
    from taustack.bags.check import look
    from taustack.bags.reader import open_bag

    bag = open_bag(options.bag)
    report = look(bag)
    seconds = (report.last_ns - report.first_ns) / 1e9
    rows = [[name, t.type, str(t.count), f"{t.hz:.1f}", f"{t.bytes / 1e6:.2f}"] for name, t in sorted(report.topics.items())]
    print(table(["topic", "type", "messages", "Hz", "MB"], rows))
    print(
        f"{seconds:.1f} s, {sum(t.count for t in report.topics.values())} messages in {len(bag.files)} file(s); joints {', '.join(report.joint_names) or '-'}"
    )
    for key, value in bag.about.items():
        print(f"{key}: {value}")
    if bag.attachments:
        print("carries " + ", ".join(sorted(bag.attachments)))
    _write(options, report, bag)
    return 0


def check(options: argparse.Namespace) -> int:
    from taustack.bags.check import look
    from taustack.bags.reader import open_bag

    bag = open_bag(options.bag)
    report = look(bag)
    for finding in report.findings:
        print(finding)
    _write(options, report, bag)
    count = sum(t.count for t in report.topics.values())
    print(f"{options.bag}: {count} messages, " + (f"{len(report.findings)} finding(s)" if report.findings else "nothing wrong"))
    return 1 if report.findings else 0


def save(options: argparse.Namespace) -> int:
    from taustack.bags.recover import recover

    bag, counts = recover(options.bag, options.out)
    for problem in bag.problems:
        print(problem)
    print(f"{options.out}: {sum(counts.values())} messages saved")
    return 0


def export(options: argparse.Namespace) -> int:
    from taustack.bags.reader import open_bag

    return EXPORTS[options.format](options, open_bag(options.bag))


def _export_parquet(options: argparse.Namespace, bag: Any) -> int:
    from taustack.bags.export import export_parquet

    counts = export_parquet(bag, options.out)
    for problem in bag.problems:
        print(problem)
    print(f"{options.out}: " + ", ".join(f"{name}.parquet {count} rows" for name, count in counts.items()))
    return 0


def _export_lerobot(options: argparse.Namespace, bag: Any) -> int:
    from taustack.config import load_robot
    from taustack.models.from_bags import WHOLE, Harvest, runs_of
    from taustack.models.lerobot import export_lerobot

    next(bag.messages({"track"}), None)  # what a bag says of itself is known once it is read
    name = options.robot or bag.about.get("robot")
    if name is None:
        raise BadInput(options.bag, "robot", "a bag that does not name it", "--robot NAME")
    robot, harvest = load_robot(name), Harvest()
    dt, joints = robot.rates.control_dt, robot.joint_names
    runs = runs_of([options.bag], robot.name, joints, dt, harvest, WHOLE)
    try:
        written = export_lerobot(runs, options.out, robot=robot.name, joint_names=joints, dt=dt, task=options.task)
    finally:
        for note in (*harvest.notes, *harvest.quarantined.values()):
            print(note)
    left_out = ", ".join(f"{seconds:.1f} s {why}" for why, seconds in harvest.cut_s.items())
    print(f"{options.out}: {len(written.episodes)} episodes, {written.frames} frames at {1 / dt:g} Hz; left out: {left_out or 'nothing'}")
    return 0


EXPORTS = {"parquet": _export_parquet, "lerobot": _export_lerobot}


def draw(options: argparse.Namespace) -> int:
    from taustack.bags.plot import plot
    from taustack.bags.reader import open_bag

    plot(open_bag(options.bag), options.out)
    print(options.out)
    return 0


def replay(options: argparse.Namespace) -> int:
    """Exit code 1 if a plan differs."""
    from taustack.bags.plot import tracker_rows
    from taustack.bags.reader import open_bag
    from taustack.config import load_robot, load_task
    from taustack.sim.mjcf import chain_from_model, compile_model
    from taustack.sim.replay import Replay, bundles_of, draw_plan, logged_plans

    bag = open_bag(options.bag)
    plans = list(logged_plans(bag))
    if not plans:
        raise BadInput(options.bag, "plan", "no plan that says what it was computed from", "a bag of this version, with plans of the learned model")
    robot = load_robot(options.robot or bag.about.get("robot", ""))
    folders = [*options.bundle, *sorted(path.parent for path in robot.folder.glob("*/manifest.yaml"))]
    again = Replay(robot, load_task(robot, options.task), bundles_of(plans, robot, folders))
    different = [plan for plan in plans if not again.same(plan)]
    print(f"{options.bag}: {len(plans) - len(different)} of {len(plans)} plans computed again to the same bits")
    for plan in different[:10]:
        print(f"plan {plan.seq} at {plan.t - plans[0].t:.3f} s differs")
    if options.at is not None:
        plan = max((p for p in plans if p.t <= plans[0].t + options.at), key=lambda p: p.t, default=plans[0])
        t, q, *_ = tracker_rows(bag)
        draw_plan(plan, (t, q), chain_from_model(compile_model(robot), robot), options.out)
        print(f"plan {plan.seq}: " + ", ".join(f"{name} {value:.3f}" for name, value in sorted(plan.weighted.items(), key=lambda item: -abs(item[1]))))
        print(options.out)
    return 1 if different else 0


def _write(options: argparse.Namespace, report: Any, bag: Any) -> None:
    if options.json:
        topics = {name: {"type": t.type, "count": t.count, "bytes": t.bytes, "hz": t.hz, "lost": t.lost} for name, t in report.topics.items()}
        data = {"seconds": (report.last_ns - report.first_ns) / 1e9, "topics": topics, "findings": report.findings, "about": bag.about}
        write_json(options.json, data)
