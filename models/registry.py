"""The registry: a folder of bundles, one live pointer a robot, and a journal that is only ever appended to.

    <registry>/<robot>/<version>/    bundle, report.json, report.html
    <registry>/<robot>/journal.jsonl one line a promotion or rollback; each carries the hash of the line before
    <registry>/<robot>/live.yaml     what the journal's last line made live, for readers; renewed if a crash came between

The journal is the truth. Writers hold a lock; every file appears whole (rename, fsync) or not at all.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from taustack.any_manifest import load_manifest
from taustack.errors import BadInput, TaustackError, UnknownName, while_writing
from taustack.manifest import MANIFEST, Sha256, sha256_of
from taustack.strict_yaml import StrictModel, load, validate

REPORT, JOURNAL, LIVE = "report.json", "journal.jsonl", "live.yaml"
SHIPPED = "shipped"
"""The bundle in the robot's own folder: live before the first promotion, and after a rollback of it."""


class Entry(StrictModel):
    """A line of the journal."""

    at: str
    who: str
    action: str
    version: str
    sha256: Sha256 | None = None
    before: str
    reason: str = ""
    forced: bool = False
    previous_line: Sha256 | None = None


class Live(StrictModel):
    """live.yaml."""

    version: str
    sha256: Sha256 | None = None
    forced: str = ""
    at: str = ""


class GateRefusal(TaustackError):
    """A bundle that did not pass the gate shall be promoted."""

    exit_code = 3


def registry_root(given: Path | None = None) -> Path:
    """The registry's folder: as given, TAUSTACK_REGISTRY, or ./registry."""
    return given or Path(os.environ.get("TAUSTACK_REGISTRY", "registry"))


