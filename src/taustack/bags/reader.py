"""Reads bags that may be damaged or hostile: bounded memory, no exception but BadInput, every fault told."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, Message, Metadata, Schema
from mcap.stream_reader import StreamReader

from taustack.bags.types import decode, definition
from taustack.bags.writer import METADATA
from taustack.errors import BadInput
from taustack.strict_yaml import read_mapping

LARGEST_RECORD_BYTES = 64 << 20  # ours are a thousandth of it; a record that says more is not read
MOST_CHANNELS = 1000
MOST_PROBLEMS = 100
HEAD = struct.Struct("<BQ")  # of a record in a chunk: opcode and length
MESSAGE_HEAD = struct.Struct("<HIQQ")  # of a message: channel, sequence, log time, publish time
DAMAGE = (
    McapError,
    EOFError,
    struct.error,
    ValueError,
    OverflowError,
    IndexError,
    KeyError,
    TypeError,
    MemoryError,
    OSError,
    zstandard.ZstdError,
    RuntimeError,
)


@dataclass(frozen=True, kw_only=True)
class BagMessage:
    """A message as it stands in the bag."""

    topic: str
    type: str
    data: bytes
    log_ns: int
    publish_ns: int
    sequence: int


@dataclass
class Bag:
    """A bag on disk. Iterate over `messages()`; `problems` says what could not be read, and grows as the bag is read."""

    path: Path
    files: list[Path]
    problems: list[str] = field(default_factory=list)
    about: dict[str, str] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    whole: bool = True
    """False once a file turned out to be cut or altered."""

    def messages(self, topics: Collection[str] | None = None) -> Iterator[BagMessage]:
        """All messages in the order of the files, of these topics only if given (names without a namespace)."""
        for path in self.files:
            yield from self._of_file(path, topics)

    def _of_file(self, path: Path, topics: Collection[str] | None) -> Iterator[BagMessage]:
        schemas: dict[int, Schema] = {}
        channels: dict[int, Channel] = {}
        unwanted: set[int] = set()
        count = 0
        try:
            with path.open("rb") as stream:
                for record in _Records(_Bounded(stream), emit_chunks=True, record_size_limit=LARGEST_RECORD_BYTES).records:
                    for inner in self._opened(record, path, unwanted):
                        if isinstance(inner, Schema):
                            schemas[inner.id] = inner
                        elif isinstance(inner, Channel) and len(channels) < MOST_CHANNELS:
                            channels[inner.id] = inner
                            if topics is not None and base_name(inner.topic) not in topics:
                                unwanted.add(inner.id)
                            if inner.schema_id in schemas:
                                self.channels[inner.topic] = schemas[inner.schema_id].name
                                self._compare(path, inner.topic, schemas[inner.schema_id])
                        elif isinstance(inner, Message):
                            count += 1
                            channel = channels.get(inner.channel_id)
                            if channel is not None and (topics is None or base_name(channel.topic) in topics):
                                schema = schemas.get(channel.schema_id)
                                yield BagMessage(
                                    topic=channel.topic, type=schema.name if schema else "", data=inner.data, log_ns=inner.log_time,
                                    publish_ns=inner.publish_time, sequence=inner.sequence,
                                )  # fmt: skip
        except DAMAGE as error:
            self.whole = False
            self._tell(f"{path.name}: cut or altered after {count} messages ({type(error).__name__}: {str(error)[:100]})")

    def _opened(self, record: Any, path: Path, unwanted: Collection[int]) -> list[Any]:
        """What is in a record: the records of a chunk, if it can be opened, without messages of unwanted channels."""
        if isinstance(record, Metadata) and record.name == "taustack":
            self.about.update({str(k)[:100]: str(v)[:100_000] for k, v in record.metadata.items()})
        elif isinstance(record, Attachment) and len(self.attachments) < MOST_CHANNELS:
            self.attachments[record.name] = record.data
        if not isinstance(record, Chunk):
            return [record]
        try:
            return list(_records_in(_unpacked(record), unwanted))
        except DAMAGE as error:
            self.whole = False
            self._tell(f"{path.name}: a chunk at {record.message_start_time} ns cannot be read ({type(error).__name__}: {str(error)[:100]})")
            return []

    def _compare(self, path: Path, topic: str, schema: Schema) -> None:
        """A message of ours whose definition differs from ours would be read wrongly: its type is no longer ours."""
        if not schema.name.startswith("taustack_msgs/"):
            return
        try:
            same = schema.data.decode() == definition(schema.name)
        except (KeyError, UnicodeDecodeError, AttributeError):
            same = False
        if not same:
            self.channels[topic] = f"{schema.name} (another definition)"
            schema.name = self.channels[topic]
            self._tell(f"{path.name}: {topic} has another definition of {schema.name.split()[0]} than this code; it is left out")

    def _tell(self, problem: str) -> None:
        if len(self.problems) < MOST_PROBLEMS and problem not in self.problems:
            self.problems.append(problem)


def open_bag(path: Path) -> Bag:
    """A bag's folder, or one MCAP file.

    Raises:
        BadInput: nothing there, or no MCAP file in it.
    """
    if path.is_file():
        return Bag(path, [path])
    if not path.is_dir():
        raise BadInput(path, "", "no such folder or file", "a bag: a folder with metadata.yaml and .mcap files, or one .mcap file")
    found = sorted(path.glob("*.mcap"), key=_number)
    if not found:
        raise BadInput(path, "", "no .mcap file", "a bag: a folder with metadata.yaml and .mcap files")
    bag = Bag(path, found)
    try:
        listed = read_mapping(path / METADATA)["rosbag2_bagfile_information"]["relative_file_paths"]
        missing = [name for name in listed if isinstance(name, str) and Path(name).name == name and not (path / name).is_file()]
        if missing:
            bag.whole = False
            bag.problems.append(f"{METADATA}: {missing[0]} is listed and not there")
    except (BadInput, KeyError, TypeError) as error:
        bag.problems.append(f"{METADATA}: {str(error)[:200]}")
    return bag


def decoded(message: BagMessage) -> Any | None:
    """The message as an object with the fields of its type, or None if its bytes are none of it."""
    try:
        return decode(message.type, message.data)
    except Exception:  # whatever generated code does with bytes that somebody altered
        return None


def base_name(topic: str) -> str:
    """A topic's name without its namespace."""
    return topic.rsplit("/", 1)[-1]


