"""Bags: what is written is read by others, what is damaged is told, what is hostile is refused."""

from __future__ import annotations

import io
import json
import random
import resource
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars
import pytest
import zstandard
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from taustack.bags.check import look
from taustack.bags.reader import decoded, open_bag
from taustack.bags.recorder import Recorder
from taustack.bags.recover import recover
from taustack.bags.types import definition, typestore
from taustack.bags.writer import FLUSH_S, LONGEST_S, BagTopic, BagWriter
from taustack.cli import main
from taustack.config import RobotConfig
from taustack.errors import BadInput

pytestmark = pytest.mark.no_cover  # tracing makes the ONNX exporter, or the reading of bags, three times as slow


@pytest.fixture(scope="module")
def bag(log_episodes: Callable[..., Path]) -> Path:
    """The log of two real episodes."""
    return log_episodes("two", count=2, seed=4)


def test_rosbags_and_mcap_read_every_message_that_we_count(bag: Path) -> None:
    report = look(open_bag(bag))
    ours = {name: topic.count for name, topic in report.topics.items()}
    assert ours["/track"] > 20
    with Reader(bag) as reader:
        assert {name: info.msgcount for name, info in reader.topics.items() if info.msgcount} == ours
    with AnyReader([bag], default_typestore=typestore()) as reader:
        assert sum(1 for _ in reader.messages()) == sum(ours.values())
    with (bag / f"{bag.name}_0.mcap").open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True)
        assert sum(1 for _ in reader.iter_messages()) == sum(ours.values())
        assert {attachment.name for attachment in reader.iter_attachments()} == {"robot.yaml"}
        assert next(iter(reader.iter_metadata())).metadata["robot"] == "panda"


def test_the_rows_of_the_tracker_come_back_as_they_were(bag: Path, robot: RobotConfig) -> None:
    tracks = [decoded(message) for message in open_bag(bag).messages({"track"})]
    assert tracks[0].name == list(robot.joint_names)
    ticks = np.concatenate([track.tick for track in tracks if track.epoch[0] == 0])
    np.testing.assert_array_equal(np.diff(ticks.astype(int)), 1)
    np.testing.assert_allclose(tracks[0].q.reshape(-1, robot.n)[0], robot.home, atol=1e-3)


