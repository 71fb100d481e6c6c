"""A failure counts unless the machine was away: then it is tried again, and inconclusive in the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .stalls import STALL_S, Witness

CONFTEST = """
import math, sys
sys.path.insert(0, {project!r})
import pytest
from tests import inconclusive
from tests.inconclusive import Inconclusive
inconclusive.steal_share = lambda since=None: (0.0, 0.0, {stolen})

class Scripted:
    def start(self): pass
    def stop(self): pass
    def stalls(self, began, ended): return {stalls}
    def wait_for_rest(self, quiet_s, timeout_s): return True

def pytest_configure(config):
    config.addinivalue_line("markers", "ros: ...")
    config.pluginmanager.register(Inconclusive(Scripted(), until={until}), "inconclusive")
"""
TESTS = """
import pytest
pytestmark = pytest.mark.ros
tries = []

@pytest.fixture(scope="module")
def started():
    tries.append("graph")

def test_comes_right(started):
    tries.append("try")
    assert tries.count("try") > 1, "not yet"

def test_is_wrong(started):
    assert False, "never right"

def test_is_right(started):
    assert tries.count("graph") == {graphs}
"""


def run(folder: Path, project: Path, stalls: list[float], graphs: int, stolen: float = 0.0, until: str = "math.inf") -> str:
    (folder / "conftest.py").write_text(CONFTEST.format(project=str(project), stalls=stalls, stolen=stolen, until=until))
    (folder / "test_it.py").write_text(TESTS.format(graphs=graphs))
    call = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "-c", "/dev/null", "--rootdir", str(folder), str(folder)]
    return subprocess.run(call, capture_output=True, text=True, check=False).stdout


def test_on_a_quiet_machine_a_failure_is_a_failure(tmp_path: Path, project: Path) -> None:
    assert "2 failed, 1 passed" in run(tmp_path, project, [], graphs=1)


def test_on_one_that_stalls_it_is_tried_again_from_nothing_and_inconclusive_in_the_end(tmp_path: Path, project: Path) -> None:
    said = run(tmp_path, project, [0.05, 0.25], graphs=5)  # one, one more for the second try, three tries of the wrong test and what comes after
    assert "2 passed, 1 skipped" in said
    assert "inconclusive: cores taken away 2 times for over 20 ms, longest 250 ms" in said
    assert "attempt 3; it failed with: AssertionError: never right" in said


def test_one_whose_time_was_stolen_says_so_where_nobody_watches(tmp_path: Path, project: Path) -> None:
    said = run(tmp_path, project, [], graphs=5, stolen=0.04)
    assert "2 passed, 1 skipped" in said
    assert "4.0 % of their time stolen" in said


def test_none_begins_once_there_is_no_time_left(tmp_path: Path, project: Path) -> None:
    said = run(tmp_path, project, [], graphs=0, until="0.0")
    assert "3 skipped" in said
    assert "no time left" in said


def may_be_real_time() -> bool:
    call = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99))"]
    return subprocess.run(call, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_be_real_time(), reason="no right to real-time priorities here")
def test_the_watchers_see_a_core_that_was_taken_away() -> None:
    core = max(os.sched_getaffinity(0))
    busy = f"import os, time; os.sched_setaffinity(0, {{{core}}}); end = time.monotonic() + {5 * STALL_S}\nwhile time.monotonic() < end: pass"
    taken = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(99)); " + busy
    witness = Witness()
    witness.start()
    try:
        time.sleep(1.0)
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", taken], check=True)
        time.sleep(0.2)
        assert max(witness.stalls(began, time.monotonic())) > 4 * STALL_S
    finally:
        witness.stop()
    assert not witness.watchers
