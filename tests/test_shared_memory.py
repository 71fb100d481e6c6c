"""Channels: what is read was written, whole; nobody waits; nothing stays behind."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taustack.errors import BadInput
from taustack.shared_memory import START, Reader, Writer, remove_session, session_folder, sessions_root, sweep_dead_sessions

HAMMER = """
import hashlib, sys
from pathlib import Path
from taustack.shared_memory import Writer
writer = Writer(Path(sys.argv[1]), 4096)
i = 0
while True:
    i += 1
    body = i.to_bytes(8, "little") + bytes([i % 251]) * (i * 37 % 4000)
    writer.write(body + hashlib.sha256(body).digest())
"""


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    return tmp_path / "channel"


def test_messages_arrive_in_order_and_once(channel: Path) -> None:
    with Writer(channel, 64) as writer, Reader(channel, 64) as reader:
        assert reader.new() == []
        assert reader.newest_message() is None
        for text in (b"one", b"two", b""):
            writer.write(text)
        assert reader.new() == [b"one", b"two", b""]
        assert reader.new() == []
        assert reader.newest_message() == b""


def test_a_slow_reader_gets_the_newest_and_counts_what_it_lost(channel: Path) -> None:
    with Writer(channel, 64, slots=8) as writer, Reader(channel, 64, slots=8) as reader:
        for i in range(20):
            writer.write(bytes([i]))
        assert reader.new() == [bytes([i]) for i in range(13, 20)]
        assert reader.lost == 13


def test_no_read_is_ever_torn_while_another_process_hammers(channel: Path) -> None:
    """The payloads carry their own SHA-256: whatever is returned must be whole, whatever the timing."""
    with Reader(channel, 4096) as reader:
        process = subprocess.Popen([sys.executable, "-c", HAMMER, str(channel)])
        try:
            seen, last, until = 0, 0, time.monotonic() + 5.0
            while time.monotonic() < until:
                for message in (*reader.new(), *([newest] if (newest := reader.newest_message()) else [])):
                    body, digest = message[:-32], message[-32:]
                    assert hashlib.sha256(body).digest() == digest
                    seen += 1
                    last = max(last, int.from_bytes(body[:8], "little"))
        finally:
            process.kill()
            process.wait()
    assert seen > 1000
    assert last > 1000


def test_a_slot_that_is_spoilt_is_not_returned(channel: Path) -> None:
    with Writer(channel, 64) as writer, Reader(channel, 64) as reader:
        writer.write(b"good")
        seq = writer.write(b"spoilt")
        writer.memory[writer.offset(seq) + 16] ^= 1
        assert reader.new() == [b"good"]
        assert reader.torn == 1


def test_a_writer_that_dies_within_a_slot_leaves_the_one_before(channel: Path) -> None:
    with Reader(channel, 64) as reader:
        with Writer(channel, 64) as writer:
            writer.write(b"whole")
            writer.memory[writer.offset(2) : writer.offset(2) + 8] = (0).to_bytes(8, "little")  # began, and died
        assert reader.newest_message() == b"whole"
        with Writer(channel, 64) as heir:
            assert heir.write(b"next") == 2
        assert reader.new() == [b"next"]


def test_a_channel_has_one_writer(channel: Path) -> None:
    with Writer(channel, 64), pytest.raises(BadInput, match="one writer a channel"):
        Writer(channel, 64)


def test_the_writers_lock_dies_with_its_process(channel: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HAMMER, str(channel)])
    while not channel.exists() or channel.stat().st_size <= START:
        time.sleep(0.01)
    time.sleep(0.2)
    with pytest.raises(BadInput):
        Writer(channel, 4096)
    process.send_signal(signal.SIGKILL)
    process.wait()
    Writer(channel, 4096).close()


def test_a_channel_of_another_size_is_refused(channel: Path) -> None:
    with Writer(channel, 64), pytest.raises(BadInput, match="built for another robot"):
        Reader(channel, 128)


def test_a_payload_that_is_too_large_is_refused(channel: Path) -> None:
    with Writer(channel, 8) as writer, pytest.raises(ValueError, match="hold 8"):
        writer.write(bytes(9))


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b"])
def test_a_session_never_leaves_its_folder(name: str) -> None:
    with pytest.raises(BadInput):
        session_folder(name)


def test_sessions_of_the_dead_are_swept_and_those_of_the_living_stay() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    orphan, alive = f"run-{dead.pid}", f"run-{os.getpid()}"
    for name in (orphan, alive):
        Writer(session_folder(name) / "plan", 64).close()
    try:
        assert orphan in sweep_dead_sessions()
        assert not (sessions_root() / orphan).exists()
        assert (sessions_root() / alive).exists()
    finally:
        remove_session(alive)


def test_a_session_whose_runner_died_stays_while_a_writer_lives() -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = f"run-{dead.pid}"
    with Writer(session_folder(name) / "command", 64):
        assert name not in sweep_dead_sessions()
    assert name in sweep_dead_sessions()
