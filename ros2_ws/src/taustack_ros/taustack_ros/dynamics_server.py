"""dynamics_server: the authority on which bundle is live. Verifies, announces, swaps, and answers batched predictions."""

from __future__ import annotations

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from taustack_msgs import msg
from taustack_msgs.srv import PredictRollout

from taustack.config import load_robot
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.drift import DriftMonitor
from taustack.errors import BadInput
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.convert import track_rows
from taustack_ros.live_bundle import LiveBundle
from taustack_ros.process import leave, run_node

LARGEST_REQUEST = 2_000_000  # values in u


class DynamicsServer(Node):
    """See the module. Without a fixed `bundle` it follows the registry's live pointer; a bundle that fails leaves the old one live."""

    def __init__(self) -> None:
        super().__init__("dynamics_server")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        self._chain = chain_from_model(compile_model(self.robot), self.robot)
        self._model = self.create_publisher(topics.MODEL.type, topics.MODEL.name, topics.MODEL.qos)
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        robot = self.robot
        self._live = LiveBundle(self, robot.name, robot.folder, "reach", robot.rates.control_dt, lambda folder: load_bundle(folder, robot), self._serve)
        self.create_service(topics.SERVICES["predict_rollout"], "predict_rollout", self._predict_rollout)
        self.create_subscription(topics.TRACK.type, topics.TRACK.name, self._on_track, topics.TRACK.qos)
        self.create_timer(1.0, self._publish_diagnostics)

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; look at the registry meanwhile."""
        self._live.run(stop)

    def _serve(self, bundle: Bundle, told: msg.Model) -> None:
        """Take a bundle for predictions and announce it."""
        self.bundle, self._session = bundle, bundle.session(DYNAMICS)
        self._monitor = DriftMonitor(bundle, self._chain)
        self._model.publish(told)

    def _on_track(self, message: msg.Track) -> None:
        """Compare what the robot did with what the model says of it."""
        try:
            rows = track_rows(message, self.robot.joint_names)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            return
        before, now = self._monitor.drift, self._monitor.add(rows)
        if now.drifting and not before.drifting:
            share = 100 * max(now.beyond_one_step, now.beyond_horizon)
            self.get_logger().warning(f"the robot is not what the model learned: {share:.0f} % of its errors beyond the hold-out's 95 % quantile")
        elif before.drifting and not now.drifting:
            self.get_logger().info("the robot does again what the model says")

    def _publish_diagnostics(self) -> None:
        drift = self._monitor.drift
        figures = ("rollouts", "one_step_m", "horizon_m", "beyond_one_step", "beyond_horizon")
        values = [KeyValue(key="sha256", value=self.bundle.sha256), *(KeyValue(key=key, value=f"{getattr(drift, key):.4g}") for key in figures)]
        status = self._live.status("dynamics_server: model", f"{self.bundle.manifest.name}, version {self._live.live.version}", values)
        if drift.drifting:
            status.level, status.message = DiagnosticStatus.WARN, f"{status.message}: the robot is not what it learned"
        out = DiagnosticArray(status=[status])
        out.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(out)

    def _predict_rollout(self, request: PredictRollout.Request, response: PredictRollout.Response) -> PredictRollout.Response:
        """States and std of B rollouts over H steps; std adds up the one-step variances along the way."""
        b, h, n = request.batch, request.horizon, self.robot.n
        nx = len(PARTS) * n
        if not (b >= 1 and h >= 1 and b * h * n <= LARGEST_REQUEST and len(request.x) == b * nx and len(request.u) == b * h * n):
            response.message = (
                f"x and u: got {len(request.x)} and {len(request.u)} values, expected batch x {nx} and batch x horizon x {n} with batch {b}, horizon {h}"
            )
            return response
        x = np.asarray(request.x, dtype=np.float32).reshape(b, nx)
        u = np.asarray(request.u, dtype=np.float32).reshape(b, h, n)
        if not (np.all(np.isfinite(x)) and np.all(np.isfinite(u))):
            response.message = "x or u: got NaN or infinite values, expected finite ones"
            return response
        states, variance, variances = [x], np.zeros_like(x), [np.zeros_like(x)]
        for t in range(h):
            mean, std, *_ = self._session.run(None, {"x": states[-1], "u": np.ascontiguousarray(u[:, t])})
            variance = variance + std**2
            states.append(mean)
            variances.append(variance)
        response.states = np.stack(states, 1).ravel()
        response.std = np.sqrt(np.stack(variances, 1)).ravel()
        response.success = True
        return response


def main() -> None:
    leave(run_node(DynamicsServer))
