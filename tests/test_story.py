"""The story of docs/how-to/learn-from-logs.md, shorter: a robot that changed fails, logs, learns from its log, and is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_robot_that_changed_fails_and_learns_from_half_a_minute_of_its_own_log(project: Path, tmp_path: Path) -> None:
    """Half a minute brings the open loop back; success takes two minutes of log and more training: `python bench/story.py` is the full story.

    A swap while the arm moves is in tests/faults/test_swap.py.
    """
    out = tmp_path / "story.json"
    budget = ["--log-episodes", "24", "--minutes", "0.5", "--epochs", "250", "--gate-episodes", "1", "--episodes", "8", "--workers", "1"]
    subprocess.run(
        [sys.executable, "bench/story.py", *budget, "--work", str(tmp_path / "work"), "--json", str(out)], cwd=project, check=True, capture_output=True
    )
    before, after = json.loads(out.read_text())
    assert before["success"] <= 0.75
    assert after["violations"] == 0
    assert after["gate"] in ("passed", "refused")
    candidate, live = after["open_loop_m"][max(after["open_loop_m"], key=int)]
    assert candidate <= 0.5 * live
