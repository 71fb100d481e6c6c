"""Exceptions of taustack: one base class, and an exit code for each kind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class TaustackError(Exception):
    """Base of every error that taustack raises on purpose."""

    exit_code = 1


class BadInput(TaustackError):
    """An input was refused: says where it stands, what came and what was expected.

    Args:
        source: file, topic or argument that was read.
        key: the entry in it, dotted; empty if the whole is meant.
        got: what came.
        expected: what would be right.
    """

    exit_code = 2

    def __init__(self, source: str | Path, key: str, got: object, expected: str) -> None:
        self.source = str(source)
        self.key = key
        self.got, self.expected = got, expected
        where = f"{source}: {key}" if key else str(source)
        shown = got if isinstance(got, str) else repr(got)
        shown = shown if len(shown) <= 200 else shown[:200] + "…"
        super().__init__(f"{where}: got {shown}, expected {expected}")


class UnknownName(BadInput):
    """A name that is none of the choices."""

    def __init__(self, what: str, got: str, choices: Iterable[str]) -> None:
        super().__init__(what, "", repr(got), "one of " + (", ".join(sorted(choices)) or "(none found)"))


class BundleRefused(BadInput):
    """A bundle whose hashes, layout, shapes or golden outputs do not fit."""


class PlanFailed(TaustackError):
    """A plan step that gave nothing usable; the robot holds."""


@contextmanager
def while_writing(place: Path) -> Iterator[None]:
    """What a disk refuses in here becomes BadInput with the place in it: an error of a write alone names no file."""
    try:
        yield
    except OSError as error:
        raise BadInput(error.filename2 or error.filename or place, "", error.strerror or str(error), "a place that can be written, with space for it") from None


class WayBlocked(PlanFailed):
    """A planner that goes straight found an obstacle in its way: it worked, and others may know a way around."""
