"""Launch file and runner: order, names, stop, no orphans."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taustack.cli import main
from taustack.cli.up import launch_of_kind
from taustack.errors import BadInput, TaustackError, UnknownName
from taustack.launching import runner as runner_module
from taustack.launching.launch_file import LaunchSpec, NodeSpec, read_launch
from taustack.launching.runner import Runner

POLITE = """
import signal, sys, time
def leave(*_):
    print("leaving", flush=True)
    sys.exit(0)
signal.signal(signal.SIGINT, leave)
signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., LaunchSpec]:
    """Makes a spec of small programs instead of nodes."""

    def find(package: str, name: str) -> Path:
        return tmp_path / name

    monkeypatch.setattr(runner_module, "executable", find)
    monkeypatch.setattr(runner_module, "ros_environment", lambda: dict(os.environ))

    def spec(**texts: str) -> LaunchSpec:
        for name, text in texts.items():
            path = tmp_path / name
            path.write_text(f"#!{sys.executable}\n{text}")
            path.chmod(0o755)
        return LaunchSpec(nodes=tuple(NodeSpec(package="p", executable=name, name=name) for name in texts), environment={"WHO": "taustack"})

    return spec


def eventually(check: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    end = time.monotonic() + timeout_s
    while not check():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_processes_start_in_order_speak_with_their_names_and_stop(programs: Callable[..., LaunchSpec]) -> None:
    out = io.StringIO()
    runner = Runner(programs(first=POLITE, second=POLITE), out)
    runner.start()
    assert eventually(lambda: out.getvalue().count("up") == 2)
    pids = [child.process.pid for child in runner.children]
    assert pids == sorted(pids)
    runner.stop()
    assert not any(alive(pid) for pid in pids)
    assert "[first] leaving" in out.getvalue()
    assert "[second] leaving" in out.getvalue()


def test_a_process_that_will_not_stop_is_killed(programs: Callable[..., LaunchSpec], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "GRACE_S", {signal.SIGTERM: 0.2, signal.SIGKILL: 2.0})
    out = io.StringIO()
    runner = Runner(programs(stubborn=STUBBORN), out)
    runner.start()
    assert eventually(lambda: "up" in out.getvalue())
    runner.stop()
    assert runner.children[0].process.returncode == -signal.SIGKILL


def test_if_one_cannot_start_the_others_are_stopped(programs: Callable[..., LaunchSpec]) -> None:
    spec = programs(first=POLITE)
    broken = LaunchSpec(nodes=(*spec.nodes, NodeSpec(package="p", executable="missing", name="missing")), environment={})
    runner = Runner(broken, io.StringIO())
    with pytest.raises(FileNotFoundError):
        runner.start()
    assert not alive(runner.children[0].process.pid)


UP = "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))"


def up(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"ROS_DOMAIN_ID": str(60 + os.getpid() % 40), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-c", UP, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def children_of(pid: int) -> list[int]:
    return [int(p) for task in Path(f"/proc/{pid}/task").glob("*/children") for p in task.read_text().split()]


def wait_for(process: subprocess.Popen[str], text: str) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError("".join(lines))


@pytest.mark.ros
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_orphan_is_left_however_the_runner_ends(how: signal.Signals) -> None:
    process = up("up", "sim", "log:=")
    wait_for(process, "idle -> ready")  # some of the others are still starting
    children = children_of(process.pid)
    assert len(children) == 9  # eight nodes, and the terminal's e-stop
    process.send_signal(how)
    process.wait(timeout=120)  # nine processes that may still be starting, on a machine that others share
    assert eventually(lambda: not any(alive(pid) for pid in children), 60.0)
    rest = process.stdout.read() if process.stdout is not None and how != signal.SIGKILL else ""
    if how != signal.SIGKILL:
        assert process.returncode == 0
        assert "at rest: True" in rest


@pytest.mark.ros
def test_interrupting_the_main_job_brings_the_arm_to_rest_first(tmp_path: Path) -> None:
    process = up("run", "panda", "--runs", str(tmp_path), "--goals", "30", "--no-video")
    wait_for(process, "   2  ")  # the arm is on its way to the third goal
    children = children_of(process.pid)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 1
    assert "at rest: True" in rest
    assert "interrupted" in rest
    assert not any(alive(pid) for pid in children)
    tracker = json.loads((tmp_path / "latest" / "tracker.json").read_text())
    assert tracker["at_rest"]


@pytest.mark.ros
def test_the_main_job_reaches_its_goals_and_reports(tmp_path: Path) -> None:
    process = up("run", "panda", "--runs", str(tmp_path), "--goals", "2", "--seed", "3")
    said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    folder = tmp_path / "latest"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["goals_total"] == summary["goals_reached"] == 2
    assert max(summary["final_error_m"]) <= 0.02
    assert set(summary["plan_ms"]) == {"p50", "p99", "p999", "max"}
    assert {"p50", "p99", "p999"} <= set(summary["state_age_ms"])
    assert {"p50", "p99", "p999"} <= set(summary["tracker"]["lateness_ms"])
    assert {"plan_hz", "deadline_miss_ratio", "bundle"} <= set(summary)
    assert (folder / "error.png").stat().st_size > 1000
    assert (folder / "plan_time.png").stat().st_size > 1000
    assert "no video:" in said or (folder / "video.mp4").stat().st_size > 1000
    assert not (folder / "summary.json.part").exists()


@pytest.mark.ros
def test_a_damaged_bundle_stops_the_start_with_exit_code_two(bundle_copy: Path) -> None:
    data = bytearray((bundle_copy / "plan_mppi.onnx").read_bytes())
    data[1000] ^= 1
    (bundle_copy / "plan_mppi.onnx").write_bytes(data)
    process = up("up", "sim", "log:=", f"bundle:={bundle_copy}")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 2
    assert "plan_mppi.onnx: sha256" in said


def test_the_launch_file_is_read_with_arguments() -> None:
    spec = read_launch("sim", {"robot": "r", "run_dir": "/x y"})
    names = [node.name for node in spec.nodes]
    assert names == ["plant", "tracker", "driver", "supervisor", "logger", "dynamics_server", "controller", "subgoal_planner"]
    assert [node.name for node in spec.nodes if node.respawn] == names[4:]
    assert spec.nodes[0].parameters == {"robot": "r", "task": "reach", "scenario": "nominal", "run_dir": "/x y"}
    assert spec.environment == {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("launch: 3\n", "a list of actions"),
        ("launch:\n  - include: {file: x}\n", "one of arg, set_env, node"),
        ("launch:\n  - node: {pkg: a, exec: b, colour: c}\n", "an unknown key"),
        ("launch:\n  - node: {pkg: a}\n", "node.exec: got nothing"),
        ("launch:\n  - node: {pkg: a, exec: b, param: [{name: c, value: $(var d)}]}\n", "not declared"),
        ("launch:\n  - node: {pkg: a, exec: b, respawn: often}\n", "node.respawn: got often"),
        ("launch:\n  - node: {pkg: a, exec: b, respawn_delay: -1}\n", "node.respawn_delay: got -1"),
        ("launch:\n  - set_env: {value: x}\n", "set_env.name: got nothing"),
        ("launch:\n  - arg: {name: a}\n", "a:=VALUE"),
        ("launch:\n  - wrong\n", "a mapping with one action"),
    ],
)
def test_a_bad_launch_file_is_refused_with_file_and_entry(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "bad.launch.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=part) as refusal:
        read_launch(str(path), {})
    assert str(path) in str(refusal.value)


def test_unknown_launch_files_and_arguments_come_with_the_choices() -> None:
    with pytest.raises(UnknownName, match="sim"):
        read_launch("simm", {})
    with pytest.raises(UnknownName, match="scenario"):
        read_launch("sim", {"scenery": "x"})


def test_an_unbuilt_workspace_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from taustack.launching import ros_environment

    monkeypatch.setenv("TAUSTACK_ROS_WS", str(tmp_path))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    with pytest.raises(TaustackError, match="run `make setup`"):
        ros_environment.executable("taustack_ros", "driver")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["up", "sim", "robot=panda"], "NAME:=VALUE"),
        (["sim", "pandda", "reach"], "one of go2, panda"),
        (["sim", "panda", "reech"], "one of behind, pocket, reach, wall"),
        (["sim", "panda", "reach", "--planner", "magic"], "one of direct, least_squares, straight"),
        (["sim", "panda", "reach", "--scenario", "windy"], "one of anywhere"),
        (["sim", "panda", "reach", "--episodes", "0"], "at least 1"),
        (["run", "panda", "--goals", "0"], "1 to 1000"),
        (["collect", "panda", "--minutes", "-1", "--out", "x"], "more than 0"),
        (["train", "dynamics", "panda", "--data", "nowhere", "--out", "x"], "no such file"),
        (["models", "verify", "nowhere"], "no such file"),
    ],
)
def test_wrong_use_is_exit_code_two_and_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert part in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_before_work_begins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["collect", "panda", "--minutes", "0.1", "--out", str(tmp_path / "file" / "data")]) == 2
    assert "a folder that can be written" in capsys.readouterr().err


def test_sim_stands_for_the_launch_file_of_the_robots_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch_of_kind("sim", "go2") == "sim_legs"
    assert launch_of_kind("sim", "panda") == "sim"
    assert launch_of_kind("sim", "") == "sim"
    assert launch_of_kind("mine.launch.yaml", "go2") == "mine.launch.yaml"
    assert main(["up", "sim", "--robot", "go2", "kind:=tdm"]) == 2
    assert "argument of sim_legs.launch.yaml: got 'kind', expected one of awake, bundle" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["up", "sim", "--robot", "go2", "--nonsense"])
    with pytest.raises(SystemExit):
        main(["sim", "panda", "reach", "--nonsense"])
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err
