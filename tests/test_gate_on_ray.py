"""The gate measures the same on processes of this machine and on Ray: the same seeds give the same report, but for times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from taustack.cli import main
from taustack.config import RobotConfig
from taustack.models.dataset import write_dataset
from taustack.sim.collect import collect_run
from taustack.sim.scenario import Scenario

pytestmark = pytest.mark.no_cover
TIMES = ("plan_ms", "realtime_factor", "wall_s", "median_plan_ms")


def without_times(value: Any) -> Any:
    """A report without what a clock measured."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [without_times(part) for part in value if not (isinstance(part, dict) and part.get("what") == "plan time [ms]")]
    return value


@pytest.mark.slow
def test_pool_and_ray_give_the_same_report(robot: RobotConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [collect_run(robot, Scenario(), 4.0, seed) for seed in range(30, 33)]
    write_dataset(tmp_path / "held", runs, robot=robot.name, joint_names=robot.joint_names, dt=0.02, scenario="s", seed=0)
    reports = {}
    for name, where in (("pool", ["--workers", "2"]), ("ray", ["--ray", "local", "--workers", "2"])):
        gate = [
            "models",
            "gate",
            "panda",
            str(robot.folder / "bundle_lag"),
            "--data",
            str(tmp_path / "held"),
            "--scenario",
            "lag",
            "--episodes",
            "2",
        ]
        out = tmp_path / f"{name}.json"
        assert main([*gate, *where, "--work", str(tmp_path / name), "--registry", str(tmp_path / name), "--json", str(out)]) == 3
        reports[name] = without_times(json.loads(out.read_text()))
    assert reports["pool"] == reports["ray"]
    assert reports["pool"]["candidate"]["suite"]["lag"]["success_rate"] > 0.0
