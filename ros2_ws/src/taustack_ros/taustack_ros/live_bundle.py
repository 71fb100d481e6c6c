"""Which bundle is live: a fixed one, or what the registry says, tried in a process of its own before it is taken."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node
from taustack_msgs import msg

from taustack.controllers.rehearsal import TIMEOUT_S, fault_of, start_rehearsal
from taustack.errors import BadInput, TaustackError
from taustack.models.registry import SHIPPED, Live, Registry, registry_root
from taustack.stop_flag import StopFlag
from taustack_ros import parameters

LOOK_S = 0.25
AGAIN_S = 10.0  # after which a fault that stays is told again


class Verified(Protocol):
    """A bundle of either kind of robot."""

    @property
    def folder(self) -> Path:
        """Where it lies."""
        ...

    @property
    def sha256(self) -> str:
        """Of its manifest."""
        ...

    @property
    def manifest(self) -> Any:
        """Either kind."""
        ...


B = TypeVar("B", bound=Verified)


class LiveBundle(Generic[B]):
    """Follows the registry's live pointer; a bundle that fails leaves the old one live, and why is said.

    Args:
        node: reads the parameters `task`, `bundle` and `registry` of this node, and speaks through its log.
        robot: name, and its folder.
        task: task whose plan graph is tried, if the parameter names none.
        dt: step of its models [s].
        load: verifies a folder; raises BundleRefused.
        serve: takes a bundle that went live, and the announcement of it.
    """

    def __init__(
        self, node: Node, robot: str, robot_folder: Path, task: str, dt: float, load: Callable[[Path], B], serve: Callable[[B, msg.Model], None]
    ) -> None:
        self._node, self._robot_folder, self._dt, self._load, self._serve = node, robot_folder, dt, load, serve
        self._task = parameters.text(node, "task", task, "task whose plan graph is tried before a bundle goes live")
        fixed = parameters.text(node, "bundle", "", "folder of the bundle; empty: what the registry says is live")
        root = parameters.text(node, "registry", "", "folder of the registry; empty: TAUSTACK_REGISTRY, or ./registry")
        self.registry = None if fixed else Registry(registry_root(Path(root) if root else None), robot)
        self.live = self.registry.live() if self.registry else Live(version=fixed)
        self._trying: tuple[Live, subprocess.Popen[str], float] | None = None
        self._refused: tuple[Live, str] | None = None
        self._told = ("", 0.0)  # what was wrong with the registry, and when that was said [s]
        self._take(self._verified(Path(fixed) if fixed else self._folder(self.live), self.live))

    def run(self, stop: StopFlag) -> None:
        """Look at the registry until stopped."""
        while not stop.wait(LOOK_S):
            if self.registry is not None:
                self._look(self.registry)
        if self._trying is not None:
            self._trying[1].kill()

    def status(self, name: str, message: str, values: list[KeyValue]) -> DiagnosticStatus:
        """For /diagnostics: `message` and `values`, and whether it was forced or another version refused."""
        level, values = DiagnosticStatus.OK, [KeyValue(key="version", value=self.live.version), *values]
        if self.live.forced:
            level, message = DiagnosticStatus.WARN, f"{message}: promoted by force, {self.live.forced}"
        if self._refused is not None:
            level = DiagnosticStatus.WARN
            values += [KeyValue(key="refused", value=self._refused[0].version), KeyValue(key="why", value=self._refused[1])]
        return DiagnosticStatus(name=name, level=level, message=message, values=values)

    def _take(self, bundle: B) -> None:
        """Make it what is live here, and tell."""
        manifest = bundle.manifest
        version = manifest.version if self.registry is None else self.live.version
        told = msg.Model(
            robot=manifest.contract.robot, name=manifest.name, version=version, path=str(bundle.folder.resolve()), sha256=bundle.sha256,
            joint_names=list(manifest.contract.joint_names), dt=self._dt, horizon=manifest.plan.horizon,
        )  # fmt: skip
        told.header.stamp = self._node.get_clock().now().to_msg()
        self._serve(bundle, told)
        self._node.get_logger().info(f"live: {manifest.name}/{version} ({bundle.sha256[:12]})")

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
            self._trying = (wanted, start_rehearsal(self._folder(wanted), str(self._robot_folder), self._task), time.monotonic())
            self._node.get_logger().info(f"trying version {wanted.version} in a process of its own")
        except BadInput as error:
            self._tell(f"the registry cannot be read, {self.live.version} stays live: {error}")

    def _tell(self, fault: str) -> None:
        """At once what is new, and every AGAIN_S what stays."""
        now = time.monotonic()
        if fault != self._told[0] or now - self._told[1] > AGAIN_S:
            self._told = (fault, now)
            self._node.get_logger().error(fault)

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
            bundle = self._verified(self._folder(wanted), wanted)
        except TaustackError as error:
            self._refused = (wanted, str(error))
            self._node.get_logger().error(f"version {wanted.version} is refused, {self.live.version} stays live: {error}")
            return
        self.live, self._refused = wanted, None
        self._take(bundle)

    def _folder(self, live: Live) -> Path:
        if self.registry is None or live.version == SHIPPED:
            return self._robot_folder / "bundle"
        return self.registry.path(live.version)

    def _verified(self, folder: Path, live: Live) -> B:
        bundle = self._load(folder)
        if live.sha256 is not None and bundle.sha256 != live.sha256:
            raise BadInput(folder, "sha256", bundle.sha256, f"{live.sha256}, as it was promoted")
        return bundle
