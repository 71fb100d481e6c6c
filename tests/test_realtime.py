"""The periodic loop on a clock of the test's own: skipped ticks, lateness, bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from taustack import realtime
from taustack.realtime import Durations, run_periodic, steal_share
from taustack.ring import Ring


class Clock:
    """Time that passes only when slept or worked."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def drive(monkeypatch: pytest.MonkeyPatch, work_s: list[float], oversleeps_s: dict[int, float] | None = None) -> tuple[list[tuple[float, int]], Durations]:
    clock, lateness, calls = Clock(), Durations(), []
    monkeypatch.setattr(realtime.time, "sleep", lambda seconds: clock.sleep(seconds + (oversleeps_s or {}).get(len(calls), 0.0)))

    def step(deadline: float, ticks: int) -> bool:
        calls.append((round(deadline - 100.0, 6), ticks))
        clock.now += work_s[len(calls) - 1]
        return len(calls) < len(work_s)

    run_periodic(0.01, step, lateness, clock)
    return calls, lateness


def test_ticks_come_at_absolute_deadlines_whatever_the_work_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, lateness = drive(monkeypatch, [0.001, 0.009, 0.002, 0.0])
    assert calls == [(0.01, 1), (0.02, 1), (0.03, 1), (0.04, 1)]
    assert lateness.skipped == 0
    assert lateness.percentiles_ms()["max"] == pytest.approx(0.0, abs=1e-6)


def test_a_missed_tick_is_skipped_and_never_caught_up(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, lateness = drive(monkeypatch, [0.0355, 0.0, 0.0])
    assert calls == [(0.01, 1), (0.04, 3), (0.05, 1)]
    assert lateness.skipped == 2
    assert lateness.percentiles_ms()["max"] == pytest.approx(25.5, abs=1e-6)


def test_a_tick_that_is_woken_late_knows_at_once_how_many_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, lateness = drive(monkeypatch, [0.0, 0.0, 0.0], oversleeps_s={1: 0.0355})
    assert calls == [(0.01, 1), (0.05, 4), (0.06, 1)]
    assert lateness.skipped == 3
    assert lateness.percentiles_ms()["max"] == pytest.approx(35.5, abs=1e-6)


@pytest.mark.parametrize(("phase", "now", "first"), [(0.25, 100.0, 100.0025), (0.25, 100.0026, 100.0125), (0.75, 100.0026, 100.0075), (0.0, 100.0, 100.01)])
def test_ticks_keep_their_phase_on_the_clock_whenever_they_begin(monkeypatch: pytest.MonkeyPatch, phase: float, now: float, first: float) -> None:
    clock, seen = Clock(), []
    clock.now = now
    monkeypatch.setattr(realtime.time, "sleep", clock.sleep)

    def step(deadline: float, ticks: int) -> bool:
        seen.append(deadline)
        assert (clock.now, ticks) == (pytest.approx(deadline, abs=1e-9), 1)
        return len(seen) < 3

    run_periodic(0.01, step, Durations(), clock, phase)
    np.testing.assert_allclose(seen, first + 0.01 * np.arange(3), atol=1e-9)


def test_a_ring_keeps_the_newest_in_order() -> None:
    ring = Ring(4)
    assert len(ring.newest()) == 0
    for value in range(10):
        ring.append(value)
    np.testing.assert_array_equal(ring.newest(), [6, 7, 8, 9])
    np.testing.assert_array_equal(ring.newest(2), [8, 9])
    assert ring.count == 10


def test_percentiles_without_ticks_are_zero() -> None:
    assert set(Durations().percentiles_ms().values()) == {0.0}


def test_stolen_time_is_a_share() -> None:
    first = steal_share()
    assert 0.0 <= steal_share(first[:2])[2] <= 1.0


def test_locked_memory_holds_all_but_the_compilers_library() -> None:
    """In a process of its own: what is locked stays locked."""
    script = (
        "import taustack.controllers.tracker, json\n"
        "from taustack.realtime import lock_memory\n"
        "refused = lock_memory()\n"
        "size, there, name = {}, {}, ''\n"
        "for line in open('/proc/self/smaps'):\n"
        "    key, *rest = line.split()\n"
        "    if not key.endswith(':'):\n"
        "        name = rest[-1] if len(rest) >= 5 else ''\n"
        "    elif key in ('Size:', 'Rss:'):\n"
        "        counts = size if key == 'Size:' else there\n"
        "        part = 'compiler' if 'llvmlite' in name else 'numpy' if 'numpy/_core' in name else 'other'\n"
        "        counts[part] = counts.get(part, 0) + int(rest[0])\n"
        "print(json.dumps({'refused': refused, 'share': {part: there[part] / size[part] for part in size}}))\n"
    )
    out = json.loads(subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout)
    if out["refused"]:
        pytest.skip(out["refused"])
    assert out["share"]["numpy"] > 0.99
    assert out["share"]["compiler"] < 0.8
