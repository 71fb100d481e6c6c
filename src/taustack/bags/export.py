"""A bag as Parquet: one file a topic, a row a tick or a message, columns named by joint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from taustack.bags.reader import Bag, base_name, decoded
from taustack.bags.whole import whole_folder
from taustack.errors import BadInput

ROWS_PER_GROUP = 50_000
Columns = dict[str, Any]


def export_parquet(bag: Bag, folder: Path) -> dict[str, int]:
    """Write `<topic>.parquet` for track, robot_state and plan into a new folder; returns the rows of each.

    Raises:
        BadInput: the folder is there already, or the bag has none of these topics.
    """
    counts: dict[str, int] = {}
    with whole_folder(folder) as part:
        part.mkdir()
        for topic, columns in ROWS.items():
            counts |= _write(bag, topic, columns, part)
        if not counts:
            raise BadInput(bag.path, "", "; ".join(bag.problems) or "none of " + ", ".join(ROWS), "a bag of the stack")
    return counts


def _write(bag: Bag, topic: str, columns: Callable[[Any], Columns], folder: Path) -> dict[str, int]:
    """One file of a topic; its rows by its name, empty if it has none."""
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for table in _tables(bag, topic, columns):
            writer = writer or pq.ParquetWriter(folder / f"{topic}.parquet", table.schema, compression="zstd")
            writer.write_table(table.cast(writer.schema))
            rows += table.num_rows
    finally:
        if writer is not None:
            writer.close()
    return {topic: rows} if rows else {}


def _tables(bag: Bag, topic: str, columns: Callable[[Any], Columns]) -> Iterator[pa.Table]:
    """Tables of some ten thousand rows, so that the length of the bag costs no memory."""
    parts: list[pa.Table] = []
    names: list[str] | None = None
    for message in bag.messages({topic}):
        content = decoded(message)
        if content is None or base_name(message.topic) != topic:
            continue
        try:
            table = pa.table(columns(content))
        except (ValueError, IndexError, pa.ArrowInvalid):
            bag.problems.append(f"{message.topic}: a message at {message.log_ns} ns whose parts do not fit")
            continue
        names = names or table.column_names
        if table.column_names != names:
            bag.problems.append(f"{message.topic}: other joints or cost terms at {message.log_ns} ns, left out")
            continue
        parts.append(table)
        if sum(part.num_rows for part in parts) >= ROWS_PER_GROUP:
            yield pa.concat_tables(parts)
            parts = []
    if parts:
        yield pa.concat_tables(parts)


def _track(content: Any) -> Columns:
    rows = len(content.t)
    out: Columns = {"t": content.t, "tick": content.tick, "epoch": content.epoch, "state": content.state, "plan_seq": content.plan_seq}
    for name in ("q", "dq", "q_ref", "dq_ref", "torque"):
        out |= _by_joint(name, np.asarray(getattr(content, name)).reshape(rows, len(content.name)), content.name)
    return out | _by_joint("ee", np.asarray(content.ee).reshape(rows, 3), ["x", "y", "z"])


def _robot_state(content: Any) -> Columns:
    out: Columns = {"t": [_seconds(content)], "seq": [content.seq], "epoch": [content.epoch]}
    for name in ("q", "dq", "q_ref", "dq_ref", "torque"):
        out |= _by_joint(name, np.asarray(getattr(content, name)).reshape(1, len(content.name)), content.name)
    return out | {"ee.x": [content.ee.x], "ee.y": [content.ee.y], "ee.z": [content.ee.z]}


def _plan(content: Any) -> Columns:
    out: Columns = {
        "t": [_seconds(content)], "seq": [content.seq], "state_seq": [content.state_seq], "epoch": [content.epoch], "planner": [content.planner],
        "plan_time_s": [content.plan_time_s], "effective_samples": [content.effective_samples], "bundle_sha256": [content.bundle_sha256],
        "actions": [np.asarray(content.actions)], "disagreement": [np.asarray(content.disagreement)],
    }  # fmt: skip
    return out | {f"cost.{name}": [value] for name, value in zip(content.cost_name, content.cost, strict=True)}


def _by_joint(name: str, values: Any, joints: list[str]) -> Columns:
    return {f"{name}.{joint}": values[:, i] for i, joint in enumerate(joints)}


def _seconds(content: Any) -> float:
    return float(content.header.stamp.sec + 1e-9 * content.header.stamp.nanosec)


ROWS: dict[str, Callable[[Any], Columns]] = {"track": _track, "robot_state": _robot_state, "plan": _plan}
