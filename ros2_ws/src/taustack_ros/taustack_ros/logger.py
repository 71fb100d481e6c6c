"""logger: everything that `topics.py` marks as logged goes into a bag, as bytes; nothing is decoded on the way."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from taustack.bags.recorder import Recorder
from taustack.bags.writer import BagTopic, BagWriter
from taustack.robot_folders import has_legs, robot_folder
from taustack.stop_flag import StopFlag
from taustack.strict_yaml import read_mapping
from taustack.version import code_version
from taustack_ros import parameters, topics
from taustack_ros.process import leave, run_node

DEPTH = 500  # messages that may wait for a slow reader; the publishers are best effort and never wait for it


class Logger(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("logger", start_parameter_services=False)  # nothing here is live, and each service costs every wake-up
        robot = parameters.text(self, "robot", "", "robot, by name or folder")
        folder = parameters.text(self, "folder", "", "folder of the bags; empty: nothing is logged")
        about = parameters.text(self, "about", "", "launch parameters to carry along, as JSON")
        run_dir = parameters.text(self, "run_dir", "", "folder for the count of messages, written at the end; empty: none")
        self._count_path = Path(run_dir) / "logger.json" if run_dir else None
        self._recorder: Recorder | None = None
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        if folder:
            self._start(Path(folder), about, robot_folder(robot), topics.LEG_TOPICS if has_legs(robot) else topics.TOPICS)
        self.create_timer(1.0, self._publish_diagnostics)

    def _start(self, folder: Path, about: str, robot: Path, known_topics: tuple[topics.Topic, ...]) -> None:
        logged = [topic for topic in known_topics if topic.logged]
        attachments = {"robot.yaml": (robot / "robot.yaml").read_bytes()}
        bag_topics = tuple(BagTopic(name=self.resolve_topic_name(t.name), type=type_name(t.type), qos=qos_of(t.qos)) for t in logged)
        known = {"code_version": code_version(), "launch": about, "robot": str(read_mapping(robot / "robot.yaml").get("name"))}

        def make() -> BagWriter:
            name = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            suffix = next(i for i in range(1000) if not (folder / f"{name}{f'_{i}' if i else ''}").exists())
            return BagWriter(folder / (f"{name}_{suffix}" if suffix else name), bag_topics, known, attachments)

        recorder = Recorder(make, folder, bag_topics, lambda text: self.get_logger().error(text))
        for topic, bag_topic in zip(logged, bag_topics, strict=True):
            self.create_subscription(topic.type, topic.name, writer_of(recorder, bag_topic.name, many=topic.many), ours(topic.qos), raw=True)
        self._recorder = recorder

    def run(self, stop: StopFlag) -> None:
        """Log until stopped, then end the bag."""
        gc.freeze()
        while not stop.wait(0.1):
            pass
        if self._recorder is None:
            return
        self._recorder.close()
        total = self._recorder.totals()
        cpu = os.times()
        self.get_logger().info(f"logged {total['written']} messages into {self._recorder.folder}: {total['dropped']} dropped, {total['lost']} lost on the way")
        if self._count_path is not None:
            report = {
                "bag": str(self._recorder.folder),
                "fault": self._recorder.fault,
                "total": total,
                "topics": self._recorder.audit(),
                "cpu_s": cpu.user + cpu.system,
            }
            self._count_path.parent.mkdir(parents=True, exist_ok=True)
            self._count_path.write_text(json.dumps(report, indent=1))

    def _publish_diagnostics(self) -> None:
        status = DiagnosticStatus(name="logger", hardware_id="", level=DiagnosticStatus.OK, message="off")
        if self._recorder is not None:
            total = self._recorder.totals()
            status.message = self._recorder.fault or "ok"
            if self._recorder.fault or total["dropped"]:
                status.level = DiagnosticStatus.ERROR if self._recorder.fault else DiagnosticStatus.WARN
            status.values = [KeyValue(key="bag", value=str(self._recorder.folder)), *(KeyValue(key=key, value=str(value)) for key, value in total.items())]
        out = DiagnosticArray(status=[status])
        out.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(out)


def writer_of(recorder: Recorder, name: str, *, many: bool) -> Callable[[bytes, dict[str, Any]], None]:
    """The callback of a topic: bytes and what the middleware knows of them."""

    def take(data: bytes, info: dict[str, Any]) -> None:
        recorder.take(name, bytes(data), time.time_ns(), info["source_timestamp"], 0 if many else info["publication_sequence_number"] or 0)

    return take


def type_name(kind: Any) -> str:
    """`package/msg/Name` of a message class."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def ours(qos: QoSProfile) -> QoSProfile:
    """The subscription's: a long queue; reliable only where a late comer gets the last message."""
    latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
    reliability = ReliabilityPolicy.RELIABLE if latched else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=DEPTH, reliability=reliability, durability=qos.durability)


def qos_of(qos: QoSProfile) -> dict[str, object]:
    """As rosbag2's metadata.yaml has it."""
    endless = {"sec": 9223372036, "nsec": 854775807}
    return {
        "history": qos.history.name.lower(), "depth": qos.depth, "reliability": qos.reliability.name.lower(), "durability": qos.durability.name.lower(),
        "deadline": dict(endless), "lifespan": dict(endless), "liveliness": "automatic", "liveliness_lease_duration": dict(endless),
        "avoid_ros_namespace_conventions": False,
    }  # fmt: skip


def main() -> None:
    leave(run_node(Logger))
