"""walk_dynamics_server: the authority on which bundle of a robot on legs is live. Verifies, announces, swaps."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, KeyValue
from rclpy.node import Node
from taustack_msgs import msg

from taustack.controllers.walk_bundle import WalkBundle, load_walk_bundle
from taustack.legged import load_legged
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.live_bundle import LiveBundle
from taustack_ros.process import leave, run_node


class WalkDynamicsServer(Node):
    """See the module. Without a fixed `bundle` it follows the registry's live pointer; a bundle that fails leaves the old one live."""

    def __init__(self) -> None:
        super().__init__("dynamics_server")
        robot = load_legged(parameters.text(self, "robot", "", "robot on legs, by name or folder"))
        self._model = self.create_publisher(topics.MODEL.type, topics.MODEL.name, topics.MODEL.qos)
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        dt = 1.0 / robot.rates.plan_hz
        self._live = LiveBundle(self, robot.name, robot.folder, "goal", dt, lambda folder: load_walk_bundle(folder, robot), self._serve)
        self.create_timer(1.0, self._publish_diagnostics)

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; look at the registry meanwhile."""
        self._live.run(stop)

    def _serve(self, bundle: WalkBundle, told: msg.Model) -> None:
        self.bundle = bundle
        self._model.publish(told)

    def _publish_diagnostics(self) -> None:
        values = [KeyValue(key="sha256", value=self.bundle.sha256)]
        message = f"{self.bundle.manifest.name}, version {self._live.live.version}"
        out = DiagnosticArray(status=[self._live.status("dynamics_server: model", message, values)])
        out.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(out)


def main() -> None:
    leave(run_node(WalkDynamicsServer))