class Registry:
    """One robot's part of the registry at `root`."""

    def __init__(self, root: Path, robot: str) -> None:
        self.root, self.robot = root, robot
        self.folder = root / robot

    def versions(self) -> list[str]:
        """Versions in the order they were added."""
        if not self.folder.is_dir():
            return []
        return sorted((p.name for p in self.folder.iterdir() if p.name.isdigit() and (p / MANIFEST).is_file()), key=int)

    def path(self, version: str) -> Path:
        """Folder of a version.

        Raises:
            UnknownName: there is no such version.
        """
        if version not in self.versions():
            raise UnknownName(f"version of {self.robot} in {self.root}", version, self.versions())
        return self.folder / version

    def live(self) -> Live:
        """What is live, by the pointer; the shipped bundle if there is none."""
        path = self.folder / LIVE
        return load(Live, path) if path.is_file() else Live(version=SHIPPED)

    def report(self, version: str) -> dict[str, Any] | None:
        """The gate's report, or None."""
        path = self.path(version) / REPORT
        if not path.is_file():
            return None
        try:
            return dict(json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise BadInput(path, "", str(error), "the gate's report as JSON") from None

    def passed(self, version: str) -> bool:
        """True if the gate's report says so of this very bundle."""
        report = self.report(version)
        return report is not None and report.get("passed") is True and report.get("candidate_sha256") == sha256_of(self.path(version) / MANIFEST)

    def journal(self) -> list[Entry]:
        """All lines; a last line that was cut by a crash is not one.

        Raises:
            BadInput: a line was altered, or one is missing.
        """
        path, entries, before = self.folder / JOURNAL, [], None
        for number, line in enumerate(_whole_lines(path), 1):
            try:
                entry = validate(Entry, json.loads(line), f"{path}:{number}")
            except ValueError:
                raise BadInput(path, f"line {number}", line[:80].decode("utf-8", "replace"), "a journal entry as JSON") from None
            if entry.previous_line != before:
                raise BadInput(path, f"line {number}", "a hash that does not fit the line before", "a journal that nobody rewrote")
            entries.append(entry)
            before = hashlib.sha256(line).hexdigest()
        return entries

    def add(self, bundle: Path, files: dict[str, Path]) -> str:
        """Copy a bundle and its reports in; returns the new version. Nothing is live by this."""
        manifest = load_manifest(bundle)
        if manifest.contract.robot != self.robot:
            raise BadInput(bundle / MANIFEST, "contract.robot", manifest.contract.robot, self.robot)
        with while_writing(self.folder), self._locked():
            version = str(max([int(v) for v in self._numbers()], default=0) + 1)
            with tempfile.TemporaryDirectory(dir=self.folder, prefix=".adding-") as temporary:
                work = Path(temporary) / version
                work.mkdir()
                for name in (MANIFEST, *manifest.files):
                    _copy(bundle / name, work / name)
                for name, path in files.items():
                    _copy(path, work / name)
                _sync(work)
                work.rename(self.folder / version)
            _sync(self.folder)
        return version

    def promote(self, version: str, force: str = "") -> Entry:
        """Make a version live.

        Raises:
            GateRefusal: it did not pass the gate, and `force` gives no reason.
            BadInput: a file of it was altered.
        """
        path = self.path(version)
        manifest = load_manifest(path)
        for name, expected in manifest.files.items():
            found = sha256_of(path / name) if (path / name).is_file() else "no such file"
            if found != expected:
                raise BadInput(path / name, "sha256", found, expected)
        passed = self.passed(version)
        if not passed and not force:
            raise GateRefusal(f'{path}: did not pass the gate; promote it all the same with --force "reason"')
        return self._record("promote", version, sha256_of(path / MANIFEST), force, forced=not passed)

    def rollback(self, reason: str = "") -> Entry:
        """Make live what was live before.

        Raises:
            BadInput: nothing was promoted.
        """
        with self._locked():
            stack = _stack(self.journal())
            if len(stack) < 2:
                raise BadInput(self.folder / JOURNAL, "", "no promotion", "one to roll back")
            target = stack[-2]
            sha256 = None if target == SHIPPED else sha256_of(self.path(target) / MANIFEST)
            return self._append("rollback", target, sha256, reason, forced=target != SHIPPED and not self.passed(target))

    def prune(self, keep: int) -> list[str]:
        """Remove old versions; what is live, what was live before it, and the newest `keep` stay. Returns the removed ones."""
        with self._locked():
            stay = {*_stack(self.journal())[-2:], *(self.versions()[-keep:] if keep else [])}
            removed = [v for v in self.versions() if v not in stay]
            for version in removed:
                # Renamed first: a half-removed folder is never taken for a version.
                gone = self.folder / f".removing-{version}"
                (self.folder / version).rename(gone)
                shutil.rmtree(gone)
        return removed

    def mend(self) -> str | None:
        """Finish what a crash left: make the pointer what the journal says. Returns what was done, or None."""
        if not self.folder.is_dir():
            return None
        entries = self.journal()
        wanted = _live_of(entries[-1]) if entries else None
        if wanted is None or self.live() == wanted:
            return None
        with self._locked():
            entries = self.journal()
            self._point(_live_of(entries[-1]))
        return f"{self.folder / LIVE}: now {wanted.version}, as the journal's last line says"

    def _numbers(self) -> list[str]:
        return [p.name for p in self.folder.iterdir() if p.name.isdigit()]

    def _record(self, action: str, version: str, sha256: str | None, reason: str, *, forced: bool) -> Entry:
        with self._locked():
            return self._append(action, version, sha256, reason, forced=forced)

    def _append(self, action: str, version: str, sha256: str | None, reason: str, *, forced: bool) -> Entry:
        """One line, then the pointer. The lock is held."""
        entries, path = self.journal(), self.folder / JOURNAL
        lines = _whole_lines(path)
        before = _stack(entries)[-1]
        entry = Entry(
            at=datetime.now(UTC).isoformat(timespec="seconds"), who=getpass.getuser(), action=action, version=version, sha256=sha256, before=before,
            reason=reason, forced=forced, previous_line=hashlib.sha256(lines[-1]).hexdigest() if lines else None,
        )  # fmt: skip
        with path.open("ab") as stream:
            whole = sum(len(line) + 1 for line in lines)
            if stream.tell() != whole:  # a line that a crash cut
                stream.truncate(whole)
            stream.write(json.dumps(entry.model_dump()).encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        self._point(_live_of(entry))
        return entry

    def _point(self, live: Live) -> None:
        part = self.folder / f".{LIVE}.part"
        with part.open("w") as stream:
            stream.write(yaml.safe_dump(live.model_dump(), sort_keys=False))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.folder / LIVE)
        _sync(self.folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("a")
        except OSError as error:
            raise BadInput(self.folder, "", error.strerror or str(error), "a registry that can be written") from None
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _whole_lines(path: Path) -> list[bytes]:
    """Lines that end; what follows the last end of line was never finished."""
    return path.read_bytes().split(b"\n")[:-1] if path.is_file() else []


def _live_of(entry: Entry) -> Live:
    return Live(version=entry.version, sha256=entry.sha256, forced=entry.reason if entry.forced else "", at=entry.at)


def _stack(entries: list[Entry]) -> list[str]:
    """What was live, the newest last; a rollback takes the last one away."""
    stack = [SHIPPED]
    for entry in entries:
        if entry.action == "promote":
            stack.append(entry.version)
        elif len(stack) > 1:
            stack.pop()
    return stack


def _copy(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_file():
        raise BadInput(source, "", "no plain file", "a plain file")
    shutil.copyfile(source, target)
    with target.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
