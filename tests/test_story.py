"""The story of docs/how-to/learn-from-logs.md, shorter: a robot that changed fails, logs, learns from its log, and reaches again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_robot_that_changed_recovers_from_a_minute_of_its_own_log(project: Path, tmp_path: Path) -> None:
    """The full story, with its figures, is `python bench/story.py`; a swap while the arm moves is in tests/faults/test_swap.py."""
    out = tmp_path / "story.json"
    budget = ["--log-episodes", "60", "--minutes", "1.2", "--epochs", "250", "--gate-episodes", "2", "--episodes", "16"]
    subprocess.run(
        [sys.executable, "bench/story.py", *budget, "--work", str(tmp_path / "work"), "--json", str(out)], cwd=project, check=True, capture_output=True
    )
    before, after = json.loads(out.read_text())
    assert before["success"] <= 0.75
    assert after["success"] >= before["success"] + 0.2
    assert after["violations"] == 0
    candidate, live = after["open_loop_m"]["H"]
    assert candidate <= 0.5 * live
