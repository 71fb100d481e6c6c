"""The registry stays whole whatever dies when, and only what passed the gate becomes live."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import stat
import time
from pathlib import Path

import pytest
import yaml

from taustack.cli import main
from taustack.errors import BadInput, UnknownName
from taustack.manifest import MANIFEST, sha256_of
from taustack.models.registry import JOURNAL, LIVE, REPORT, SHIPPED, GateRefusal, Registry


def small_bundle(folder: Path, mark: str) -> Path:
    """A manifest and one file: all that the registry looks at."""
    folder.mkdir(parents=True)
    shipped = yaml.safe_load((Path(__file__).resolve().parents[2] / "robots/panda/bundle" / MANIFEST).read_text())
    (folder / "dynamics.onnx").write_text(mark)
    shipped["files"] = {"dynamics.onnx": sha256_of(folder / "dynamics.onnx")}
    (folder / MANIFEST).write_text(yaml.safe_dump(shipped))
    return folder


def add(registry: Registry, tmp_path: Path, mark: str, *, passed: bool = True) -> str:
    bundle = small_bundle(tmp_path / f"bundle-{mark}", mark)
    report = tmp_path / f"report-{mark}.json"
    report.write_text(json.dumps({"passed": passed, "candidate_sha256": sha256_of(bundle / MANIFEST)}))
    path = tmp_path / f"files-{mark}" / REPORT
    path.parent.mkdir()
    shutil.move(report, path)
    return registry.add(bundle, {REPORT: path})


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry", "panda")


def test_promotions_and_rollbacks_are_journalled_and_the_pointer_follows(registry: Registry, tmp_path: Path) -> None:
    assert registry.live().version == SHIPPED
    first, second = add(registry, tmp_path, "a"), add(registry, tmp_path, "b")
    assert (first, second) == ("1", "2")
    registry.promote(first)
    registry.promote(second)
    assert registry.live().version == second
    assert registry.rollback("drifted").version == first
    assert registry.rollback().version == SHIPPED
    with pytest.raises(BadInput, match="no promotion"):
        registry.rollback()
    assert [(e.action, e.before, e.version, e.reason) for e in registry.journal()] == [
        ("promote", SHIPPED, "1", ""), ("promote", "1", "2", ""), ("rollback", "2", "1", "drifted"), ("rollback", "1", SHIPPED, ""),
    ]  # fmt: skip


def test_what_the_gate_refused_is_promoted_by_force_only_and_the_reason_stays(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, tmp_path, "bad", passed=False)
    with pytest.raises(GateRefusal, match="did not pass the gate"):
        registry.promote(version)
    assert registry.live().version == SHIPPED
    entry = registry.promote(version, force="a demo in an hour")
    assert entry.forced
    assert registry.live().forced == "a demo in an hour"
    assert registry.journal()[-1].reason == "a demo in an hour"


def test_a_report_of_another_bundle_is_no_pass(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, tmp_path, "a")
    path = registry.path(version) / REPORT
    path.write_text(json.dumps({"passed": True, "candidate_sha256": "0" * 64}))
    with pytest.raises(GateRefusal):
        registry.promote(version)


def test_an_altered_file_is_not_promoted_even_by_force(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, tmp_path, "a")
    (registry.path(version) / "dynamics.onnx").write_text("x")
    with pytest.raises(BadInput, match=r"dynamics.onnx: sha256"):
        registry.promote(version, force="why not")
    assert registry.journal() == []


def test_a_journal_that_somebody_rewrote_is_refused(registry: Registry, tmp_path: Path) -> None:
    for mark in "ab":
        registry.promote(add(registry, tmp_path, mark))
    path = registry.folder / JOURNAL
    path.write_bytes(path.read_bytes().replace(b'"version": "1"', b'"version": "9"', 1))
    with pytest.raises(BadInput, match="a journal that nobody rewrote"):
        registry.journal()


def test_a_crash_between_journal_and_pointer_is_finished(registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry.promote(add(registry, tmp_path, "a"))
    pointer = (registry.folder / LIVE).read_bytes()
    registry.promote(add(registry, tmp_path, "b"))
    (registry.folder / LIVE).write_bytes(pointer)
    assert main(["models", "list", "panda", "--registry", str(registry.root)]) == 0
    assert "now 2, as the journal's last line says" in capsys.readouterr().out
    assert registry.live().version == "2"
    assert registry.mend() is None


def test_a_line_that_a_crash_cut_is_none_and_the_next_one_replaces_it(registry: Registry, tmp_path: Path) -> None:
    registry.promote(add(registry, tmp_path, "a"))
    with (registry.folder / JOURNAL).open("ab") as stream:
        stream.write(b'{"at": "2026')
    assert len(registry.journal()) == 1
    registry.promote(add(registry, tmp_path, "b"))
    assert [entry.version for entry in registry.journal()] == ["1", "2"]


def test_prune_keeps_what_is_live_what_was_live_and_the_newest(registry: Registry, tmp_path: Path) -> None:
    versions = [add(registry, tmp_path, mark) for mark in "abcdef"]
    registry.promote(versions[1])
    registry.promote(versions[2])
    assert registry.prune(1) == ["1", "4", "5"]
    assert registry.versions() == ["2", "3", "6"]
    assert add(registry, tmp_path, "g") == "7"


def test_versions_of_other_robots_and_unknown_ones_are_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="'3'"):
        registry.promote("3")
    with pytest.raises(BadInput, match=r"contract.robot: got panda"):
        Registry(tmp_path / "registry", "other").add(small_bundle(tmp_path / "b", "x"), {})


def promote_many(root: Path, versions: list[str], times: int) -> None:
    registry = Registry(root, "panda")
    for i in range(times):
        registry.promote(versions[i % len(versions)])


def test_a_hundred_promotions_at_once_leave_journal_and_pointer_consistent(registry: Registry, tmp_path: Path) -> None:
    versions = [add(registry, tmp_path, mark) for mark in "abc"]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=promote_many, args=(registry.root, versions, 25)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    entries = registry.journal()
    assert len(entries) == 100
    assert all(after.before == before.version for before, after in itertools.pairwise(entries))
    assert registry.live().version == entries[-1].version
    assert registry.mend() is None


def test_promotion_killed_at_random_points_never_leaves_a_half_state(registry: Registry, tmp_path: Path) -> None:
    versions = [add(registry, tmp_path, mark) for mark in "ab"]
    registry.promote(versions[0])
    context = multiprocessing.get_context("fork")
    for i in range(20):
        worker = context.Process(target=promote_many, args=(registry.root, versions, 1000))
        worker.start()
        time.sleep(0.01 + 0.003 * i)
        os.kill(worker.pid or 0, signal.SIGKILL)
        worker.join()
        Registry(registry.root, "panda").mend()
        assert registry.live().version == registry.journal()[-1].version
    registry.promote(versions[0])
    assert registry.live().version == versions[0]


def test_an_add_that_was_killed_leaves_no_version(registry: Registry, tmp_path: Path) -> None:
    add(registry, tmp_path, "a")
    half = registry.folder / ".adding-x" / "2"
    half.mkdir(parents=True)
    (half / MANIFEST).write_text("")
    assert registry.versions() == ["1"]
    assert add(registry, tmp_path, "b") == "2"


def test_the_command_line_promotes_lists_and_rolls_back(registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = add(registry, tmp_path, "a"), add(registry, tmp_path, "b", passed=False)
    where = ["--registry", str(registry.root)]
    assert main(["models", "promote", "panda", good, *where]) == 0
    assert main(["models", "promote", "panda", bad, *where]) == 3
    assert "did not pass the gate" in capsys.readouterr().err
    assert main(["models", "promote", "panda", bad, "--force", "test", *where]) == 0
    assert main(["models", "list", "panda", "--journal", *where]) == 0
    said = capsys.readouterr().out
    assert "refused" in said
    assert "promote by force, 1 -> 2 (test)" in said
    assert main(["models", "rollback", "panda", *where]) == 0
    assert registry.live().version == good
    assert main(["models", "prune", "panda", "--keep", "0", *where]) == 0
    assert registry.versions() == ["1"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_registry_that_cannot_be_written_is_named(registry: Registry, tmp_path: Path) -> None:
    version = add(registry, tmp_path, "a")
    registry.folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        with pytest.raises(BadInput, match="a registry that can be written"):
            registry.promote(version)
    finally:
        registry.folder.chmod(stat.S_IRWXU)


def test_a_registry_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "registry").write_text("")
    registry = Registry(tmp_path / "registry", "panda")
    assert registry.versions() == []
    with pytest.raises(BadInput, match="a registry that can be written"):
        registry.add(small_bundle(tmp_path / "b", "x"), {})
