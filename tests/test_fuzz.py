"""Ten thousand spoilt files and ten thousand spoilt messages: no crash, and every refusal names the key or the field."""

from __future__ import annotations

import copy
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from taustack.config import RobotConfig, TaskConfig
from taustack.errors import BadInput
from taustack.launching.launch_file import read_launch
from taustack.launching.ros_environment import ros_environment
from taustack.manifest import Manifest
from taustack.sim.faults import FaultList
from taustack.sim.scenario import Scenario
from taustack.strict_yaml import StrictModel, load

CASES = 10_000
JUNK = [
    None, True, -1, 0, 10**30, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd", "\u0000", [], {}, [[]], {"a": 1}, ["x"] * 50, [1, 2], -0.0,
    "!!python/object:os.system", {"__class__": "x"}, b"bytes", "007", "1e3", [float("nan")] * 7, [None] * 3,
]  # fmt: skip


def paths(data: Any, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in nested mappings and lists."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*prefix, key)
        yield from paths(value, (*prefix, key))


def spoil(data: Any, rng: random.Random) -> tuple[Any, list[str]]:
    """A copy with one to three places changed; and the keys on the way to them, one of which a refusal must name."""
    data, names = copy.deepcopy(data), []
    for _ in range(rng.randint(1, 3)):
        places = list(paths(data))
        if not places:
            break
        place = rng.choice(places)
        parent = data
        for key in place[:-1]:
            parent = parent[key]
        how = rng.choice(("junk", "junk", "delete", "rename", "double"))
        if how == "junk":
            parent[place[-1]] = copy.deepcopy(rng.choice(JUNK))
        elif how == "delete":
            del parent[place[-1]]
        elif how == "rename" and isinstance(parent, dict):
            name = rng.choice(["nonsense", "Name", str(place[-1]) + "s"])
            parent[name] = parent.pop(place[-1])
            names.append(name)
        else:
            parent[place[-1]] = [copy.deepcopy(parent[place[-1]])] * 2
        names += [str(key) for key in place]
    return data, names


def sources(project: Path) -> list[tuple[type[StrictModel], Any, float]]:
    """What is spoilt, with its share of the cases."""
    panda = project / "robots" / "panda"
    robot = yaml.safe_load((panda / "robot.yaml").read_text())
    robot["joints"] = robot["joints"][:2]  # seven joints alike would only make the file longer
    return [
        (RobotConfig, robot, 0.2), (TaskConfig, yaml.safe_load((panda / "tasks/reach.yaml").read_text()), 0.25),
        (Scenario, yaml.safe_load((project / "sim/scenarios/faults_demo.yaml").read_text()) | {"initial_q": [0.0] * 7, "payload_kg": 1.0}, 0.25),
        (FaultList, {"faults": [{"kind": "pushed", "at_s": 1.0, "for_s": 0.2, "strength": 30.0, "joint": 2}] * 2}, 0.2),
        (Manifest, yaml.safe_load((panda / "bundle/manifest.yaml").read_text()), 0.1),
    ]  # fmt: skip


@pytest.mark.parametrize("cases", [CASES // 5, pytest.param(CASES, marks=pytest.mark.soak)])
@pytest.mark.parametrize("index", range(5))
def test_a_spoilt_file_is_refused_by_key_or_is_right(project: Path, tmp_path: Path, index: int, cases: int) -> None:
    model, data, share = sources(project)[index]
    rng, path, refused = random.Random(index), tmp_path / "spoilt.yaml", 0
    for _ in range(int(share * cases)):
        bad, names = spoil(data, rng)
        path.write_text(yaml.dump(bad, Dumper=getattr(yaml, "CDumper", yaml.Dumper)))
        try:
            load(model, path)
        except BadInput as error:
            refused += 1
            said = str(error)
            assert said.startswith(str(path))
            named = any(part in said for name in names for part in (name, name.replace("_", " ")))
            assert named or "mapping" in said or "YAML" in said, (said, names)
    assert refused > 0.5 * share * cases


def test_random_bytes_are_no_file(tmp_path: Path) -> None:
    rng, path = random.Random(9), tmp_path / "noise.yaml"
    said: list[str] = []
    for _ in range(500):
        path.write_bytes(bytes(rng.choices(b"{}[]:-#&*!|>'\"%@`\n\t abc01\x00\xff", k=rng.randint(0, 60))))
        try:
            load(Scenario, path)
        except BadInput as error:
            said.append(str(error))
    assert all(str(path) in text for text in said)


def test_a_spoilt_launch_file_is_refused_by_entry_or_is_right(project: Path, tmp_path: Path) -> None:
    data, rng, path = yaml.safe_load((project / "launch/sim.launch.yaml").read_text()), random.Random(3), tmp_path / "spoilt.launch.yaml"
    refused: list[str] = []
    for _ in range(400):
        bad, _ = spoil(data, rng)
        path.write_text(yaml.dump(bad))
        try:
            read_launch(str(path), {})
        except BadInput as error:
            refused.append(str(error))
    assert all("launch" in said or "$(var" in said for said in refused)
    assert len(refused) > 100


@pytest.mark.ros
def test_ten_thousand_spoilt_messages_are_refused_by_field_or_are_right() -> None:
    script = Path(__file__).parent / "ros" / "fuzz_messages.py"
    done = subprocess.run([sys.executable, str(script), str(CASES)], env=ros_environment(), capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["cases"] == CASES
    assert answer["refused"] > 0.3 * CASES
    assert answer["unnamed"] == []
