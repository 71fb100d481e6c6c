"""Writes a bag: a folder with metadata.yaml and MCAP files of zstd chunks, as rosbag2 lays it out."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import yaml
from mcap.writer import CompressionType, Writer

from taustack.bags.types import definition, type_hash
from taustack.errors import BadInput

METADATA = "metadata.yaml"
CHUNK_BYTES = 256 << 10  # the index of a file grows in memory by about 1 KiB a chunk until the file ends
FLUSH_S = 0.5  # a chunk is finished after this long, however small it is, so that little is lost with an unfinished one
LONGEST_S = 180.0  # so that this index takes half a megabyte at the most, and a process that logs for hours does not grow
LARGEST_BYTES = 512 << 20
PROFILE, LIBRARY = "ros2", "taustack"


@dataclass(frozen=True, kw_only=True)
class BagTopic:
    """A topic of a bag. `qos`: as rosbag2's metadata has it."""

    name: str
    type: str
    qos: Mapping[str, object] = field(default_factory=dict)


@dataclass
class FileSpan:
    """What metadata.yaml says of one file."""

    name: str
    count: int = 0
    first_ns: int = 0
    last_ns: int = 0

    def add(self, t_ns: int) -> None:
        self.first_ns = t_ns if self.count == 0 else min(self.first_ns, t_ns)
        self.last_ns = max(self.last_ns, t_ns)
        self.count += 1


class BagWriter:
    """Writes messages that are already encoded. One thread at a time.

    Args:
        folder: of the bag; must not be there yet.
        topics: everything that may be written.
        about: what a reader must know: code version, launch parameters, hash of the bundle.
        attachments: files to carry along, by name.
        largest_bytes, longest_s: a file is ended beyond these and the next one begun.

    Raises:
        BadInput: the folder is there already, or cannot be made.
    """

    def __init__(
        self, folder: Path, topics: Sequence[BagTopic], about: Mapping[str, str], attachments: Mapping[str, bytes] | None = None,
        largest_bytes: int = LARGEST_BYTES, longest_s: float = LONGEST_S,
    ) -> None:  # fmt: skip
        self.folder, self.topics, self.about, self.attachments = folder, tuple(topics), dict(about), dict(attachments or {})
        self._largest, self._longest_s = largest_bytes, longest_s
        self.counts = {topic.name: 0 for topic in topics}
        self.files: list[FileSpan] = []
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except OSError as error:
            raise BadInput(folder, "", error.strerror or str(error), "a folder that can be made anew") from None
        self._flushed = 0.0
        self._open()

    def write(self, topic: str, data: bytes, log_ns: int, publish_ns: int, sequence: int = 0) -> None:
        """Add one message.

        Raises:
            OSError: the disk does not take it.
        """
        if time.monotonic() - self._opened > self._longest_s or self._stream.tell() > self._largest:
            self._close_file()
            self._open()
        self._writer.add_message(self._channels[topic], log_ns, data, publish_ns, sequence & 0xFFFFFFFF)
        self.counts[topic] += 1
        self.files[-1].add(log_ns)
        self.flush(FLUSH_S)

    def flush(self, older_s: float = 0.0) -> None:
        """Put what was written for at least `older_s` where a kill of this process cannot lose it."""
        now = time.monotonic()
        if now - self._flushed < older_s:
            return
        # The library ends a chunk by its size only, and has no call for this.
        finish_chunk: Callable[[], None] = getattr(self._writer, "_Writer__finalize_chunk")  # noqa: B009
        finish_chunk()
        self._stream.flush()
        self._flushed = now

    def close(self) -> None:
        """End the bag."""
        self._close_file()

    def abandon(self) -> None:
        """Let go of the file as it is: the disk takes no more. `taustack bag recover` mends it."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def _open(self) -> None:
        span = FileSpan(f"{self.folder.name}_{len(self.files)}.mcap")
        self._stream: BinaryIO = (self.folder / span.name).open("xb")
        self._opened = self._flushed = time.monotonic()
        self._writer: Writer = Writer(self._stream, chunk_size=CHUNK_BYTES, compression=CompressionType.ZSTD, enable_data_crcs=True)
        self._writer.start(PROFILE, LIBRARY)
        self._channels = {}
        for topic in self.topics:
            schema = self._writer.register_schema(topic.type, "ros2msg", definition(topic.type).encode())
            qos = yaml.safe_dump([dict(topic.qos)], sort_keys=False) if topic.qos else ""
            about = {"offered_qos_profiles": qos, "topic_type_hash": type_hash(topic.type)}
            self._channels[topic.name] = self._writer.register_channel(topic.name, "cdr", schema, about)
        self._writer.add_metadata("taustack", self.about)
        for name, data in self.attachments.items():
            self._writer.add_attachment(0, time.time_ns(), name, "text/plain", data)
        self.files.append(span)
        self.flush()
        self._write_metadata()

    def _close_file(self) -> None:
        self._writer.finish()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        self._write_metadata()

    def _write_metadata(self) -> None:
        write_metadata(self.folder, self.topics, self.counts, self.files, self.about)


def write_metadata(
    folder: Path, topics: Sequence[BagTopic], counts: Mapping[str, int], files: Sequence[FileSpan], about: Mapping[str, str], distro: str = "kilted"
) -> None:
    """Write metadata.yaml (version 9 of rosbag2), whole or not at all."""
    written = [span for span in files if span.count]
    first = min((span.first_ns for span in written), default=0)
    last = max((span.last_ns for span in written), default=0)
    information = {
        "version": 9, "storage_identifier": "mcap", "duration": {"nanoseconds": last - first}, "starting_time": {"nanoseconds_since_epoch": first},
        "message_count": sum(counts.values()),
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": topic.name, "type": topic.type, "serialization_format": "cdr", "offered_qos_profiles": [dict(topic.qos)] if topic.qos else [],
                    "type_description_hash": type_hash(topic.type),
                },
                "message_count": counts[topic.name],
            }
            for topic in topics
        ],
        "compression_format": "", "compression_mode": "", "relative_file_paths": [span.name for span in files],
        "files": [
            {
                "path": span.name, "starting_time": {"nanoseconds_since_epoch": span.first_ns},
                "duration": {"nanoseconds": span.last_ns - span.first_ns}, "message_count": span.count,
            }
            for span in files
        ],
        "custom_data": dict(about), "ros_distro": distro,
    }  # fmt: skip
    part = folder / f".{METADATA}.part"
    part.write_text(yaml.safe_dump({"rosbag2_bagfile_information": information}, sort_keys=False))
    part.replace(folder / METADATA)
