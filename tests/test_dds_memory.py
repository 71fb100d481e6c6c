"""Shared memory of killed ROS processes is swept, that of live ones is not."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from taustack.launching import dds_memory
from taustack.launching.dds_memory import MEMORY, sweep_dead_memory
from taustack.launching.ros_environment import ros_environment

NODE = """
import rclpy, time
rclpy.init()
node = rclpy.create_node("passer_by")
print("READY", flush=True)
time.sleep(60)
"""


def files(folder: Path, *names: str, age_s: float = 60.0) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")
        then = (folder / name).stat().st_mtime - age_s
        os.utime(folder / name, (then, then))


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    files(tmp_path, "fastdds_00112233445566aa", "fastdds_00112233445566aa_el")
    files(tmp_path, "fastdds_port7411", "fastdds_port7411_el", "sem.fastdds_port7411_mutex", "fastdds_port7400", "fastdds_port7400_sl")
    stays = ["fastdds_ffffffffffffffff", "fastdds_ffffffffffffffff_el", "fastdds_port7413", "fastdds_port7413_el", "fastdds_else_el", "other_el"]
    files(tmp_path, *stays)
    files(tmp_path, "fastdds_eeeeeeeeeeeeeeee", "fastdds_eeeeeeeeeeeeeeee_el", age_s=0.0)  # just being made
    with (tmp_path / "fastdds_ffffffffffffffff_el").open("rb") as owner, (tmp_path / "fastdds_port7413_el").open("rb") as listener:
        fcntl.flock(owner, fcntl.LOCK_EX)
        fcntl.flock(listener, fcntl.LOCK_SH)
        assert sweep_dead_memory(tmp_path) == ["fastdds_00112233445566aa", "fastdds_port7400", "fastdds_port7411"]
    assert {path.name for path in tmp_path.iterdir()} == {*stays, "fastdds_eeeeeeeeeeeeeeee", "fastdds_eeeeeeeeeeeeeeee_el"}
    assert sweep_dead_memory(tmp_path / "none") == []


@pytest.mark.ros
def test_a_killed_node_leaves_nothing_and_a_live_one_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dds_memory, "YOUNG_S", 0.0)
    environment = ros_environment() | {"ROS_DOMAIN_ID": str(56 + os.getpid() % 40), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    process = subprocess.Popen([sys.executable, "-c", NODE], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        held = {Path(os.readlink(fd)).name for fd in Path(f"/proc/{process.pid}/fd").iterdir() if os.readlink(fd).startswith(f"{MEMORY}/fastdds")}
        names = {name.removesuffix("_el") for name in held if name.endswith("_el")}
        assert names
        assert not names & set(sweep_dead_memory())
    finally:
        process.kill()
        process.communicate()
    assert all((MEMORY / name).exists() for name in names)
    assert names <= set(sweep_dead_memory())
    assert not any((MEMORY / name).exists() for name in names)
