"""Bags to runs: the tracker's rows, cut where they say nothing true, on the grid of the control step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from taustack.bags.reader import Bag, base_name, decoded, open_bag
from taustack.errors import BadInput
from taustack.layout import STATES
from taustack.models.dataset import Run

FloatArray = NDArray[np.float64]
Block = dict[str, FloatArray]
LEAST_PIECE_S = 0.7
LEAST_RUNS = 3  # so that one can be held out
MESSAGE_S = 0.1  # what a message of rows holds
GAP_S = 0.01  # rows further apart than this are not joined
REST_S = 1.0  # longer rest than this teaches nothing
STILL = 1e-3  # [rad/s or m/s] of every reference
AFTER_FAULT_S = 0.3
AFTER_BLOCK_NS = 1_000_000_000  # of the log, after which all is known that `safety` says of a block of rows
MOST_WAITING = 100
UNCOMMANDED = tuple(STATES.index(name) for name in ("idle", "damped"))
TYPES = {"track": "taustack_msgs/msg/Track", "safety": "taustack_msgs/msg/Safety"}
VECTORS = ("q", "dq", "q_ref", "dq_ref", "torque")


class Actions(Protocol):
    """A piece of a log: its actions u (T, nu)."""

    @property
    def u(self) -> FloatArray:
        """As in a run."""
        ...


Piece = TypeVar("Piece", bound=Actions)


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How long a run is at most, and what is left out until the next one, [s]."""

    piece_s: float
    between_s: float


TO_LEARN = Cut(piece_s=5.0, between_s=0.5)  # so that some can be held out, and none begins where the last one ended
WHOLE = Cut(piece_s=60.0, between_s=0.0)


@dataclass
class Harvest:
    """What came of the bags. `cut_s`: seconds that were left out, by reason."""

    minutes: float = 0.0
    pieces: int = 0
    cut_s: dict[str, float] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def cut(self, why: str, seconds: float) -> None:
        """Count what is left out."""
        self.cut_s[why] = self.cut_s.get(why, 0.0) + seconds


@dataclass
class Rows:
    """Rows of the tracker in a row: t (R,), vectors (R, n), ee (R, 3)."""

    t: list[FloatArray] = field(default_factory=list)
    columns: dict[str, list[FloatArray]] = field(default_factory=lambda: {name: [] for name in (*VECTORS, "ee")})
    tick: int = -1
    epoch: int = -1


def runs_of(paths: list[Path], robot: str, joint_names: tuple[str, ...], dt: float, harvest: Harvest, lengths: Cut = TO_LEARN) -> Iterator[Run]:
    """Runs of all bags, one bag after the other; only one piece is in memory at a time.

    A bag that cannot be used is named in `harvest.quarantined` and left out; what can be read of a cut one is used.
    """
    yield from of_each(paths, dt, harvest, lambda bag: _of_bag(bag, robot, joint_names, dt, harvest, lengths))


def of_each(paths: list[Path], dt: float, harvest: Harvest, of_bag: Callable[[Bag], Iterator[Piece]]) -> Iterator[Piece]:
    """What comes of each bag, counted; a bag of which nothing comes is quarantined."""
    for path in paths:
        try:
            bag = open_bag(path)
        except BadInput as error:
            harvest.quarantined[str(path)] = str(error)
            continue
        before = harvest.pieces
        for run in of_bag(bag):
            harvest.pieces += 1
            harvest.minutes += len(run.u) * dt / 60
            yield run
        if bag.problems:
            harvest.notes += [f"{path}: {problem}" for problem in bag.problems]
        if harvest.pieces == before and str(path) not in harvest.quarantined:
            harvest.quarantined[str(path)] = "; ".join(bag.problems) or "nothing in it that could be learned from"


