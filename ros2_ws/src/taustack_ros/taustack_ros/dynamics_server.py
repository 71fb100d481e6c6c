"""dynamics_server: verifies the bundle, announces it, answers batched predictions with uncertainty."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from rclpy.node import Node
from taustack_msgs import msg
from taustack_msgs.srv import PredictRollout

from taustack.config import load_robot
from taustack.controllers.bundle import load_bundle
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.process import run_node

LARGEST_REQUEST = 2_000_000  # values in u


class DynamicsServer(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("dynamics_server")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        folder = parameters.text(self, "bundle", "", "folder of the bundle; empty: the robot's own")
        self.bundle = load_bundle(Path(folder) if folder else self.robot.folder / "bundle", self.robot)
        self._session = self.bundle.session(DYNAMICS)
        self._model = self.create_publisher(topics.MODEL.type, topics.MODEL.name, topics.MODEL.qos)
        self.create_service(topics.SERVICES["predict_rollout"], "predict_rollout", self._predict_rollout)
        self._announce()

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped."""
        while not stop.wait(0.2):
            pass

    def _announce(self) -> None:
        manifest = self.bundle.manifest
        out = msg.Model(
            robot=self.robot.name, name=manifest.name, version=manifest.version, path=str(self.bundle.folder.resolve()), sha256=self.bundle.sha256,
            joint_names=list(manifest.contract.joint_names), dt=manifest.contract.control_dt, horizon=manifest.plan.horizon,
        )  # fmt: skip
        out.header.stamp = self.get_clock().now().to_msg()
        self._model.publish(out)
        self.get_logger().info(f"live: {manifest.name}/{manifest.version} ({self.bundle.sha256[:12]})")

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
            mean, std = self._session.run(None, {"x": states[-1], "u": np.ascontiguousarray(u[:, t])})
            variance = variance + std**2
            states.append(mean)
            variances.append(variance)
        response.states = np.stack(states, 1).ravel()
        response.std = np.sqrt(np.stack(variances, 1)).ravel()
        response.success = True
        return response


def main() -> None:
    sys.exit(run_node(DynamicsServer))
