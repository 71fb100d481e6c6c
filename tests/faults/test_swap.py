"""A promoted bundle takes over while the arm moves; one that fails leaves the old one running and says why."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from taustack.bags.reader import decoded, open_bag
from taustack.config import RobotConfig
from taustack.controllers.rehearsal import TIMEOUT_S
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.registry import LIVE, REPORT, Live, Registry

from .stack import WAIT_S, Stack

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def registry(robot: RobotConfig, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Versions that passed: 1 and 2 are the shipped bundle under other names, 3 was altered since, 4 has no policy."""
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(folder / "registry", robot.name)
    for name in ("first", "second", "altered", "lag"):
        copy = Path(shutil.copytree(robot.folder / ("bundle_lag" if name == "lag" else "bundle"), folder / name))
        manifest = yaml.safe_load((copy / MANIFEST).read_text()) | {"name": name}
        (copy / MANIFEST).write_text(yaml.safe_dump(manifest))
        report = folder / f"{name}-report" / REPORT
        report.parent.mkdir()
        report.write_text(json.dumps({"passed": True, "candidate_sha256": sha256_of(copy / MANIFEST)}))
        registry.add(copy, {REPORT: report})
    path = registry.path("3") / "plan_mppi.onnx"
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    return registry


@pytest.fixture(scope="module")
def shared(robot: RobotConfig, registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One graph for what leaves it as it was, and last for the swaps."""
    stack = Stack(robot, tmp_path_factory.mktemp("run"), registry=str(registry.root))
    yield stack
    stack.runner.stop()


@pytest.fixture
def stack(shared: Stack) -> Stack:
    """The same, its arm in motion."""
    shared.again()
    shared.wander()
    return shared


def planned_by(folder: Path) -> list[str]:
    """Hashes of the bundles behind the logged plans, in their order; on a busy machine the fallback plans meanwhile, which has none."""
    seen: list[str] = []
    for message in open_bag(next((folder / "log").iterdir())).messages({"plan"}):
        plan = decoded(message)
        if plan is not None and plan.bundle_sha256 and (not seen or seen[-1] != plan.bundle_sha256):
            seen.append(plan.bundle_sha256)
    return seen


def test_a_pointer_that_cannot_be_read_changes_nothing(stack: Stack, registry: Registry) -> None:
    (registry.folder / LIVE).write_text("version: [")
    assert stack.until(lambda: "the registry cannot be read, shipped stays live" in stack.log.getvalue())
    registry._point(Live(version="9", at="now"))
    assert stack.until(lambda: stack.log.getvalue().count("the registry cannot be read") > 1)
    assert stack.status()["state"] in ("running", "holding")
    (registry.folder / LIVE).unlink()


def test_a_bundle_that_fails_leaves_the_old_one_running_and_says_why(stack: Stack, registry: Registry) -> None:
    live = Live(version="3", sha256=sha256_of(registry.path("3") / MANIFEST), at="now")  # as if it was altered after its promotion
    (registry.folder / LIVE).write_text(yaml.safe_dump(live.model_dump()))
    assert stack.until(lambda: "version 3 is refused, shipped stays live" in stack.log.getvalue(), TIMEOUT_S + WAIT_S), stack.log.getvalue()
    assert "plan_mppi.onnx: sha256" in stack.log.getvalue()
    stack.wander()  # by the old one; beside an arm in motion the rehearsal may have taken longer than the motion
    assert stack.until(lambda: stack.status().get("state") == "running")
    said = stack.ask("diagnostics")["dynamics_server: model"]
    assert said["version"] == "shipped"
    assert said["refused"] == "3"
    (registry.folder / LIVE).unlink()


def test_promotions_and_rollback_swap_the_bundle_in_motion(stack: Stack, registry: Registry, robot: RobotConfig) -> None:
    """Comes last of those that share the graph: it ends it."""
    for act, name in ((lambda: registry.promote("1"), "first/1"), (lambda: registry.promote("2"), "second/2"), (registry.rollback, "first/1")):
        before = stack.log.getvalue().count("planning with")
        act()
        assert stack.until(lambda before=before: stack.log.getvalue().count("planning with") > before, TIMEOUT_S + WAIT_S), stack.log.getvalue()  # type: ignore[misc]
        assert stack.log.getvalue().rsplit("planning with ", 1)[1].startswith(name)
        stack.until(lambda: False, 1.0)
    assert "controller" not in stack.runner.restarted, stack.log.getvalue()
    stack.stop()
    hashes = [sha256_of(robot.folder / "bundle" / MANIFEST), *(sha256_of(registry.path(v) / MANIFEST) for v in ("1", "2"))]
    assert json.loads((stack.folder / "controller.json").read_text())["swaps"] == 3
    # On a slow machine the fallback may plan throughout one of them; what MPPI planned comes from one after the other.
    following = iter([hashes[0], hashes[1], hashes[2], hashes[1]])
    assert all(sha256 in following for sha256 in planned_by(stack.folder))


def test_a_bundle_without_a_policy_is_not_taken_where_one_acts(robot: RobotConfig, registry: Registry, tmp_path: Path) -> None:
    """The policy of the shipped bundle goes on; the controller does not end between two plans."""
    (registry.folder / LIVE).unlink(missing_ok=True)  # what the tests before promoted
    stack = Stack(robot, tmp_path / "run", registry=str(registry.root), planner="tdm_policy", kind="tdm")
    try:
        stack.wander(600.0)
        registry.promote("4")
        assert stack.until(lambda: "version 4 is not taken, the old bundle goes on" in stack.log.getvalue(), TIMEOUT_S + WAIT_S), stack.log.getvalue()
        assert "tdm" in stack.log.getvalue().rsplit("the old bundle goes on:", 1)[1].splitlines()[0]
        stack.until(lambda: False, 2.0)
        assert "controller" not in stack.runner.restarted, stack.log.getvalue()
        assert stack.until(lambda: stack.status().get("state") == "running"), stack.log.getvalue()
        stack.stop()
    finally:
        stack.runner.stop()
    controller = json.loads((tmp_path / "run" / "controller.json").read_text())
    assert controller["bundle"]["sha256"] == sha256_of(robot.folder / "bundle" / MANIFEST)
    assert controller["bundle"]["name"].endswith("/shipped")
    assert controller["swaps"] == 0
    assert controller["plans_by"]["tdm_policy"] > 50