def _number(path: Path) -> tuple[str, int, str]:
    head, _, tail = path.stem.rpartition("_")
    return (head, int(tail), "") if tail.isdigit() else (path.stem, -1, tail)


class _Records(StreamReader):  # type: ignore[misc]  # mcap has no types
    """Without the indices, which nothing here uses: half of the records of a bag, and slow to parse."""

    def _read_record(self, opcode: int, length: int) -> Any:
        if opcode in (Opcode.MESSAGE_INDEX, Opcode.CHUNK_INDEX):
            self._stream.read(length)
            return None
        return super()._read_record(opcode, length)


def _records_in(data: bytes, unwanted: Collection[int]) -> Iterator[Schema | Channel | Message]:
    """Records of a chunk; messages of unwanted channels are passed over unread."""
    at = 0
    while at < len(data):
        opcode, length = HEAD.unpack_from(data, at)
        at, end = at + HEAD.size, at + HEAD.size + length
        if end > len(data):
            raise EOFError(f"a record of {length} bytes, {len(data) - at} left")
        if opcode == Opcode.MESSAGE:
            if length < MESSAGE_HEAD.size:
                raise ValueError(f"a message of {length} bytes")
            channel, sequence, log_time, publish_time = MESSAGE_HEAD.unpack_from(data, at)
            if channel not in unwanted:
                yield Message(channel_id=channel, sequence=sequence, log_time=log_time, publish_time=publish_time, data=data[at + MESSAGE_HEAD.size : end])
        elif opcode == Opcode.SCHEMA:
            yield Schema.read(ReadDataStream(io.BytesIO(data[at:end])))
        elif opcode == Opcode.CHANNEL:
            yield Channel.read(ReadDataStream(io.BytesIO(data[at:end])))
        at = end


def _unpacked(chunk: Chunk) -> bytes:
    """The chunk's data, decompressed; its size and its checksum are looked at first."""
    if chunk.uncompressed_size > LARGEST_RECORD_BYTES:
        raise ValueError(f"a chunk of {chunk.uncompressed_size} bytes, at most {LARGEST_RECORD_BYTES}")
    if chunk.compression == "zstd":
        # Into a buffer of the size that the chunk states, whatever its frame says.
        data = zstandard.ZstdDecompressor(max_window_size=LARGEST_RECORD_BYTES).stream_reader(io.BytesIO(chunk.data)).read(chunk.uncompressed_size)
    elif chunk.compression == "lz4":
        data = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=chunk.uncompressed_size)
    elif not chunk.compression:
        data = bytes(chunk.data)
    else:
        raise ValueError(f"compression {chunk.compression!r}, known are zstd and lz4")
    if len(data) != chunk.uncompressed_size:
        raise ValueError(f"{len(data)} bytes in a chunk of {chunk.uncompressed_size}")
    if chunk.uncompressed_crc and zlib.crc32(data) != chunk.uncompressed_crc:
        raise ValueError("its checksum does not fit")
    return data


class _Bounded:
    """A file that refuses to read beyond its end, before any memory is asked for."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = stream.seek(0, io.SEEK_END)
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        if size > self._left:
            raise EOFError(f"{size} bytes wanted, {self._left} left")
        data = self._stream.read(size)
        self._left -= len(data)
        return data
