"""Cores that do not fall asleep while a tracker runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from taustack import cores
from taustack.errors import BadInput


def test_the_wish_is_a_zero_that_stays_open_until_the_process_ends(tmp_path: Path) -> None:
    wish = tmp_path / "wish"
    wish.touch()
    script = (
        "import os, sys, pathlib; from taustack import cores\n"
        "cores.SLEEP = pathlib.Path(sys.argv[1])\n"
        "assert cores.keep_awake() is None\n"
        "print([os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{fd}')])"
    )
    out = subprocess.run([sys.executable, "-c", script, str(wish)], capture_output=True, text=True, check=True).stdout
    assert str(wish) in out
    assert wish.read_bytes() == bytes(4)


def test_what_could_not_be_had_is_said_with_what_it_costs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "SLEEP", tmp_path / "none")
    assert (cores.keep_awake() or "").startswith(f"cores may sleep ({tmp_path / 'none'}: No such file or directory): ticks take")


@pytest.mark.parametrize(("flags", "auto"), [("fpu hypervisor sse", False), ("fpu nohypervisor sse", True)])
def test_cores_of_a_virtual_machine_sleep_unless_they_are_asked_not_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: str, auto: bool) -> None:
    monkeypatch.setattr(cores, "CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"model name\t: hypervisor\nflags\t\t: {flags}\n")
    assert [cores.stays_awake(when) for when in ("auto", "always", "never")] == [auto, True, False]
    with pytest.raises(BadInput, match="always, never"):
        cores.stays_awake("yes")


def test_a_core_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    assert cores.pin_to_core(None) is None
    assert "not pinned to core 4095" in (cores.pin_to_core(4095) or "")
    assert os.sched_getaffinity(0) == before
