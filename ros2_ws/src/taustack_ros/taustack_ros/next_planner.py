"""The planner over the bundle that was announced last, built beside the one that plans."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from rclpy.node import Node
from taustack_msgs import msg

from taustack.errors import TaustackError
from taustack.realtime import take_priority

P = TypeVar("P")


class NextPlanner(Generic[P]):
    """Hears announcements; builds in a thread that gives way to planning, and hands over between two plans.

    Args:
        node: speaks through its log.
        build: a planner, warmed up, over what was announced; raises TaustackError if that cannot be had.
        priority: of the building, just below that of planning. A thread without one would be given a core late while it holds the
            interpreter, for milliseconds at a time while sessions are built, and planning would wait for it.
    """

    def __init__(self, node: Node, build: Callable[[msg.Model], P], priority: int) -> None:
        self._node, self._build, self._priority = node, build, priority
        self.announced: msg.Model | None = None
        self._follows = False
        self._ready: P | None = None

    def hear(self, message: msg.Model) -> None:
        """Take an announcement; the first planner is built by whoever plans."""
        before, self.announced = self.announced, message
        if self._follows and (before is None or before.sha256 != message.sha256):
            self._start(message)

    def follow(self, sha256: str) -> None:
        """From now on planners over other bundles than this one are built, also over one that went live meanwhile."""
        self._follows = True
        if self.announced is not None and self.announced.sha256 != sha256:
            self._start(self.announced)

    def take(self) -> P | None:
        """What waits to plan, once."""
        ready, self._ready = self._ready, None
        return ready

    def _start(self, model: msg.Model) -> None:
        threading.Thread(target=self._prepare, args=(model,), name="prepare", daemon=True).start()

    def _prepare(self, model: msg.Model) -> None:
        take_priority(self._priority)
        try:
            ready = self._build(model)
            if model is self.announced:  # else another one is on its way
                self._ready = ready
        except TaustackError as error:
            self._node.get_logger().error(f"version {model.version} is not taken, the old bundle goes on: {error}")
