"""What is in a bag, and what is wrong with it: gaps, rates, clock jumps, values that are not finite, joint order."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from taustack.bags.reader import Bag, base_name, decoded

GAP_FACTOR, LEAST_GAP_S = 5.0, 0.25  # of the topic's median period, and at least; shorter ones are jitter
CLOCK_JUMP_S = 1.0
MOST_FINDINGS = 50
STEADY = ("robot_state", "track", "joint_states", "command", "safety")  # topics that speak all the time


@dataclass
class TopicReport:
    """One topic."""

    type: str
    count: int = 0
    bytes: int = 0
    times_ns: array[int] = field(default_factory=lambda: array("q"))
    lost: int = 0
    undecodable: int = 0
    _sequence: int = 0

    def add(self, t_ns: int, size: int, sequence: int) -> None:
        self.count += 1
        self.bytes += size
        self.times_ns.append(t_ns)
        if 0 < self._sequence < sequence < self._sequence + 1_000_000:
            self.lost += sequence - self._sequence - 1
        self._sequence = sequence

    @property
    def hz(self) -> float:
        """Messages a second, by the median period."""
        if self.count < 3:
            return 0.0
        period = float(np.median(np.diff(np.sort(np.array(self.times_ns, dtype=np.float64))))) / 1e9
        return 1 / period if period > 0 else 0.0


@dataclass
class BagReport:
    """Counts by topic, and findings: one sentence each."""

    topics: dict[str, TopicReport] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    joint_names: list[str] = field(default_factory=list)
    first_ns: int = 0
    last_ns: int = 0

    def find(self, text: str) -> None:
        if len(self.findings) < MOST_FINDINGS and text not in self.findings:
            self.findings.append(text)


def look(bag: Bag) -> BagReport:
    """Read the whole bag once."""
    report, last_log, bad = BagReport(), 0, Counter[str]()
    tick = (-1, -1)
    for message in bag.messages():
        topic = report.topics.setdefault(message.topic, TopicReport(message.type))
        topic.add(message.publish_ns or message.log_ns, len(message.data), message.sequence)
        report.first_ns = min(report.first_ns or message.log_ns, message.log_ns)
        report.last_ns = max(report.last_ns, message.log_ns)
        if last_log and message.log_ns < last_log - CLOCK_JUMP_S * 1e9:
            report.find(f"the clock went back by {(last_log - message.log_ns) / 1e9:.1f} s at {last_log / 1e9:.3f} s")
        last_log = message.log_ns
        name = base_name(message.topic)
        if name not in ("robot_state", "track", "plan"):
            continue
        content = decoded(message)
        if content is None:
            topic.undecodable += 1
            continue
        _joint_order(report, message.topic, content)
        bad.update(f"{message.topic}: {key} has values that are not finite" for key, values in _vectors(content).items() if not np.isfinite(values).all())
        if name == "track" and len(content.tick) and len(content.epoch):
            tick = _ticks(report, content, tick)
    for text, count in bad.items():
        report.find(f"{text} ({count} messages)")
    for name_of, topic in report.topics.items():
        _gaps(report, name_of, topic)
    report.findings = bag.problems + report.findings
    return report


def _vectors(content: Any) -> dict[str, Any]:
    return {key: np.asarray(getattr(content, key)) for key in ("q", "dq", "q_ref", "dq_ref", "torque", "actions", "states", "t") if hasattr(content, key)}


def _joint_order(report: BagReport, topic: str, content: Any) -> None:
    names = list(content.name)
    if not report.joint_names:
        report.joint_names = names
    elif names != report.joint_names:
        report.find(f"{topic}: joints {names}, before {report.joint_names}")


def _ticks(report: BagReport, content: Any, before: tuple[int, int]) -> tuple[int, int]:
    """Rows of the tracker: lost ones, and jumps of their clock. `before`: epoch and tick of the last row."""
    epoch, own = int(content.epoch[-1]), np.asarray(content.tick).astype(np.int64)
    ticks = np.concatenate([[before[1]], own]) if before[0] == int(content.epoch[0]) else own
    steps = np.diff(ticks)
    if (steps > 1).any():
        report.find(f"track: {int((steps[steps > 1] - 1).sum())} ticks missing before tick {int(ticks[1:][steps > 1][0])}")
    if (steps < 1).any():
        report.find(f"track: ticks begin anew at {int(ticks[1:][steps < 1][0])} without a new epoch")
    back = np.diff(np.asarray(content.t))
    if (np.abs(back) > CLOCK_JUMP_S).any():
        report.find(f"track: the driver's clock jumps by {float(back[np.argmax(np.abs(back))]):.1f} s")
    return epoch, int(ticks[-1])


def _gaps(report: BagReport, name: str, topic: TopicReport) -> None:
    if topic.lost:
        report.find(f"{name}: {topic.lost} messages were lost on the way")
    if topic.undecodable:
        report.find(f"{name}: {topic.undecodable} messages are none of {topic.type}")
    if base_name(name) not in STEADY or topic.count < 10:
        return
    steps = np.diff(np.array(topic.times_ns, dtype=np.float64)) / 1e9
    largest = float(steps.max())
    if largest > max(LEAST_GAP_S, GAP_FACTOR / topic.hz if topic.hz else LEAST_GAP_S):
        report.find(f"{name}: a gap of {largest:.2f} s at {topic.times_ns[int(steps.argmax())] / 1e9:.3f} s ({topic.hz:.0f} Hz otherwise)")