def test_a_sound_bag_has_nothing_wrong_and_info_names_what_it_carries(bag: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bag", "info", str(bag), "--json", str(tmp_path / "info.json")]) == 0
    said = capsys.readouterr().out
    assert "taustack_msgs/msg/Track" in said
    assert "carries robot.yaml" in said
    assert json.loads((tmp_path / "info.json").read_text())["topics"]["/track"]["count"] > 20


def test_a_cut_bag_is_told_and_what_is_left_is_saved(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = bag / f"{bag.name}_0.mcap"
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    assert main(["bag", "check", str(cut)]) == 1
    assert "cut.mcap: cut or altered after" in capsys.readouterr().out
    assert main(["bag", "recover", str(cut), "--out", str(tmp_path / "saved")]) == 0
    saved, all_of_it = look(open_bag(tmp_path / "saved")), look(open_bag(bag))
    assert 0.3 < saved.topics["/track"].count / all_of_it.topics["/track"].count < 1
    with Reader(tmp_path / "saved") as reader:
        assert reader.message_count == sum(topic.count for topic in saved.topics.values())
    assert main(["bag", "recover", str(cut), "--out", str(tmp_path / "saved")]) == 2


@pytest.mark.parametrize("data", [b"", b"no bag at all", b"\x89MCAP0\r\n"])
def test_what_is_no_bag_is_said_to_be_none(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.mcap"
    path.write_bytes(data)
    assert main(["bag", "check", str(path)]) == 1
    assert "x.mcap: cut or altered after 0 messages" in capsys.readouterr().out
    assert main(["bag", "recover", str(path), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_nothing_there_is_an_error_that_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "info", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: got no such folder or file" in capsys.readouterr().err
    assert main(["bag", "info", str(tmp_path)]) == 2


def test_ten_thousand_mutations_never_crash_hang_or_eat_memory(bag: Path, tmp_path: Path) -> None:
    whole = (bag / f"{bag.name}_0.mcap").read_bytes()[:60_000]
    rng, path = random.Random(11), tmp_path / "m.mcap"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    longest = 0.0
    for i in range(10_000):
        data = bytearray(whole[: rng.choice([2_000, 8_000, 20_000, 60_000]) if i % 10 else 60_000])
        for _ in range(rng.choice([1, 3, 30])):
            at = rng.randrange(len(data))
            data[at] = rng.choice([0, 255, rng.randrange(256)])
        if rng.random() < 0.2:
            at = rng.randrange(len(data) - 8)
            data[at : at + 8] = struct.pack("<Q", rng.choice([2**63, 2**40, 2**31, len(data)]))
        path.write_bytes(data)
        began = time.thread_time()
        if i % 10:
            for message in open_bag(path).messages():
                decoded(message)
        else:
            look(open_bag(path))
        longest = max(longest, time.thread_time() - began)
    assert longest < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def hostile(path: Path, chunk: bytes, size: int, compression: str = "zstd") -> Path:
    """An MCAP file with one chunk that says it holds `size` bytes."""
    stream = io.BytesIO()
    writer = Writer(stream, compression=CompressionType.NONE)
    writer.start("ros2", "x")
    name = compression.encode()
    body = struct.pack("<QQQI", 0, 0, size, 0) + struct.pack("<I", len(name)) + name + struct.pack("<Q", len(chunk)) + chunk
    path.write_bytes(stream.getvalue() + struct.pack("<BQ", 6, len(body)) + body)
    return path


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = zstandard.ZstdCompressor().compress(b"\0" * (300 << 20))
    assert len(bomb) < 100_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, size in ((hostile(tmp_path / "a.mcap", bomb, 300 << 20), "honest"), (hostile(tmp_path / "b.mcap", bomb, 1000), "a lie")):
        bag = open_bag(path)
        assert list(bag.messages()) == [], size
        assert any("chunk" in problem for problem in bag.problems)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_a_record_that_says_it_is_huge_is_not_read(tmp_path: Path) -> None:
    path = hostile(tmp_path / "a.mcap", b"", 0)
    path.write_bytes(path.read_bytes() + struct.pack("<BQ", 9, 2**62) + b"x" * 100)
    bag = open_bag(path)
    assert list(bag.messages()) == []
    assert not bag.whole


def test_another_definition_of_a_message_of_ours_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "other.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2", "x")
        schema = writer.register_schema("taustack_msgs/msg/Track", "ros2msg", definition("taustack_msgs/msg/Track").replace("lost", "gone").encode())
        channel = writer.register_channel("/track", "cdr", schema)
        writer.add_message(channel, 1, b"\0\1\0\0", 1)
        writer.finish()
    bag = open_bag(path)
    assert [message.type for message in bag.messages()] == ["taustack_msgs/msg/Track (another definition)"]
    assert any("has another definition of taustack_msgs/msg/Track" in problem for problem in bag.problems)


def test_check_finds_gaps_lost_ticks_clock_jumps_and_nan(bag: Path, tmp_path: Path) -> None:
    types = typestore()
    messages = list(open_bag(bag).messages({"track"}))[:20]
    writer = BagWriter(tmp_path / "bad", [BagTopic(name="/track", type="taustack_msgs/msg/Track")], {})
    late = 0
    for i, message in enumerate(messages):
        track = decoded(message)
        if i == 5:
            continue  # fifty ticks
        if i == 8:
            track.q = np.array(track.q)
            track.q[3] = np.nan
        if i == 10:
            late = 2_000_000_000
        if i == 15:
            late = -3_600_000_000_000
        writer.write("/track", bytes(types.serialize_cdr(track, message.type)), message.log_ns + late, message.publish_ns + late, i)
    writer.close()
    findings = "\n".join(look(open_bag(tmp_path / "bad")).findings)
    assert "50 ticks missing" in findings
    assert "q has values that are not finite (1 messages)" in findings
    assert "a gap of 2.10 s" in findings
    assert "the clock went back by 3601.9 s" in findings


def test_long_bags_are_split_and_stay_one(tmp_path: Path, bag: Path) -> None:
    messages = list(open_bag(bag).messages({"track"}))
    writer = BagWriter(tmp_path / "split", [BagTopic(name="/track", type="taustack_msgs/msg/Track")], {}, largest_bytes=30_000)
    for i, message in enumerate(messages):
        writer.write("/track", message.data, message.log_ns, message.publish_ns, i)
        writer.flush()
    writer.close()
    assert len(list((tmp_path / "split").glob("*.mcap"))) > 3
    with Reader(tmp_path / "split") as reader:
        assert [data for _, _, data in reader.messages()] == [message.data for message in messages]
    assert [message.data for message in open_bag(tmp_path / "split").messages()] == [message.data for message in messages]
    with pytest.raises(BadInput, match="split"):
        BagWriter(tmp_path / "split", [], {})


TOPIC = (BagTopic(name="/track", type="taustack_msgs/msg/Track"),)


def test_the_index_of_a_file_stays_under_a_megabyte(tmp_path: Path) -> None:
    """It is in memory until the file ends: as many chunks as one file takes by default, of as many topics as a robot has."""
    topics = tuple(BagTopic(name=f"/topic{i}", type="std_msgs/msg/String") for i in range(14))
    writer = BagWriter(tmp_path / "bag", topics, {})
    tracemalloc.start()
    try:
        for chunk in range(round(LONGEST_S / FLUSH_S)):
            for topic in topics:
                writer.write(topic.name, bytes(100), chunk, chunk)
            writer.flush()
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        writer.close()
    assert len(writer.files) == 1
    assert grown < 1e6


def test_the_recorder_counts_what_a_slow_disk_costs_and_never_waits(tmp_path: Path) -> None:
    class Slow(BagWriter):
        def write(self, *message: object, **more: object) -> None:
            time.sleep(0.02)
            super().write(*message, **more)  # type: ignore[arg-type]

    recorder = Recorder(lambda: Slow(tmp_path / "bag", TOPIC, {}), tmp_path, TOPIC, lambda _: None, least_free_bytes=0, queue_bytes=5_000)
    began = time.thread_time()
    for i in range(1, 201):
        recorder.take("/track", bytes(100), i, i, i if i < 100 else i + 7)
    assert time.thread_time() - began < 0.5
    recorder.close(20.0)
    counts = recorder.audit()["/track"]
    assert counts["received"] == 200
    assert counts["dropped"] > 100
    assert counts["written"] + counts["dropped"] == 200
    assert counts["lost"] == 7
    assert look(open_bag(tmp_path / "bag")).topics["/track"].count == counts["written"]


def test_what_comes_after_the_end_belongs_to_no_bag(tmp_path: Path) -> None:
    """An executor goes on while the bag is ended: such a message was counted as received, and neither as written nor as dropped."""
    recorder = Recorder(lambda: BagWriter(tmp_path / "bag", TOPIC, {}), tmp_path, TOPIC, lambda _: None, least_free_bytes=0)
    recorder.take("/track", b"1234", 1, 1, 1)
    recorder.close()
    recorder.take("/track", b"1234", 2, 2, 2)
    assert recorder.audit()["/track"] == {"received": 1, "written": 1, "dropped": 0, "lost": 0}


def test_each_message_of_a_disk_that_fails_or_hangs_is_accounted_for(tmp_path: Path) -> None:
    class Failing(BagWriter):
        def write(self, *message: object, **more: object) -> None:
            raise OSError("no such device")

    class Hanging(BagWriter):
        def write(self, *message: object, **more: object) -> None:
            time.sleep(0.5)
            super().write(*message, **more)  # type: ignore[arg-type]

    for kind, patience_s in ((Failing, 5.0), (Hanging, 0.1)):
        folder = tmp_path / kind.__name__
        recorder = Recorder(lambda kind=kind, folder=folder: kind(folder, TOPIC, {}), tmp_path, TOPIC, lambda _: None, least_free_bytes=0)  # type: ignore[misc]
        for i in range(1, 6):
            recorder.take("/track", b"1234", i, i, i)
        recorder.close(patience_s)
        recorder.close(5.0)  # by now the one that was being written is
        counts = recorder.audit()["/track"]
        assert counts["received"] == counts["written"] + counts["dropped"] == 5
        assert counts["dropped"] >= 4


def test_the_disk_guard_ends_the_bag_and_says_so_once(tmp_path: Path) -> None:
    told: list[str] = []
    recorder = Recorder(lambda: BagWriter(tmp_path / "bag", TOPIC, {}), tmp_path, TOPIC, told.append, least_free_bytes=1 << 60)
    time.sleep(0.3)
    recorder.take("/track", b"1234", 1, 1, 1)
    recorder.close()
    assert len(told) == 1
    assert "GiB left on the disk" in told[0]
    assert recorder.audit()["/track"] == {"received": 1, "written": 0, "dropped": 1, "lost": 0}


def test_recover_leaves_out_types_that_nobody_knows(tmp_path: Path) -> None:
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as stream:
        writer = Writer(stream)
        writer.start("ros2", "x")
        for name, topic in (("who/msg/Knows", "/foreign"), ("std_msgs/msg/String", "/chatter")):
            channel = writer.register_channel(topic, "cdr", writer.register_schema(name, "ros2msg", b"string data"))
            writer.add_message(channel, 1, b"\0\1\0\0\1\0\0\0\0", 1)
        writer.finish()
    bag, counts = recover(path, tmp_path / "out")
    assert counts == {"/chatter": 1}
    assert any("who/msg/Knows is not known" in problem for problem in bag.problems)


def test_the_parquet_files_hold_every_row_and_polars_reads_them(bag: Path, tmp_path: Path, robot: RobotConfig, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bag", "export", str(bag), "--out", str(tmp_path / "tables")]) == 0
    tracks = [decoded(message) for message in open_bag(bag).messages({"track"})]
    table = polars.read_parquet(tmp_path / "tables" / "track.parquet")
    assert len(table) == sum(len(track.t) for track in tracks)
    np.testing.assert_array_equal(table["tick"].to_numpy(), np.concatenate([track.tick for track in tracks]))
    joint = robot.joint_names[3]
    np.testing.assert_array_equal(table[f"q_ref.{joint}"].to_numpy(), np.concatenate([track.q_ref.reshape(-1, robot.n)[:, 3] for track in tracks]))
    counts = {name: topic.count for name, topic in look(open_bag(bag)).topics.items()}
    assert len(polars.read_parquet(tmp_path / "tables" / "plan.parquet")) == counts["/plan"]
    assert len(polars.read_parquet(tmp_path / "tables" / "robot_state.parquet")) == counts["/robot_state"]
    assert main(["bag", "export", str(bag), "--out", str(tmp_path / "tables")]) == 2
    assert "a folder that can be made anew" in capsys.readouterr().err


def test_the_picture_is_drawn(bag: Path, tmp_path: Path) -> None:
    assert main(["bag", "plot", str(bag), "--out", str(tmp_path / "bag.png")]) == 0
    assert (tmp_path / "bag.png").stat().st_size > 20_000
