"""Watches a folder of bags: how long the live model has been drifting in what was logged since the last look."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from taustack.bags.reader import decoded, open_bag
from taustack.config import RobotConfig
from taustack.controllers.bundle import Bundle
from taustack.controllers.drift import DriftMonitor
from taustack.controllers.wire import TrackRows
from taustack.errors import BadInput
from taustack.kinematics import KinematicChain
from taustack.models.from_bags import block_of


def bags_in(folder: Path) -> list[Path]:
    """Bags of a folder, the oldest first: its subfolders with .mcap files, or the folder itself."""
    if any(folder.glob("*.mcap")):
        return [folder]
    return sorted({path.parent for path in folder.glob("*/*.mcap")}, key=lambda path: path.name)


@dataclass
class DriftWatch:
    """The monitor of the running stack, over its log: it needs no graph, and a graph that is gone does not disturb it.

    Args:
        robot, chain: whose log it is.
        folders: where bags lie, or will.
    """

    robot: RobotConfig
    chain: KinematicChain
    folders: list[Path]
    drifting_s: float = 0.0
    drifting: list[Path] = field(default_factory=list)
    """Files of that drift: what was logged before it is of another robot."""
    _monitor: DriftMonitor | None = None
    _sha256: str = ""
    _seen: dict[Path, int] = field(default_factory=dict)
    """Messages of each file that were looked at."""
    _size: dict[Path, int] = field(default_factory=dict)
    """Of each file at the last look: one that did not grow is not read again."""

    def look(self, live: Bundle) -> float:
        """Seconds of motion for which the live model has been drifting without a break, in all that was logged so far.

        With another live bundle the watch begins anew, and what was logged before is not held against it.
        """
        if live.sha256 != self._sha256:
            first = not self._sha256
            self._monitor, self._sha256 = DriftMonitor(live, self.chain), live.sha256
            if not first:
                self.forget()
        for bag in self._bags():
            for file in sorted(bag.glob("*.mcap")):
                self._read(file)
        return self.drifting_s

    def forget(self) -> None:
        """Hold nothing that is logged by now against the model."""
        self.drifting_s, self.drifting = 0.0, []
        for bag in self._bags():
            for file in bag.glob("*.mcap"):
                if self._grew(file):
                    self._seen[file] = sum(1 for _ in open_bag(file).messages({"track"}))

    def _bags(self) -> list[Path]:
        return [bag for folder in self.folders for bag in bags_in(folder)]

    def _grew(self, file: Path) -> bool:
        before, self._size[file] = self._size.get(file), file.stat().st_size if file.is_file() else 0
        return before != self._size[file]

    def _read(self, file: Path) -> None:
        assert self._monitor is not None
        if not self._grew(file):
            return
        try:
            messages = open_bag(file).messages({"track"})
        except BadInput:  # vanished between two looks
            return
        for count, message in enumerate(messages, 1):
            if count <= self._seen.get(file, 0):
                continue
            self._seen[file] = count
            content = decoded(message)
            if content is None or sorted(content.name) != sorted(self.robot.joint_names) or not len(content.t):
                continue
            block = block_of(content, self.robot.joint_names)
            if block is None:
                continue
            drift = self._monitor.add(TrackRows(plan_seq=content.plan_seq, **block))  # type: ignore[arg-type]
            if not drift.drifting:
                self.drifting_s, self.drifting = 0.0, []
                continue
            self.drifting_s += float(block["t"][-1] - block["t"][0])
            if file not in self.drifting:
                self.drifting.append(file)
