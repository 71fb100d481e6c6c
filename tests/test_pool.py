"""Many calls on processes: in their order, and gone with who asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taustack.pool import Workers, run_all

SLEEPERS = """
import sys, time
from pathlib import Path
from taustack.pool import Workers, run_all

def sleep(folder):
    import os
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60.0)

if __name__ == "__main__":
    run_all(sleep, [sys.argv[1]] * 8, Workers(count=2))
"""


def test_results_come_in_the_order_of_the_calls() -> None:
    assert run_all(abs, [-3, 2, -1], Workers(count=2)) == [3, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_do_not_outlive_who_started_them(number: int, tmp_path: Path) -> None:
    """One that was killed left workers with minutes of calls ahead."""
    script, pids = tmp_path / "sleepers.py", tmp_path / "pids"
    script.write_text(SLEEPERS)
    pids.mkdir()
    parent = subprocess.Popen([sys.executable, str(script), str(pids)])
    end = time.monotonic() + 60.0
    while len(list(pids.iterdir())) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    workers = [int(path.name) for path in pids.iterdir()]
    assert len(workers) == 2
    parent.send_signal(number)
    parent.wait(10.0)
    end = time.monotonic() + 10.0
    while any(_runs(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in workers)


def _runs(pid: int) -> bool:
    """True unless it has ended; nobody may have waited for it."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
