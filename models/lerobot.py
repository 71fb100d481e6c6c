"""Runs as a dataset in LeRobot's format v3 (its data, episodes, tasks and statistics, without pictures), written with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from taustack.bags.whole import whole_folder
from taustack.errors import BadInput
from taustack.models.dataset import Run

VERSION = "v3.0"
PATTERN = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
CHUNK = 1000  # files in a folder
FILE_MB = 100  # after which a file of data ends
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
INDICES = {"frame_index": "int64", "episode_index": "int64", "index": "int64", "task_index": "int64"}
Stats = dict[str, NDArray[np.float64]]


@dataclass
class Written:
    """What an export made. `stats`: of every feature, each episode's."""

    episodes: list[dict[str, Any]] = field(default_factory=list)
    frames: int = 0
    stats: dict[str, list[Stats]] = field(default_factory=dict)


def export_lerobot(runs: Iterable[Run], folder: Path, *, robot: str, joint_names: tuple[str, ...], dt: float, task: str) -> Written:
    """Write one episode a run; a frame is the state at a control step and the reference that was applied until the next.

    Features, all float32: `observation.state` (positions, then velocities), `observation.reference` (the same of the reference
    that stood), `observation.effort` (joint torques), `observation.ee` [m], `action` (position and velocity of the next reference).

    Args:
        runs: read once, one in memory at a time.
        folder: must not be there yet.
        dt: control step [s].
        task: the words that stand for the task.

    Raises:
        BadInput: the folder cannot be made anew, or there is no run.
    """
    features, written = _features(joint_names), Written()
    with whole_folder(folder) as part:
        data = _DataFiles(part / "data", features)
        try:
            for run in runs:
                frames = _frames(run, len(joint_names), dt)
                place = data.write(frames, episode=len(written.episodes), first=written.frames)
                _note(written, frames, place, task)
        finally:
            data.close()
        if not written.episodes:
            raise BadInput(folder, "runs", "none", "at least one run with motion")
        _write_meta(part, written, features, robot=robot, dt=dt, task=task)
    return written


