"""`taustack doctor` and the fault commands, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from taustack import machine
from taustack.realtime import Durations

COMMAND = "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))"


def taustack(*arguments: str, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s)


def test_the_doctor_gives_a_verdict_a_line_and_a_picture(tmp_path: Path) -> None:
    done = taustack("doctor", "--seconds", "2", "--picture", str(tmp_path / "jitter.png"), "--json", str(tmp_path / "doctor.json"))
    verdicts = json.loads((tmp_path / "doctor.json").read_text())
    about = [verdict["about"] for verdict in verdicts]
    for needed in ("kernel", "priorities", "locked memory", "cores", "sleep", "clocks and timers", "shared memory", "DDS and discovery", "stolen time"):
        assert needed in about
    assert sum(name.startswith("loop at") for name in about) == 4
    assert {"inference providers", "plan time"} <= set(about)
    assert all(verdict["grade"] in ("good", "limited", "bad") for verdict in verdicts)
    assert all(verdict["advice"] for verdict in verdicts if verdict["grade"] != "good")
    assert all(name in done.stdout for name in about)
    assert (tmp_path / "jitter.png").stat().st_size > 1000
    assert done.returncode == int(any(verdict["grade"] == "bad" for verdict in verdicts))


def test_a_loop_that_is_late_is_not_called_good() -> None:
    late, fine = Durations(), Durations()
    for i in range(1000):
        fine.add(1e-4)
        late.add(1e-3 if i % 50 == 0 else 1e-4)
    assert machine.jitter_verdict(500, fine, real_time=True).grade == "good"
    assert machine.jitter_verdict(500, late, real_time=True).grade == "limited"
    fine.skipped = 10
    assert machine.jitter_verdict(500, fine, real_time=True).grade == "limited"


@pytest.mark.parametrize(("share", "grade"), [(0.0, "good"), (0.005, "good"), (0.02, "bad")])
def test_stolen_time_is_judged(share: float, grade: str) -> None:
    assert machine.steal(share).grade == grade


def test_wide_discovery_is_pointed_out() -> None:
    assert machine.dds({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}).grade == "limited"
    assert machine.dds({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}).grade == "good"


def test_a_small_campaign_breaks_no_limit_and_is_repeatable(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json")]
    for file in files:
        done = taustack("bench", "faults", "--campaign", "5", "--seed", "5", "--json", str(file))
        assert done.returncode == 0, done.stdout
    first, again = (json.loads(file.read_text()) for file in files)
    assert first == again
    assert first["runs"] == 5
    assert first["limit_violations"] == 0
    assert first["unsafe_end_states"] == 0


def test_faults_of_a_file_are_told_with_their_reasons(tmp_path: Path) -> None:
    faults, out = tmp_path / "faults.yaml", tmp_path / "out.json"
    faults.write_text("faults:\n  - {kind: nan_sensor, at_s: 0.4, for_s: 0.2, joint: 3}\n  - {kind: estop_of_robot, at_s: 1.2}\n")
    done = taustack("sim", "panda", "reach", "--faults", str(faults), "--episodes", "1", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holding (measurement not finite)" in done.stdout
    run = json.loads(out.read_text())["runs"][0]
    last = run["states"][-1]
    assert (last["state"], last["reason"]) == ("holding", "e-stop: pressed by the robot")
    assert last["t"] == pytest.approx(1.2, abs=0.003)


def test_faults_of_legs_are_told_and_campaigned_with(tmp_path: Path) -> None:
    faults, out = tmp_path / "faults.yaml", tmp_path / "out.json"
    faults.write_text("faults:\n  - {kind: imu_nan, at_s: 1.0, for_s: 0.2, joint: 2}\n  - {kind: kicked, at_s: 2.5, strength: 0.5}\n")
    done = taustack("sim", "go2", "velocity", "--planner", "feedback", "--faults", str(faults), "--episodes", "1", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "holding (measurement impossible: gyro of axis z is nan)" in done.stdout
    run = json.loads(out.read_text())["runs"][0]
    assert (run["states"][-1]["state"], run["fell_at_s"]) == ("running", None)
    done = taustack("bench", "faults", "go2", "--campaign", "2", "--seed", "11", "--json", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(out.read_text())["runs"] == 2
    refused = taustack("bench", "faults", "go2", "--task", "reach")
    assert refused.returncode == 2
    assert "task of robot go2: got 'reach'" in refused.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("faults:\n  - {kind: nonsense, at_s: 0.4}\n", "faults.0.kind: got nonsense"),
        ("faults:\n  - {kind: nan_sensor, at_s: -1}\n", "faults.0.at_s: got -1"),
        ("faults:\n  - {kind: nan_sensor, at_s: 1, joint: 7}\n", "faults.0.joint: got 7, expected 0 to 6"),
        ("faults:\n  - {kind: nan_sensor, at_s: .inf}\n", "faults.0.at_s"),
        ("faults:\n  - {kind: kicked, at_s: 1}\n", "faults.0.kind: got kicked, expected a kind that is not of robots on legs alone"),
    ],
)
def test_a_bad_file_of_faults_is_refused_by_key(tmp_path: Path, text: str, said: str) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text(text)
    done = taustack("sim", "panda", "reach", "--faults", str(faults))
    assert done.returncode == 2
    assert said in done.stderr


def test_bad_arguments_are_refused() -> None:
    for arguments, said in ((("doctor", "--seconds", "0"), "--seconds: got 0"), (("bench", "faults", "--campaign", "0"), "--campaign: got 0")):
        done = taustack(*arguments)
        assert done.returncode == 2
        assert said in done.stderr