def enough(runs: list[Piece], dt: float, harvest: Harvest, most_minutes: float | None, least_s: float, doing: str) -> list[Piece]:
    """The newest `most_minutes` of what was found, or all; the harvest says how much that is.

    Args:
        doing: what the robot did in it, for the errors.

    Raises:
        BadInput: nothing, less than least_s [s], or fewer than LEAST_RUNS runs; names the sources and why they gave nothing.
    """
    if most_minutes is not None:
        total = np.cumsum([len(run.u) for run in reversed(runs)])
        runs = runs[len(runs) - int(np.searchsorted(total, most_minutes * 60 / dt, side="right")) :]
        harvest.minutes, harvest.pieces = sum(len(run.u) for run in runs) * dt / 60, len(runs)
    told = "; ".join(f"{path}: {why}" for path, why in harvest.quarantined.items())
    if not runs:
        raise BadInput("--from", "", told or "no runs", f"bags or datasets with {doing}")
    if harvest.minutes * 60 < least_s or len(runs) < LEAST_RUNS:
        needed = f"at least {least_s / 60:.2f} minutes of {doing} in {LEAST_RUNS} runs; some minutes are better"
        raise BadInput("--from", "minutes", f"{harvest.minutes:.2f} in {len(runs)} run(s)" + (f" ({told})" if told else ""), needed)
    return runs


def _of_bag(bag: Bag, robot: str, joint_names: tuple[str, ...], dt: float, harvest: Harvest, lengths: Cut) -> Iterator[Run]:
    collected = Collected(dt, harvest, lengths)
    for message in bag.messages({"track", "safety"}):
        name = base_name(message.topic)
        content = decoded(message) if message.type == TYPES[name] else None  # somebody else's topic may have the same name
        if content is None:
            continue
        if name == "safety":
            collected.faults.note(content)
            continue
        if not len(content.t):
            continue
        if sorted(content.name) != sorted(joint_names):
            harvest.quarantined[str(bag.path)] = f"joints {list(content.name)}, the robot {robot} has {list(joint_names)}"
            return
        if bag.about.get("robot", robot) != robot:
            harvest.quarantined[str(bag.path)] = f"a bag of {bag.about['robot']}, not of {robot}"
            return
        block = block_of(content, joint_names)
        if block is None:
            harvest.cut("a message whose parts do not fit", MESSAGE_S)
            continue
        yield from collected.add(message.log_ns, block)
    yield from collected.rest()


class FaultSpans:
    """Times [s] under an e-stop or a sensor that could not be trusted, as `safety` says it."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def note(self, content: Any) -> None:
        """Take a message of `safety`."""
        if not (content.estop or content.reason.startswith("measurement ")):
            return
        t, spans = seconds_of(content.header.stamp), self._spans
        if spans and 0 <= t - spans[-1][1] < 2 * AFTER_FAULT_S:
            spans[-1] = (spans[-1][0], t + AFTER_FAULT_S)
        else:
            spans.append((t - AFTER_FAULT_S, t + AFTER_FAULT_S))

    def cover(self, t: FloatArray) -> NDArray[np.bool_]:
        """Which of the times are in one."""
        out = np.zeros(t.shape, dtype=bool)
        for first, last in self._spans:
            out |= (t >= first) & (t <= last)
        return out


def seconds_of(stamp: Any) -> float:
    """Of a stamp of a message [s]."""
    return float(stamp.sec + 1e-9 * stamp.nanosec)


class Collected:
    """Blocks of rows as they come, kept until what is said of faults around them is known, and the rows that are sound so far."""

    def __init__(self, dt: float, harvest: Harvest, lengths: Cut) -> None:
        self.dt, self.harvest, self.lengths = dt, harvest, lengths
        self.rows, self.faults = Rows(), FaultSpans()
        self._waiting: deque[tuple[int, Block]] = deque()

    def add(self, log_ns: int, block: Block) -> Iterator[Run]:
        """Take a block; runs that are complete."""
        self._waiting.append((log_ns, block))
        while len(self._waiting) > MOST_WAITING or log_ns - self._waiting[0][0] > AFTER_BLOCK_NS:
            yield from self._take(self._waiting.popleft()[1])

    def rest(self) -> Iterator[Run]:
        """Runs of what is left at the end."""
        while self._waiting:
            yield from self._take(self._waiting.popleft()[1])
        yield from self._end()

    def _take(self, block: Block) -> Iterator[Run]:
        for part, why in _sound_parts(block, self.faults, self.harvest):
            if why or not _follows(self.rows, part):
                yield from self._end()
            if not why:
                _append(self.rows, part)
                if self.rows.t[-1][-1] - self.rows.t[0][0] > 4 * (self.lengths.piece_s + self.lengths.between_s):
                    yield from self._end()

    def _end(self) -> Iterator[Run]:
        yield from _pieces(self.rows, self.dt, self.harvest, self.lengths)
        self.rows = Rows()


def _duration(t: FloatArray) -> float:
    """Of rows, [s]; a row that stands alone has none."""
    finite = t[np.isfinite(t)]
    return float(np.clip(np.diff(finite), 0.0, GAP_S).sum())


def block_of(content: Any, joint_names: tuple[str, ...]) -> Block | None:
    """A message's rows as arrays with the joints in our order; None if the sizes contradict each other."""
    order, rows = [list(content.name).index(name) for name in joint_names], len(content.t)
    out = {name: np.asarray(getattr(content, name), dtype=np.float64) for name in ("t", "tick", "epoch", "state", *VECTORS, "ee")}
    if any(len(out[name]) != rows for name in ("tick", "epoch", "state")) or len(out["ee"]) != 3 * rows:
        return None
    if any(len(out[name]) != rows * len(order) for name in VECTORS):
        return None
    return out | {name: out[name].reshape(rows, -1)[:, order] for name in VECTORS} | {"ee": out["ee"].reshape(rows, 3)}


