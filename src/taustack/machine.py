"""What this machine can promise a control loop: each look gives a verdict and what to do about it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from taustack.cores import SLEEP, is_guest
from taustack.realtime import Durations, ask_for_real_time, freeze_garbage, lock_memory, run_periodic, steal_share

Grade = Literal["good", "limited", "bad"]
JITTER_P99_MS, JITTER_P999_MS, MISSED = 0.5, 2.0, 0.001  # of a loop that the tracker can live with
STEAL_LIMIT = 0.005
"""Share of stolen CPU time above which timing figures say nothing."""
SHARED_MEMORY_MB = 64


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line of the report."""

    about: str
    grade: Grade
    found: str
    advice: str = ""


def _text(path: str, default: str = "") -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def kernel() -> Verdict:
    """The kernel and its preemption."""
    version = platform.version()
    rt = _text("/sys/kernel/realtime") == "1" or "PREEMPT_RT" in version
    found = f"{platform.system()} {platform.release()}, {'PREEMPT_RT' if rt else 'no PREEMPT_RT'}"
    advice = "" if rt else "enough for soft real time; install a PREEMPT_RT kernel to bound the worst case"
    return Verdict(about="kernel", grade="good" if rt else "limited", found=found, advice=advice)


def priorities() -> Verdict:
    """SCHED_FIFO, tried in another process so that this one keeps its own."""
    code = "from taustack.realtime import ask_for_real_time as a; print(a(60) or '')"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    if refused:
        return Verdict(about="priorities", grade="bad", found=refused, advice="add `@realtime - rtprio 99` to /etc/security/limits.conf, or grant CAP_SYS_NICE")
    return Verdict(about="priorities", grade="good", found="SCHED_FIFO is granted")


def locked_memory() -> Verdict:
    """mlockall."""
    code = "from taustack.realtime import lock_memory as a; print(a() or '')"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    limit = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft / 1e6:.0f} MB"
    if refused:
        return Verdict(about="locked memory", grade="limited", found=f"{refused}; limit {limit}", advice="raise memlock in /etc/security/limits.conf")
    return Verdict(about="locked memory", grade="good", found="mlockall is granted")


def cores() -> Verdict:
    """Cores and their governor."""
    usable, governor = len(os.sched_getaffinity(0)), _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "unknown")
    grade: Grade = "good" if usable >= 4 and governor in ("performance", "unknown") else "limited" if usable >= 2 else "bad"
    advice = "" if grade == "good" else "planning takes two cores and the tracker a quarter of one: give it four, and the governor `performance`"
    return Verdict(about="cores", grade=grade, found=f"{usable} usable, governor {governor}", advice=advice)


def sleep() -> Verdict:
    """Whether cores can be kept from falling asleep, tried in another process."""
    code = "from taustack.cores import keep_awake as a; print(a() or '')"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
    advice = f"give the user write access to {SLEEP} (a udev rule)" if refused else ""
    if is_guest() and not refused:
        refused, advice = "a virtual machine: its cores may sleep while a tracker runs", "`taustack up sim awake:=always` keeps them awake, at the host's cost"
    return Verdict(about="sleep", grade="limited" if refused else "good", found=refused or "cores stay awake while a tracker runs", advice=advice)


def clocks() -> Verdict:
    """Resolution and source of the clock, slack of the timers."""
    source, slack = _text("/sys/devices/system/clocksource/clocksource0/current_clocksource", "unknown"), _text("/proc/self/timerslack_ns", "50000")
    resolution_us = 1e6 * time.clock_getres(time.CLOCK_MONOTONIC)
    good = resolution_us <= 1.0 and int(slack) <= 100_000
    advice = "" if good else "use the tsc or kvm-clock source; timer slack is 0 under SCHED_FIFO"
    found = f"monotonic resolution {resolution_us:g} us, source {source}, timer slack {int(slack) / 1e3:g} us"
    return Verdict(about="clocks and timers", grade="good" if good else "limited", found=found, advice=advice)


def shared_memory() -> Verdict:
    """Room in /dev/shm, for the channels and for DDS."""
    path = Path("/dev/shm")
    if not path.is_dir():
        return Verdict(about="shared memory", grade="limited", found="no /dev/shm", advice="channels lie on disk: mount a tmpfs at /dev/shm")
    free_mb = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize / 1e6
    grade: Grade = "good" if free_mb >= SHARED_MEMORY_MB else "bad"
    advice = "" if grade == "good" else "enlarge it (docker: --shm-size)"
    return Verdict(about="shared memory", grade=grade, found=f"{free_mb:.0f} MB free in /dev/shm", advice=advice)


def dds(environment: Mapping[str, str] = os.environ) -> Verdict:
    """Settings of ROS's middleware that decide who hears whom."""
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    rmw, domain = environment.get("RMW_IMPLEMENTATION", "default"), environment.get("ROS_DOMAIN_ID", "0")
    found = f"RMW {rmw}, domain {domain}, discovery {reach or 'set by the launch file'}"
    wide = reach == "SUBNET" or environment.get("ROS_LOCALHOST_ONLY") == "0"
    advice = "every machine of the network hears and may command this robot: use LOCALHOST unless you need it" if wide else ""
    return Verdict(about="DDS and discovery", grade="limited" if wide else "good", found=found, advice=advice)


def steal(share: float) -> Verdict:
    """Time that other guests of the machine took while the loops were measured."""
    grade: Grade = "good" if share <= STEAL_LIMIT else "bad"
    advice = "" if grade == "good" else "timing figures of this run say nothing: use a machine of your own, or dedicated cores"
    return Verdict(about="stolen time", grade=grade, found=f"{100 * share:.2f} % while the loops were measured", advice=advice)


def measure_jitter(hz: float, seconds: float, *, real_time: bool) -> Durations:
    """Lateness of an empty loop in this process. Call it in a process of its own: it keeps the priority."""
    if real_time:
        ask_for_real_time(60)
        lock_memory()
    freeze_garbage()
    lateness, left = Durations(), int(hz * seconds)

    def step(_: float, ticks: int) -> bool:
        nonlocal left
        left -= ticks
        return left > 0

    run_periodic(1.0 / hz, step, lateness)
    return lateness


def jitter_verdict(hz: float, lateness: Durations, *, real_time: bool) -> Verdict:
    """Whether the tracker can live with it."""
    p = lateness.percentiles_ms()
    missed = lateness.skipped / max(1, lateness.total + lateness.skipped)
    fine = p["p99"] <= JITTER_P99_MS and p["p999"] <= JITTER_P999_MS and missed <= MISSED
    found = f"p50 {p['p50']:.2f}, p99 {p['p99']:.2f}, p99.9 {p['p999']:.2f}, max {p['max']:.2f} ms, missed {100 * missed:.3f} %"
    name = f"loop at {hz:g} Hz, {'SCHED_FIFO' if real_time else 'no priority'}"
    return Verdict(about=name, grade="good" if fine else "limited", found=found, advice="" if fine else "see priorities, cores and stolen time")


def stolen_since(before: tuple[float, float, float]) -> float:
    """Share of the CPU time stolen since `steal_share()` gave `before`."""
    return steal_share(before[:2])[2]
