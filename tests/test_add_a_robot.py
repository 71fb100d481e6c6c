"""docs/how-to/add-a-robot.md, carried out: its files and its commands, on an arm that stands nowhere else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from taustack.cli import main


def files_of(page: str) -> dict[str, str]:
    """The files of a how-to: a line with the path in backticks, then a fenced block."""
    return {name: text for name, text in re.findall(r"^`(\S+)`\n\n```\w+\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)}


@pytest.mark.slow
def test_a_newcomers_robot_learns_and_reaches(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    files = files_of((project / "docs/how-to/add-a-robot.md").read_text())
    assert set(files) == {"two_link/model.xml", "two_link/robot.yaml", "two_link/tasks/reach.yaml"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["train", "bundle", "two_link", "--minutes", "2", "--epochs", "40", "--out", "two_link/bundle", "--json", "train.json"]) == 0
    assert main(["models", "verify", "two_link/bundle"]) == 0
    assert "ok: two_link/bundle" in capsys.readouterr().out
    assert main(["sim", "two_link", "reach", "--episodes", "6", "--seed", "5", "--json", "sim.json"]) == 0
    metrics = json.loads(Path("sim.json").read_text())
    assert metrics["success_rate"] == 1.0
    assert metrics["limit_violations"] == 0
    assert metrics["median_final_error_m"] < 0.01
    assert json.loads(Path("train.json").read_text())["open_loop_ee_error_m_model"] < 0.006
