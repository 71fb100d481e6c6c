"""Channels between processes of one machine: one writer, any readers, nobody ever waits.

A channel is a ring of slots in a memory-mapped file. Each slot carries its sequence number before and after its payload
(a sequence lock) and a checksum over both, so that a reader can tell a torn read from a whole one on any processor,
whatever order its stores become visible in. A writer that is killed in the middle of a slot leaves the slots before intact.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from types import TracebackType

from taustack.errors import BadInput

WORD = 8  # [bytes]; the first one of a channel: sequence number of the newest slot, 0: nothing yet
HEAD = 2 * WORD  # of a slot: sequence number; length, and the checksum above 32 bits
TAIL = WORD  # of a slot: sequence number again
START = 64  # of the first slot
RETRIES = 3


class _Mapped:
    """The file of a channel, mapped."""

    def __init__(self, path: Path, capacity: int, slots: int) -> None:
        self.path, self.capacity, self.slots = path, capacity, slots
        self._tail = (HEAD + capacity + WORD - 1) // WORD  # words from the start of a slot
        self.stride = (WORD * self._tail + TAIL + 63) // 64 * 64
        size = START + slots * self.stride
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self.fd).st_size not in (0, size):
            found = os.fstat(self.fd).st_size
            os.close(self.fd)
            raise BadInput(path, "size", found, f"{size}: the other end was built for another robot or version")
        os.ftruncate(self.fd, size)
        self.memory = mmap.mmap(self.fd, size)
        self._words = memoryview(self.memory).cast("Q")  # a word is stored in one piece, and without a call

    def offset(self, seq: int) -> int:
        return START + (seq % self.slots) * self.stride

    @property
    def newest(self) -> int:
        return self._words[0]

    def close(self) -> None:
        self._words.release()
        self.memory.close()
        os.close(self.fd)

    def __enter__(self) -> _Mapped:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Writer(_Mapped):
    """The one writer of a channel.

    Args:
        path: file of the channel; made if it is not there.
        capacity: largest payload [bytes].
        slots: how many of the newest messages stay readable.

    Raises:
        BadInput: another process writes this channel, or the file has another size.
    """

    def __init__(self, path: Path, capacity: int, slots: int = 8) -> None:
        super().__init__(path, capacity, slots)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise BadInput(path, "writer", "a second process", "one writer a channel: is another stack running in this session?") from None
        self._seq = self.newest

    def write(self, payload: bytes) -> int:
        """Publish a message; returns its sequence number (from 1).

        Raises:
            ValueError: the payload is larger than the channel's slots.
        """
        if len(payload) > self.capacity:
            raise ValueError(f"payload of {len(payload)} bytes, the slots of {self.path.name} hold {self.capacity}")
        self._seq += 1
        seq, words, at = self._seq, self._words, self.offset(self._seq)
        slot = at // WORD
        words[slot] = 0  # this slot is being written
        self.memory[at + HEAD : at + HEAD + len(payload)] = payload
        words[slot + self._tail] = seq
        words[slot + 1] = len(payload) | zlib.crc32(payload, seq & 0xFFFFFFFF) << 32
        words[slot] = seq
        words[0] = seq
        return seq


class Reader(_Mapped):
    """A reader of a channel; many may look at the same one."""

    def __init__(self, path: Path, capacity: int, slots: int = 8) -> None:
        super().__init__(path, capacity, slots)
        self._read = 0
        self.torn = 0
        self.lost = 0

    def new(self) -> list[bytes]:
        """Messages since the last call that are still there, the oldest first; those that were overwritten are counted in `lost`."""
        newest = self._words[0]
        if newest == self._read:
            return []
        first = max(self._read + 1, newest - self.slots + 2)  # the slot after the newest may be in work
        if newest < self._read:  # a new writer began anew in a new file
            first = max(1, newest - self.slots + 2)
        else:
            self.lost += max(0, first - self._read - 1)
        messages = [m for seq in range(first, newest + 1) if (m := self._at(seq)) is not None]
        self._read = newest
        return messages

    def newest_message(self) -> bytes | None:
        """The newest message, read before or not; None if there is none yet."""
        for _ in range(RETRIES):
            seq = self._words[0]
            if seq == 0:
                return None
            message = self._at(seq)
            if message is not None:
                self._read = max(self._read, seq)
                return message
        return None

    def _at(self, seq: int) -> bytes | None:
        at, words = self.offset(seq), self._words
        slot = at // WORD
        begin, size = words[slot], words[slot + 1]
        length, checksum = size & 0xFFFFFFFF, size >> 32
        if begin == seq and length <= self.capacity:
            payload = self.memory[at + HEAD : at + HEAD + length]
            if words[slot + self._tail] == seq and checksum == zlib.crc32(payload, seq & 0xFFFFFFFF):
                return payload
        self.torn += 1
        return None


def sessions_root() -> Path:
    """Where the channels of this user's sessions lie: memory if the system has /dev/shm."""
    base = Path("/dev/shm")
    return (base if base.is_dir() else Path(tempfile.gettempdir())) / f"taustack-{os.getuid()}"


def session_folder(session: str) -> Path:
    """Folder of a session's channels; not made yet.

    Raises:
        BadInput: a name that would leave the folder of the sessions.
    """
    if not session or not session.replace("-", "").replace("_", "").isalnum():
        raise BadInput("session", "", session, "letters, digits, - and _")
    return sessions_root() / session


def remove_session(session: str) -> None:
    """Remove a session's channels; who has them open keeps them until it ends."""
    shutil.rmtree(session_folder(session), ignore_errors=True)


def sweep_dead_sessions() -> list[str]:
    """Remove sessions `run-<pid>` whose runner and writers are all dead; returns their names."""
    removed = []
    for folder in sorted(sessions_root().glob("run-*")):
        pid = folder.name.removeprefix("run-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and not any(_is_written(path) for path in folder.iterdir()):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return removed


def _is_written(path: Path) -> bool:
    """True if a live process holds the writer's lock."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
