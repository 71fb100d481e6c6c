"""Takes encoded messages from a thread that must not wait, and writes them from one of its own. What cannot be written is counted."""

from __future__ import annotations

import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from taustack.bags.writer import FLUSH_S, BagTopic, BagWriter

LEAST_FREE_BYTES = 1 << 30
LARGEST_QUEUE_BYTES = 64 << 20
LOOK_S = 1.0


class DiskNearlyFull(OSError):
    """The disk guard: what is left is for others."""


class Recorder:
    """`take` never blocks. A disk that is full, slow or gone costs messages, which are counted by topic.

    Args:
        make: opens a bag.
        disk: folder on the disk that it is written to; need not be there yet.
        topics: what may come.
        least_free_bytes: writing stops with less than this left on the disk.
        tell: called once with what is wrong, when it begins.
    """

    def __init__(
        self, make: Callable[[], BagWriter], disk: Path, topics: tuple[BagTopic, ...], tell: Callable[[str], object], least_free_bytes: int = LEAST_FREE_BYTES,
        queue_bytes: int = LARGEST_QUEUE_BYTES,
    ) -> None:  # fmt: skip
        self.received, self.written, self.dropped, self.lost = ({topic.name: 0 for topic in topics} for _ in range(4))
        self.fault = ""
        self.folder: Path | None = None
        self._make, self._disk, self._tell = make, disk.absolute(), tell
        self._least_free, self._queue_bytes = least_free_bytes, queue_bytes
        self._waiting: deque[tuple[str, bytes, int, int, int]] = deque()
        self._bytes = 0
        self._sequence: dict[str, int] = {}
        self._lock, self._wake, self._ending = threading.Lock(), threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="bag", daemon=True)
        self._thread.start()

    def take(self, topic: str, data: bytes, log_ns: int, publish_ns: int, sequence: int) -> None:
        """Queue a message, or count it as dropped. `sequence`: of its publisher; a gap in it was lost on the way to us.

        One that comes after the end belongs to no bag, and is not counted.
        """
        with self._lock:
            if self._ending:
                return
            self.received[topic] += 1
            before = self._sequence.get(topic)
            if before is not None and before < sequence < before + 1_000_000:
                self.lost[topic] += sequence - before - 1
            self._sequence[topic] = sequence
            if self.fault or self._bytes + len(data) > self._queue_bytes:
                self.dropped[topic] += 1
                return
            self._waiting.append((topic, data, log_ns, publish_ns, sequence))
            self._bytes += len(data)
        self._wake.set()

    def close(self, patience_s: float = 5.0) -> None:
        """Write what waits, then end the bag; what a slow disk has not taken after patience_s [s] is dropped, and counted."""
        with self._lock:
            self._ending = True
        self._wake.set()
        self._thread.join(patience_s)
        self._drop_what_waits()

    def audit(self) -> dict[str, dict[str, int]]:
        """Counts by topic."""
        return {
            name: {"received": self.received[name], "written": self.written[name], "dropped": self.dropped[name], "lost": self.lost[name]}
            for name in self.received
        }

    def totals(self) -> dict[str, int]:
        """Counts over all topics."""
        counts = {"received": self.received, "written": self.written, "dropped": self.dropped, "lost": self.lost}
        return {name: sum(by_topic.values()) for name, by_topic in counts.items()}

    def _work(self) -> None:
        writer: BagWriter | None = None
        try:
            self._check_space()
            writer = self._make()
            self.folder = writer.folder
            looked = time.monotonic()
            while not (self._ending and not self._waiting):
                self._wake.wait(LOOK_S / 2)
                self._wake.clear()
                if time.monotonic() - looked > LOOK_S:
                    looked = time.monotonic()
                    self._check_space()
                self._write(writer)
            writer.close()
        except DiskNearlyFull as error:
            self._fail(str(error))
            if writer is not None:
                writer.close()
        except Exception as error:  # whatever it is, the robot goes on and the messages are counted
            self._fail(f"{type(error).__name__}: {error}")
            if writer is not None:
                writer.abandon()

    def _write(self, writer: BagWriter) -> None:
        while message := self._next():
            topic, data, *times = message
            try:
                writer.write(topic, data, *times)
            except Exception:
                self.dropped[topic] += 1
                raise
            self.written[topic] += 1
        writer.flush(FLUSH_S)

    def _next(self) -> tuple[str, bytes, int, int, int] | None:
        with self._lock:
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            self._bytes -= len(message[1])
            return message

    def _check_space(self) -> None:
        disk = self._disk
        while not disk.exists():
            disk = disk.parent
        free = shutil.disk_usage(disk).free
        if free < self._least_free:
            raise DiskNearlyFull(f"{free / 2**30:.2f} GiB left on the disk of {disk}, fewer than {self._least_free / 2**30:g}")

    def _fail(self, why: str) -> None:
        with self._lock:
            self.fault = why
        self._drop_what_waits()
        self._tell(f"nothing is logged any more, the robot goes on: {why}")

    def _drop_what_waits(self) -> None:
        with self._lock:
            for topic, *_ in self._waiting:
                self.dropped[topic] += 1
            self._waiting.clear()
            self._bytes = 0
