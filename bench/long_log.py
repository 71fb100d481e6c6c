"""Hours of log into a dataset: `python bench/long_log.py --hours 10`. Memory, and how many times as fast as the robot moved.

The log is that of simulated reaches, repeated with stamps that go on: all topics, in files as the logger splits them. Half of its hours
lie between two reaches, where nothing is logged; the speed counts only those in which the robot was (`--hours 20.2` has ten of them). Gathering and
writing the dataset run in a process of their own, whose peak memory is read at its end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from taustack.bags.reader import BagMessage, decoded, open_bag
from taustack.bags.types import encode
from taustack.bags.writer import BagTopic, BagWriter

EPISODES = 60
GATHER = """
import json, resource, sys, time
from pathlib import Path
from taustack.config import load_robot
from taustack.models.dataset import write_dataset
from taustack.retraining.data import gather
robot, began = load_robot(sys.argv[1]), time.perf_counter()
data = gather([Path(sys.argv[2])], robot)
card = write_dataset(Path(sys.argv[3]), data.runs, robot=robot.name, joint_names=robot.joint_names, dt=robot.rates.control_dt, scenario="logs", seed=0)
took, peak = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
cut_h = sum(data.harvest.cut_s.values()) / 3600
print(json.dumps({"wall_s": took, "peak_gb": peak, "hours_kept": card.minutes / 60, "hours_cut": cut_h, "runs": len(card.runs)}))
"""


def later(message: BagMessage, shift_s: float, ticks: int, turn: int) -> bytes:
    """The bytes of a message `shift_s` later; only rows of the tracker are changed, nothing else is read."""
    content = decoded(message) if message.topic == "/track" else None
    if content is None:
        return message.data
    content.t, content.tick, content.epoch = content.t + shift_s, content.tick + ticks, content.epoch + turn * EPISODES
    return encode(message.type, content)


def repeat(source: Path, target: Path, hours: float) -> None:
    """A bag of so many hours out of a short one."""
    bag = open_bag(source)
    messages = list(bag.messages())
    topics = [BagTopic(name=name, type=kind) for name, kind in bag.channels.items()]
    writer = BagWriter(target, topics, bag.about, bag.attachments)
    first, last = messages[0].log_ns, messages[-1].log_ns
    length_s = 1.0 + (last - first) / 1e9
    counts: Counter[str] = Counter()
    for turn in range(round(hours * 3600 / length_s)):
        shift_s = turn * length_s
        for message in messages:
            counts[message.topic] += 1
            stamp = message.log_ns + round(shift_s * 1e9)
            writer.write(message.topic, later(message, shift_s, turn * 10_000_000, turn), stamp, stamp, counts[message.topic])
    writer.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taustack-long-") as name:
        folder = Path(name)
        simulate = ["sim", options.robot, "reach", "--episodes", str(EPISODES), "--seed", "300", "--log", str(folder / "short")]
        subprocess.run([sys.executable, "-c", "import sys; from taustack.cli import main; sys.exit(main(sys.argv[1:]))", *simulate], check=True)
        began = time.perf_counter()
        repeat(folder / "short", folder / "long", options.hours)
        size_gb = sum(file.stat().st_size for file in (folder / "long").iterdir()) / 1e9
        print(f"{options.hours:g} h of log, {size_gb:.1f} GB, written in {time.perf_counter() - began:.0f} s", flush=True)
        out = subprocess.run(
            [sys.executable, "-c", GATHER, options.robot, str(folder / "long"), str(folder / "dataset")], check=True, stdout=subprocess.PIPE, text=True
        ).stdout
    result = json.loads(out.strip().splitlines()[-1])
    logged_s = 3600 * (result["hours_kept"] + result["hours_cut"])
    result |= {"hours": options.hours, "gb": size_gb, "times_real_time": logged_s / result["wall_s"]}
    print(json.dumps(result, indent=1))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return 0 if result["peak_gb"] <= 2.0 and result["times_real_time"] >= 100 else 1


if __name__ == "__main__":
    sys.exit(main())
