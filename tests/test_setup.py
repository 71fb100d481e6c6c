"""tools/setup.sh: what is missing is said in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ("sh", "dirname", "cat", "sed", "head", "cksum", "grep", "tail", "pwd")


@pytest.fixture
def checkout(tmp_path: Path, project: Path) -> Path:
    """What setup reads, without an environment."""
    copy = tmp_path / "checkout"
    (copy / "tools").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "tools/setup.sh", "tools/lerobot.txt"):
        shutil.copy(project / name, copy / name)
    return copy


def setup(checkout: Path, tools: dict[str, str], python: str = "python3") -> subprocess.CompletedProcess[str]:
    """Run it with a PATH that holds only these scripts and the shell's own tools."""
    folder = checkout / "bin"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    for name, text in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    environment = {"PATH": str(folder), "PYTHON": python, "VENV": ".venv", "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(["/bin/sh", "tools/setup.sh"], cwd=checkout, env=environment, capture_output=True, text=True)


GOOD = {"python3": "exit 0", "g++": "exit 0", "cmake": "echo cmake version 3.25.1"}


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"python3": None}, "no 'python3' found: install Python 3.11 or 3.12"),
        ({"python3": 'case "$2" in *version_info*) exit 1;; esac; echo Python 3.8.1'}, "is Python 3.8.1: taustack needs Python 3.11 or 3.12"),
        ({"python3": 'case "$2" in *ensurepip*) exit 1;; esac; exit 0'}, "has no venv: install it"),
        ({"g++": None}, "no g++ found"),
        ({"cmake": None}, "no cmake found"),
        ({"cmake": "echo cmake version 3.10.2"}, "cmake is 3.10: taustack needs 3.16 or newer"),
    ],
)
def test_a_missing_or_wrong_tool_is_one_clear_line(checkout: Path, change: dict[str, str | None], part: str) -> None:
    tools = {name: text for name, text in (GOOD | change).items() if text is not None}
    done = setup(checkout, tools)
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_failed_download_is_one_clear_line_and_the_next_run_tries_again(checkout: Path) -> None:
    venv = checkout / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text("#!/bin/sh\necho 'ERROR: Could not find a version that satisfies the requirement numpy'\nexit 1\n")
    (venv / "python").chmod(0o755)
    done = setup(checkout, GOOD)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "ERROR: Could not find a version that satisfies the requirement numpy" in done.stderr
    assert "check the network" in done.stderr
    assert not (checkout / ".venv" / ".taustack-setup").exists()
