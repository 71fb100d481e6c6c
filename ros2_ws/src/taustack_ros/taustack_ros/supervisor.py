"""supervisor: watches the others' signs of life, ends what hangs so that it is restarted, and presses the e-stop when it must."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import psutil
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from taustack_msgs import msg

from taustack.controllers.wire import Request, pack_request, reader, unpack_status, writer
from taustack.shared_memory import session_folder
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.plain_process import session_name
from taustack_ros.process import leave, run_node

BEAT_S = 0.05
HUNG_S = 2.0  # without a heartbeat a restartable node is killed, to be started anew
TRACKER_SILENT_S = 0.5
EXECUTOR_HUNG_S = 2.0


class Supervisor(Node):
    """See the module. Its own death is a silent e-stop source."""

    def __init__(self) -> None:
        super().__init__("supervisor", start_parameter_services=False)  # nothing here is live, and each service costs every wake-up
        self._restartable = parameters.text(self, "restartable", "", "nodes that may be killed when they hang, comma-separated").split(",")
        self._bring_up = [name for name in parameters.text(self, "bring_up", "", "nodes in the order they come up, comma-separated").split(",") if name]
        self._status = reader(session_folder(session_name()), "status")
        self._heard: dict[str, float] = {}
        self._processes: dict[str, psutil.Process] = {}
        self._met: set[str] = set()
        self._started = time.monotonic()
        self._tracker_seen = False
        self._tracker: dict[str, Any] = {}
        self._reason = ""
        self._looked_at = time.monotonic()
        self._estop = writer(session_folder(session_name()), "supervisor")
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        self.create_subscription(topics.HEARTBEAT.type, topics.HEARTBEAT.name, self._on_heartbeat, topics.HEARTBEAT.qos)
        self.create_timer(0.25, self._look)
        self.create_timer(1.0, self._publish_diagnostics)

    def run(self, stop: StopFlag) -> None:
        """Watch until stopped; then say so, for a source that is silent counts as pressed.

        The signs of life go through shared memory, from this thread: discovery of a new participant may hold up a publisher for
        longer than an e-stop may be silent. They end when the executor does not come round any more.
        """
        while not stop.wait(BEAT_S):
            if time.monotonic() - self._looked_at < EXECUTOR_HUNG_S:
                self._beat()
        self._say(pressed=True, reason="the supervisor stops")

    def _on_heartbeat(self, message: msg.Heartbeat) -> None:
        known = self._processes.get(message.node)
        if known is None or known.pid != message.pid:
            process = node_process(message.node, message.pid)
            if process is None:  # a client of the graph, or somebody's lie: not ours to watch, and never to kill
                return
            if message.node in self._met:
                self.get_logger().info(f"up again: {message.node}")
            self._met.add(message.node)
            self._processes[message.node] = process
        self._heard[message.node] = time.monotonic()

    def _beat(self) -> None:
        """Sign of life as e-stop source; pressed while the tracker is silent."""
        data = self._status.newest_message()
        if data is not None:
            self._tracker_seen, self._tracker = True, unpack_status(data)
            silent = time.monotonic() - float(self._tracker["t"]) > TRACKER_SILENT_S
            self._reason = "no sign of life from the tracker" if silent else ""
        self._say(pressed=bool(self._reason), reason=self._reason)

    def _say(self, *, pressed: bool, reason: str) -> None:
        self._estop.write(pack_request(Request(t=time.monotonic(), estop=pressed, estop_reason=reason)))

    def _look(self) -> None:
        """Tell what came up, in order; kill what hangs and may be restarted."""
        now = self._looked_at = time.monotonic()
        while self._bring_up and (self._bring_up[0] in self._heard or (self._bring_up[0] == "tracker" and self._tracker_seen)):
            name = self._bring_up.pop(0)
            self.get_logger().info(f"up: {name} ({now - self._started:.1f} s)")
        for name, heard in list(self._heard.items()):
            if now - heard > HUNG_S and name in self._restartable:
                del self._heard[name]
                process = self._processes.pop(name, None)
                if process is not None and process.is_running():
                    self.get_logger().error(f"{name} hangs for {now - heard:.1f} s: killed, to be started anew")
                    os.kill(process.pid, signal.SIGKILL)

    def _publish_diagnostics(self) -> None:
        """CPU, memory, threads and descriptors of every node; timing, ages and counts of the tracker."""
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        if self._tracker:
            array.status.append(tracker_status(self._tracker))
        for name, process in list(self._processes.items()):
            try:
                with process.oneshot():
                    values = {
                        "cpu_percent": process.cpu_percent(), "rss_mb": process.memory_info().rss / 1e6, "threads": process.num_threads(),
                        "descriptors": process.num_fds(),
                    }  # fmt: skip
            except psutil.Error:
                continue
            silent = time.monotonic() - self._heard.get(name, 0.0) > 0.5
            status = DiagnosticStatus(level=DiagnosticStatus.WARN if silent else DiagnosticStatus.OK, name=name, message="silent" if silent else "alive")
            status.values = [KeyValue(key=key, value=f"{value:.4g}") for key, value in values.items()]
            array.status.append(status)
        self._diagnostics.publish(array)


def node_process(name: str, pid: int) -> psutil.Process | None:
    """The process, if it runs as that node: whoever may publish a heartbeat must not choose what is killed."""
    try:
        process = psutil.Process(pid)
        return process if f"__node:={name}" in process.cmdline() else None
    except (psutil.Error, ValueError):
        return None


def tracker_status(status: dict[str, Any]) -> DiagnosticStatus:
    """The tracker's part of /diagnostics."""
    values = {f"{group} {key}": status[group][key] for group in ("lateness_ms", "work_ms", "state_age_ms") for key in ("p50", "p99", "p999")}
    values |= {key: status[key] for key in ("skipped", "accepted", "deadline_misses", "steal_share", "epoch")}
    for group in ("dropped", "sensor_faults", "acted"):
        values |= {f"{group} {key}": value for key, value in status[group].items()}
    bad = bool(status["estop"]) or status["state"] in ("damped", "idle")
    out = DiagnosticStatus(level=DiagnosticStatus.ERROR if bad else DiagnosticStatus.OK, name="tracker", message=f"{status['state']}: {status['reason']}")
    out.values = [KeyValue(key=key, value=f"{value:.4g}") for key, value in values.items()]
    return out


def main() -> None:
    leave(run_node(Supervisor, priority=35))
