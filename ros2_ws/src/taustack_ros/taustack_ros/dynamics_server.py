"""dynamics_server: the authority on which bundle is live. Verifies, announces, swaps, and answers batched predictions."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from taustack_msgs import msg
from taustack_msgs.srv import PredictRollout

from taustack.config import load_robot
from taustack.controllers.bundle import Bundle, load_bundle
from taustack.controllers.drift import DriftMonitor
from taustack.controllers.rehearsal import TIMEOUT_S, fault_of, start_rehearsal
from taustack.errors import BadInput, TaustackError
from taustack.layout import PARTS
from taustack.manifest import DYNAMICS
from taustack.models.registry import SHIPPED, Live, Registry, registry_root
from taustack.sim.mjcf import chain_from_model, compile_model
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.convert import track_rows
from taustack_ros.process import leave, run_node

LARGEST_REQUEST = 2_000_000  # values in u
LOOK_S = 0.25


class DynamicsServer(Node):
    """See the module. Without a fixed `bundle` it follows the registry's live pointer; a bundle that fails leaves the old one live."""

    def __init__(self) -> None:
        super().__init__("dynamics_server")
        self.robot = load_robot(parameters.text(self, "robot", "", "robot, by name or folder"))
        self.task = parameters.text(self, "task", "reach", "task whose plan graph is tried before a bundle goes live")
        fixed = parameters.text(self, "bundle", "", "folder of the bundle; empty: what the registry says is live")
        root = parameters.text(self, "registry", "", "folder of the registry; empty: TAUSTACK_REGISTRY, or ./registry")
        self.registry = None if fixed else Registry(registry_root(Path(root) if root else None), self.robot.name)
        self.live = self.registry.live() if self.registry else Live(version=fixed)
        self._trying: tuple[Live, subprocess.Popen[str], float] | None = None
        self._refused: tuple[Live, str] | None = None
        self._chain = chain_from_model(compile_model(self.robot), self.robot)
        self._model = self.create_publisher(topics.MODEL.type, topics.MODEL.name, topics.MODEL.qos)
        self._diagnostics = self.create_publisher(topics.DIAGNOSTICS.type, topics.DIAGNOSTICS.name, topics.DIAGNOSTICS.qos)
        self._serve(self._load(Path(fixed) if fixed else self._folder(self.live), self.live))
        self.create_service(topics.SERVICES["predict_rollout"], "predict_rollout", self._predict_rollout)
        self.create_subscription(topics.TRACK.type, topics.TRACK.name, self._on_track, topics.TRACK.qos)
        self.create_timer(1.0, self._publish_diagnostics)

    def run(self, stop: StopFlag) -> None:
        """Serve until stopped; look at the registry meanwhile."""
        while not stop.wait(LOOK_S):
            if self.registry is not None:
                self._look(self.registry)
        if self._trying is not None:
            self._trying[1].kill()

    def _look(self, registry: Registry) -> None:
        """A new pointer starts a rehearsal; one that ended well makes its bundle live."""
        if self._trying is not None:
            self._finish_trying()
            return
        try:
            wanted = registry.live()
            known = self._refused[0] if self._refused is not None else None
            if wanted in (self.live, known):
                return
            self._trying = (wanted, start_rehearsal(self._folder(wanted), str(self.robot.folder), self.task), time.monotonic())
            self.get_logger().info(f"trying version {wanted.version} in a process of its own")
        except BadInput as error:
            self.get_logger().error(f"the registry cannot be read, {self.live.version} stays live: {error}", throttle_duration_sec=10.0)

    def _finish_trying(self) -> None:
        assert self._trying is not None
        wanted, process, began = self._trying
        if process.poll() is None:
            if time.monotonic() - began > TIMEOUT_S:
                process.kill()
            return
        self._trying = None
        said = process.stdout.read().strip() if process.stdout is not None else ""
        try:
            fault = fault_of(process.returncode, said)
            if fault is not None:
                raise TaustackError(fault)
            bundle = self._load(self._folder(wanted), wanted)
        except TaustackError as error:
            self._refused = (wanted, str(error))
            self.get_logger().error(f"version {wanted.version} is refused, {self.live.version} stays live: {error}")
            return
        self.live, self._refused = wanted, None
        self._serve(bundle)

    def _folder(self, live: Live) -> Path:
        if self.registry is None or live.version == SHIPPED:
            return self.robot.folder / "bundle"
        return self.registry.path(live.version)

    def _load(self, folder: Path, live: Live) -> Bundle:
        bundle = load_bundle(folder, self.robot)
        if live.sha256 is not None and bundle.sha256 != live.sha256:
            raise BadInput(folder, "sha256", bundle.sha256, f"{live.sha256}, as it was promoted")
        return bundle

    def _serve(self, bundle: Bundle) -> None:
        """Take a bundle for predictions and announce it."""
        self.bundle, self._session = bundle, bundle.session(DYNAMICS)
        self._monitor = DriftMonitor(bundle, self._chain)
        manifest = bundle.manifest
        out = msg.Model(
            robot=self.robot.name, name=manifest.name, version=manifest.version if self.registry is None else self.live.version,
            path=str(bundle.folder.resolve()), sha256=bundle.sha256, joint_names=list(manifest.contract.joint_names), dt=manifest.contract.control_dt,
            horizon=manifest.plan.horizon,
        )  # fmt: skip
        out.header.stamp = self.get_clock().now().to_msg()
        self._model.publish(out)
        self.get_logger().info(f"live: {manifest.name}/{out.version} ({bundle.sha256[:12]})")

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
        level, message = DiagnosticStatus.OK, f"{self.bundle.manifest.name}, version {self.live.version}"
        if self.live.forced:
            level, message = DiagnosticStatus.WARN, f"{message}: promoted by force, {self.live.forced}"
        values = [KeyValue(key="version", value=self.live.version), KeyValue(key="sha256", value=self.bundle.sha256)]
        drift = self._monitor.drift
        values += [
            KeyValue(key=key, value=f"{getattr(drift, key):.4g}") for key in ("rollouts", "one_step_m", "horizon_m", "beyond_one_step", "beyond_horizon")
        ]
        if drift.drifting:
            level, message = DiagnosticStatus.WARN, f"{message}: the robot is not what it learned"
        if self._refused is not None:
            level = DiagnosticStatus.WARN
            values += [KeyValue(key="refused", value=self._refused[0].version), KeyValue(key="why", value=self._refused[1])]
        out = DiagnosticArray(status=[DiagnosticStatus(name="dynamics_server: model", level=level, message=message, values=values)])
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
