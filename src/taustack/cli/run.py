"""`taustack run`: the main job. Starts the graph, visits goals in real time, reports, stops everything."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from taustack.cli.output import write_json
from taustack.errors import BadInput, TaustackError
from taustack.machine import STEAL_LIMIT
from taustack.stop_flag import StopFlag


def add(commands: Any) -> None:
    command = commands.add_parser("run", help="bring the stack up on a simulated robot, visit goals, write a report")
    command.add_argument("robot", help="robot, by name or folder")
    command.add_argument("--task", default="reach", help="task of the robot (default: %(default)s)")
    command.add_argument("--kind", default="direct", help="how subgoals are chosen: direct or straight, around obstacles (default: %(default)s)")
    command.add_argument("--scenario", default="nominal", help="scenario by name or path (default: %(default)s)")
    command.add_argument("--bundle", default="", help="folder of the bundle (default: the robot's own)")
    command.add_argument("--goals", type=int, default=5, help="number of goals (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, help="seed of the goals (default: %(default)s)")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    command.add_argument("--no-video", action="store_true", help="render no video")
    command.set_defaults(function=run)


def run(options: argparse.Namespace) -> int:
    from taustack.launching.launch_file import read_launch
    from taustack.launching.runner import Runner

    goals = draw_goals(options)
    folder = make_run_folder(options.runs)
    (folder / "goals.json").write_text(json.dumps(goals))
    arguments = {
        "robot": options.robot, "task": options.task, "kind": options.kind, "scenario": options.scenario, "bundle": options.bundle,
        "run_dir": str(folder.resolve()), "log": str(folder.resolve() / "log"),
    }  # fmt: skip
    runner = Runner(read_launch("sim", arguments))
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: stop.set(signal.Signals(number).name))
    print(f"starting the stack; this run is {folder}", flush=True)
    failure = ""
    client: subprocess.Popen[bytes] | None = None
    try:
        runner.start()
        client = start_client(folder)
        while client.poll() is None and not stop.is_set():
            ended = runner.poll()
            if ended is not None:
                failure = f"{ended[0]} ended with exit code {ended[1]}"
                break
            stop.wait(0.05)
        if client.poll() not in (None, 0):
            failure = failure or f"reach_goals ended with exit code {client.returncode}"
    finally:
        if client is not None and client.poll() is None:
            client.send_signal(signal.SIGINT)
        runner.stop()
        if client is not None:
            try:
                client.wait(timeout=5)
            except subprocess.TimeoutExpired:
                client.kill()
    if stop.is_set():
        print("interrupted: the arm came to rest, all processes are stopped", flush=True)
        return 1
    if failure:
        raise TaustackError(f"{failure}; the lines above say why")
    return report(options, folder, goals)


def miss_ratio(tracker: dict[str, Any]) -> float:
    """Share of plans that came after they should have taken effect, or too late to be followed at all."""
    late = tracker["deadline_misses"] + tracker["dropped"].get("stale", 0)
    return float(late / max(1, tracker["accepted"] + tracker["dropped"].get("stale", 0)))


def draw_goals(options: argparse.Namespace) -> list[list[float]]:
    """Goals of the task, by seed; checks robot, task, kind and scenario before any process starts."""
    import numpy as np

    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.subgoal_kinds import OVER_A_MODEL, make_subgoal_planner
    from taustack.controllers.tdm_bundle import tdm_of
    from taustack.sim.goals import draw_goal, scenario_of_task
    from taustack.sim.mjcf import chain_from_model
    from taustack.sim.plant import MujocoPlant
    from taustack.sim.scenario import load_scenario

    if not 1 <= options.goals <= 1000:
        raise BadInput("argument", "--goals", options.goals, "1 to 1000")
    robot = load_robot(options.robot)
    task = load_task(robot, options.task)
    if options.kind in OVER_A_MODEL:
        tdm_of(load_bundle(Path(options.bundle) if options.bundle else robot.folder / "bundle", robot), robot)
    else:
        make_subgoal_planner(options.kind, robot, task)
    rng = np.random.default_rng(options.seed)
    plant = MujocoPlant(robot, scenario_of_task(robot, task, load_scenario(options.scenario, robot.n), rng))
    chain = chain_from_model(plant.nominal, robot)
    return [[round(float(v), 4) for v in draw_goal(plant, chain, rng, task.goals)] for _ in range(options.goals)]


def make_run_folder(runs: Path) -> Path:
    """runs/<time>, and runs/latest pointing at it."""
    folder = runs / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    try:
        folder.mkdir(parents=True)
        link = runs / ".latest.part"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        os.replace(link, runs / "latest")
    except OSError as error:
        raise BadInput(folder, "", error.strerror or str(error), "a folder that can be made") from None
    return folder


def start_client(folder: Path) -> subprocess.Popen[bytes]:
    from taustack.launching.launch_file import read_launch
    from taustack.launching.ros_environment import executable, ros_environment

    parameters = [part for key, name in (("goals", "goals.json"), ("results", "results.json")) for part in ("-p", f"{key}:={(folder / name).resolve()}")]
    command = [str(executable("taustack_ros", "reach_goals")), "--ros-args", *parameters]
    environment = ros_environment() | read_launch("sim", {}).environment
    return subprocess.Popen(command, env=environment, start_new_session=True)


def report(options: argparse.Namespace, folder: Path, goals: list[list[float]]) -> int:
    """Write summary.json, plots and video; 0 if every goal was reached."""
    from taustack.cli import pictures

    results = json.loads((folder / "results.json").read_text())
    tracker = json.loads((folder / "tracker.json").read_text())
    controller = json.loads((folder / "controller.json").read_text())
    subgoals = json.loads((folder / "subgoals.json").read_text())
    summary = {
        "robot": options.robot, "scenario": options.scenario, "seed": options.seed,
        "goals_total": len(goals), "goals_reached": sum(r["reached"] for r in results), "final_error_m": [r["error_m"] for r in results],
        "time_to_goal_s": [r["elapsed_s"] for r in results],
        "subgoals": subgoals,
        "plan_hz": controller["plan_hz"], "plans_by": controller["plans_by"], "plan_ms": controller["plan_ms"], "deadline_miss_ratio": miss_ratio(tracker),
        "state_age_ms": tracker["state_age_ms"], "tracker": {key: tracker[key] for key in ("hz", "ticks", "skipped", "lateness_ms", "work_ms")},
        "plans_dropped": tracker["dropped"], "filter_acted": tracker["acted"], "steal_share": tracker["steal_share"],
        "timing_conclusive": tracker["steal_share"] <= STEAL_LIMIT, "bundle": controller["bundle"],
    }  # fmt: skip
    write_json(folder / "summary.json", summary)
    started = time.monotonic()
    pictures.plot_run(folder, goals, results)
    if not options.no_video:
        print(pictures.render_video(folder, options.robot, goals, results), flush=True)
    first, cycle = subgoals["first_ms"], subgoals["cycle_ms"]
    plan, missed, age = summary["plan_ms"], 100 * summary["deadline_miss_ratio"], summary["state_age_ms"]
    print(f"goals reached  {summary['goals_reached']} of {summary['goals_total']}")
    print(f"plan           {summary['plan_hz']:.1f} Hz, p50 {plan['p50']:.1f} ms, p99 {plan['p99']:.1f} ms, deadlines missed {missed:.2f} %")
    print(f"subgoals       by {subgoals['kind']}: first of a goal p50 {first['p50']:.1f} ms, then p50 {cycle['p50']:.1f} ms, p99 {cycle['p99']:.1f} ms")
    print(f"tracker        {tracker['hz']:g} Hz, lateness p99 {tracker['lateness_ms']['p99']:.2f} ms, work p99 {tracker['work_ms']['p99']:.2f} ms")
    print(f"state's age    behind each command p50 {age['p50']:.0f} ms, p99 {age['p99']:.0f} ms, p99.9 {age['p999']:.0f} ms")
    if not summary["timing_conclusive"]:
        print(f"timing         inconclusive: {100 * summary['steal_share']:.1f} % of the CPU time was stolen by other guests")
    print(f"report         {folder} (summary.json, plots; {time.monotonic() - started:.0f} s to draw)")
    return 0 if summary["goals_reached"] == summary["goals_total"] else 1
