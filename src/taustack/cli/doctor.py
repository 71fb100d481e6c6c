"""`taustack doctor`: what this machine can promise, a verdict a line and what to do."""

from __future__ import annotations

import argparse
import multiprocessing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from taustack.errors import BadInput

if TYPE_CHECKING:
    from taustack.machine import Verdict
    from taustack.realtime import Durations

RATES_HZ = (500.0, 1000.0)
PLANS = 200
MARKS = {"good": "ok ", "limited": "~  ", "bad": "BAD"}


def add(commands: Any) -> None:
    command = commands.add_parser("doctor", help="what this machine can promise: priorities, jitter, clocks, DDS, providers, plan time")
    command.add_argument("robot", nargs="?", help="robot whose bundle is timed (default: the first one shipped)")
    command.add_argument("--bundle", type=Path, help="folder of the bundle (default: the robot's own)")
    command.add_argument("--seconds", type=float, default=60.0, help="how long the loops are measured (default: %(default)s)")
    command.add_argument("--picture", type=Path, help="write the histogram of the jitter to this file (.png)")
    command.add_argument("--json", type=Path, help="write the verdicts to this file")
    command.set_defaults(function=doctor)


def doctor(options: argparse.Namespace) -> int:
    """0 unless a line is BAD."""
    from taustack import machine
    from taustack.cli.output import write_json
    from taustack.realtime import steal_share

    if not 1.0 <= options.seconds <= 3600.0:
        raise BadInput("argument", "--seconds", options.seconds, "1 to 3600")
    verdicts = [
        look() for look in (machine.kernel, machine.priorities, machine.locked_memory, machine.cores, machine.sleep, machine.clocks, machine.shared_memory)
    ]
    verdicts.append(machine.dds())
    _tell(verdicts)
    print(f"... measuring loops for {options.seconds:g} s", flush=True)
    before = steal_share()
    jobs = [(hz, options.seconds, real_time) for real_time in (True, False) for hz in RATES_HZ]
    measured: list[tuple[float, bool, Durations]] = []
    with multiprocessing.get_context("spawn").Pool(len(RATES_HZ), maxtasksperchild=1) as pool:
        for (hz, _, real_time), lateness in zip(jobs, pool.starmap(_measure, jobs, chunksize=1), strict=True):
            measured.append((hz, real_time, lateness))
    loops = [machine.jitter_verdict(hz, lateness, real_time=real_time) for hz, real_time, lateness in measured]
    loops.append(machine.steal(machine.stolen_since(before)))
    _tell(loops)
    models = [_providers(), _plan_time(options)]
    _tell(models)
    if options.picture:
        _picture(measured, options.picture)
        print(f"picture: {options.picture}")
    everything = [*verdicts, *loops, *models]
    if options.json:
        write_json(options.json, [asdict(verdict) for verdict in everything])
    return 1 if any(verdict.grade == "bad" for verdict in everything) else 0


def _measure(hz: float, seconds: float, real_time: bool) -> Durations:
    from taustack.machine import measure_jitter

    return measure_jitter(hz, seconds / 2, real_time=real_time)


def _tell(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        print(f"{MARKS[verdict.grade]} {verdict.about}: {verdict.found}", flush=True)
        if verdict.advice:
            print(f"      {verdict.advice}", flush=True)


def _providers() -> Verdict:
    import onnxruntime

    from taustack.machine import Verdict

    found = onnxruntime.get_available_providers()
    gpu = [name for name in found if name in ("TensorrtExecutionProvider", "CUDAExecutionProvider")]
    advice = "" if gpu else "plans run on the CPU; install onnxruntime-gpu where there is an NVIDIA GPU"
    return Verdict(about="inference providers", grade="good" if gpu else "limited", found=", ".join(found), advice=advice)


def _plan_time(options: argparse.Namespace) -> Verdict:
    """Time of a plan of the bundle, against the time until it takes effect."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from taustack.config import load_robot, load_task
    from taustack.controllers.bundle import load_bundle
    from taustack.controllers.mppi import MPPI
    from taustack.machine import Verdict
    from taustack.robot_folders import default_robot

    robot = load_robot(options.robot or default_robot())
    task = load_task(robot, "reach")
    bundle = load_bundle(options.bundle or robot.folder / "bundle", robot)
    with ThreadPoolExecutor(bundle.manifest.plan.shards) as executor:
        planner = MPPI(bundle, robot, task, np.random.default_rng(0), executor)
        home, times = np.concatenate([robot.home, 0 * robot.home] * 2), []
        for _ in range(PLANS):
            started = time.perf_counter()
            planner.rehearse(home)
            times.append(1e3 * (time.perf_counter() - started))
    p50, p99 = np.percentile(times[10:], [50, 99])
    budget = 1e3 * task.mppi.latency_steps * robot.rates.control_dt
    period = 1e3 / robot.rates.plan_hz
    grade = "good" if p99 <= period else "limited" if p99 <= budget else "bad"
    found = f"{robot.name}: p50 {p50:.1f}, p99 {p99:.1f} ms; a plan every {period:.0f} ms, in effect after {budget:.0f} ms"
    advice = "" if grade == "good" else "lower samples or horizon in the task and export again, or plan_hz in robot.yaml"
    return Verdict(about="plan time", grade=grade, found=found, advice=advice)  # type: ignore[arg-type]


def _picture(measured: list[tuple[float, bool, Durations]], path: Path) -> None:
    """Histograms of the lateness, one a loop."""
    import matplotlib as mpl
    import numpy as np

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 3.6), constrained_layout=True)
    for hz, real_time, lateness in measured:
        edges = 1e3 * lateness.bin_s * np.arange(1, len(lateness.counts) + 1)
        beyond = 1.0 - np.cumsum(lateness.counts) / max(1, lateness.total)
        axes.loglog(edges, np.maximum(beyond, 1e-6), label=f"{hz:g} Hz, {'SCHED_FIFO' if real_time else 'no priority'}", linestyle="-" if real_time else "--")
    axes.axvline(0.5, color="grey", linewidth=0.8)
    axes.set(xlabel="lateness [ms]", ylabel="share of ticks that are later", ylim=(1e-6, 1))
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