def _features(joints: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    both = [f"{joint}.{part}" for part in ("pos", "vel") for joint in joints]
    names = {
        "observation.state": both, "observation.reference": both, "observation.effort": [f"{joint}.effort" for joint in joints],
        "observation.ee": ["x", "y", "z"], "action": both,
    }  # fmt: skip
    vectors = {name: {"dtype": "float32", "shape": [len(parts)], "names": parts} for name, parts in names.items()}
    return vectors | {name: {"dtype": kind, "shape": [1], "names": None} for name, kind in {"timestamp": "float32", **INDICES}.items()}


def _frames(run: Run, n: int, dt: float) -> dict[str, NDArray[np.float32]]:
    """Features (T, size) of a run with T steps."""
    steps = len(run.u)
    observed = {
        "observation.state": run.x[:-1, : 2 * n], "observation.reference": run.x[:-1, 2 * n :], "observation.effort": run.torque[:-1],
        "observation.ee": run.ee[:-1], "action": run.x[1:, 2 * n :], "timestamp": dt * np.arange(steps),
    }  # fmt: skip
    return {name: np.asarray(values, dtype=np.float32) for name, values in observed.items()}


class _DataFiles:
    """Parquet files of frames, the next one begun where one is full."""

    def __init__(self, folder: Path, features: dict[str, dict[str, Any]]) -> None:
        kinds = {"float32": pa.float32(), "int64": pa.int64()}
        self._schema = pa.schema([
            (name, kinds[f["dtype"]] if f["shape"] == [1] else pa.list_(kinds[f["dtype"]], f["shape"][0])) for name, f in features.items()
        ])  # fmt: skip
        self._folder, self._number, self._bytes = folder, 0, 0
        self._writer: pq.ParquetWriter | None = None

    def write(self, frames: dict[str, NDArray[np.float32]], *, episode: int, first: int) -> tuple[int, int]:
        """Append an episode; its chunk and file."""
        steps = len(frames["timestamp"])
        index = {
            "frame_index": np.arange(steps),
            "episode_index": np.full(steps, episode),
            "index": first + np.arange(steps),
            "task_index": np.zeros(steps, int),
        }
        columns = [_column({**frames, **index}[part.name], part.type) for part in self._schema]
        table = pa.Table.from_arrays(columns, schema=self._schema)
        if self._bytes > FILE_MB * 1e6:
            self.close()
            self._number, self._bytes = self._number + 1, 0
        place = divmod(self._number, CHUNK)
        if self._writer is None:
            path = self._folder / PATTERN.format(chunk_index=place[0], file_index=place[1])
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, self._schema, compression="snappy")
        self._writer.write_table(table)
        self._bytes += table.nbytes
        return place

    def close(self) -> None:
        """End the file that is open."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _column(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(values, type=kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), type=kind.value_type), kind.list_size)


def _note(written: Written, frames: dict[str, NDArray[np.float32]], place: tuple[int, int], task: str) -> None:
    steps = len(frames["timestamp"])
    episode = {
        "episode_index": len(written.episodes), "tasks": [task], "length": steps, "data/chunk_index": place[0], "data/file_index": place[1],
        "dataset_from_index": written.frames, "dataset_to_index": written.frames + steps,
    }  # fmt: skip
    for name, values in frames.items():
        stats = _statistics(values.reshape(steps, -1).astype(np.float64))
        written.stats.setdefault(name, []).append(stats)
        episode |= {f"stats/{name}/{key}": value.tolist() for key, value in stats.items()}
    written.episodes.append(episode | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
    written.frames += steps


def _statistics(values: NDArray[np.float64]) -> Stats:
    quantiles = np.quantile(values, QUANTILES, axis=0)
    out = {"min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0)}
    return out | {"count": np.array([float(len(values))])} | {f"q{round(100 * q):02d}": quantile for q, quantile in zip(QUANTILES, quantiles, strict=True)}


def _together(parts: list[Stats]) -> Stats:
    """Statistics of all episodes from those of each; quantiles as their mean by length, as LeRobot has them."""
    count = np.concatenate([part["count"] for part in parts])[:, None]
    share = count / count.sum()
    of = {name: np.stack([part[name] for part in parts]) for name in parts[0] if name != "count"}
    mean = (share * of["mean"]).sum(axis=0)
    std = np.sqrt((share * (of["std"] ** 2 + (of["mean"] - mean) ** 2)).sum(axis=0))
    out = {"min": of["min"].min(axis=0), "max": of["max"].max(axis=0), "mean": mean, "std": std, "count": count.sum(axis=0)}
    return out | {name: (share * values).sum(axis=0) for name, values in of.items() if name.startswith("q")}


def _write_meta(folder: Path, written: Written, features: dict[str, dict[str, Any]], *, robot: str, dt: float, task: str) -> None:
    meta = folder / "meta"
    episodes = meta / "episodes" / PATTERN.format(chunk_index=0, file_index=0)
    episodes.parent.mkdir(parents=True)  # makes meta as well
    pq.write_table(pa.Table.from_pylist(written.episodes), episodes)
    # The table of tasks is a data frame with the tasks as its index.
    index = {"name": None, "field_name": "__index_level_0__", "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    frame = {"index_columns": ["__index_level_0__"], "column_indexes": [], "columns": [column, index], "pandas_version": "2.0.0"}
    tasks = pa.table({"task_index": pa.array([0], pa.int64()), "__index_level_0__": pa.array([task])})
    pq.write_table(tasks.replace_schema_metadata({"pandas": json.dumps(frame)}), meta / "tasks.parquet")
    stats = {name: {key: value.tolist() for key, value in _together(parts).items()} for name, parts in written.stats.items()}
    (meta / "stats.json").write_text(json.dumps(stats, indent=1))
    count = len(written.episodes)
    info = {
        "codebase_version": VERSION, "robot_type": robot, "total_episodes": count, "total_frames": written.frames, "total_tasks": 1,
        "chunks_size": CHUNK, "data_files_size_in_mb": FILE_MB, "video_files_size_in_mb": 200, "fps": round(1 / dt), "splits": {"train": f"0:{count}"},
        "data_path": f"data/{PATTERN}", "video_path": None, "features": features,
    }  # fmt: skip
    (meta / "info.json").write_text(json.dumps(info, indent=1))
