"""`kill -9` at ten random moments: less than a second lost each time, and the rest is saved without a hole."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from taustack.bags.reader import open_bag
from taustack.bags.recover import recover

pytestmark = pytest.mark.no_cover

WRITES = """
import itertools, sys, time
from pathlib import Path
from taustack.bags.reader import open_bag
from taustack.bags.recorder import Recorder
from taustack.bags.writer import BagTopic, BagWriter
folder, source = Path(sys.argv[1]), open_bag(Path(sys.argv[2]))
messages = [m.data for m in source.messages({"track"})]
topics = (BagTopic(name="/track", type="taustack_msgs/msg/Track"),)
recorder = Recorder(lambda: BagWriter(folder, topics, {"robot": "panda"}, longest_s=1.3), folder, topics, print, least_free_bytes=0)
for number in itertools.count(1):
    now = time.time_ns()
    recorder.take("/track", messages[number % len(messages)], now, now, number)
    if number == 1:
        print("READY", flush=True)
    time.sleep(0.004)
"""


def test_a_logger_that_is_killed_loses_less_than_a_second(log_episodes: Callable[..., Path], tmp_path: Path) -> None:
    source, rng, cut = log_episodes("log", count=1, seed=3), random.Random(4), 0
    for turn in range(10):
        folder = tmp_path / f"bag{turn}"
        writer = subprocess.Popen([sys.executable, "-c", WRITES, str(folder), str(source)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "READY\n"
        time.sleep(rng.uniform(0.2, 3.0))
        writer.kill()
        killed_ns = time.time_ns()
        writer.wait()
        writer.stdout.close()
        bag, counts = recover(folder, tmp_path / f"saved{turn}")
        cut += not bag.whole
        saved = list(open_bag(tmp_path / f"saved{turn}").messages())
        assert [message.sequence for message in saved] == list(range(1, counts["/track"] + 1))
        assert killed_ns - saved[-1].log_ns < 1e9
    assert cut > 5  # the others were killed just when a file was full