def _sound_parts(block: Block, faults: FaultSpans, harvest: Harvest) -> Iterator[tuple[Block, str]]:
    """Stretches of a block, each with why it is left out, or nothing."""
    t = block["t"]
    finite = np.isfinite(t) & np.logical_and.reduce([np.isfinite(block[name]).all(axis=1) for name in (*VECTORS, "ee")])
    fault = faults.cover(t)
    reasons = np.array(["", "not finite", "damped or idle", "e-stop or sensor fault"])
    code = np.where(~finite, 1, np.where(np.isin(block["state"], UNCOMMANDED), 2, np.where(fault, 3, 0)))
    edges = np.flatnonzero(np.diff(code) != 0) + 1
    for part in np.split(np.arange(len(t)), edges):
        why = str(reasons[code[part[0]]])
        if why:
            harvest.cut(why, _duration(block["t"][part]))
        yield {name: values[part] for name, values in block.items()}, why


def _follows(rows: Rows, part: Block) -> bool:
    """True if a part goes on where the rows end, and goes on without a gap in itself."""
    if not rows.t:
        return True
    return bool(part["epoch"][0] == rows.epoch and part["tick"][0] > rows.tick and 0 < part["t"][0] - rows.t[-1][-1] < GAP_S)


def _append(rows: Rows, part: Block) -> None:
    rows.t.append(part["t"])
    for name, column in rows.columns.items():
        column.append(part[name])
    rows.tick, rows.epoch = int(part["tick"][-1]), int(part["epoch"][-1])


def _pieces(rows: Rows, dt: float, harvest: Harvest, lengths: Cut) -> Iterator[Run]:
    """Runs on the grid of dt from rows: cut at gaps and long rests, in pieces."""
    if not rows.t:
        return
    t = np.concatenate(rows.t)
    columns = {name: np.concatenate(column) for name, column in rows.columns.items()}
    for span in np.split(np.arange(len(t)), np.flatnonzero(np.diff(t) > GAP_S) + 1):
        for moving in _without_rest(t[span], columns["dq_ref"][span], harvest):
            index = span[moving]
            first, last = float(t[index[0]]), float(t[index[-1]])
            while last - first >= LEAST_PIECE_S:
                until = min(last, first + lengths.piece_s)
                grid = np.arange(first, until, dt)
                x = [np.stack([np.interp(grid, t[index], column) for column in columns[name][index].T], axis=1) for name in (*VECTORS, "ee")]
                yield Run(x=np.concatenate(x[:4], axis=1), u=x[3][1:], ee=x[5], torque=x[4])
                first = until + lengths.between_s
            harvest.cut("between pieces, or too short", max(0.0, last - first))


def _without_rest(t: FloatArray, dq_ref: FloatArray, harvest: Harvest) -> list[NDArray[np.intp]]:
    """Indices of the stretches between long rests."""
    still = np.abs(dq_ref).max(axis=1) < STILL
    keep = np.ones(len(t), dtype=bool)
    for span in np.split(np.arange(len(t)), np.flatnonzero(np.diff(still.astype(np.int8)) != 0) + 1):
        if len(span) and still[span[0]] and t[span[-1]] - t[span[0]] > REST_S:
            late = t[span] > t[span[0]] + (REST_S if span[0] else -1.0)  # the rest before a motion teaches less than the one after it
            keep[span[late]] = False
            harvest.cut("at rest", _duration(t[span[late]]))
    kept = np.flatnonzero(keep)
    return [part for part in np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1) if len(part) > 1]
