"""What bridge, terminal and supervisor ask of a tracker, heard through shared memory."""

from __future__ import annotations

from pathlib import Path

from taustack.controllers.following import Signals
from taustack.controllers.wire import Request, reader, unpack_request
from taustack.errors import UnknownName

SOURCES = {"bridge": ("request", "the ROS graph"), "terminal": ("terminal", "the terminal"), "supervisor": ("supervisor", "the supervisor")}
"""Of requests: the channel, and the name as a source of the e-stop."""


class Requests:
    """See the module.

    Args:
        folder: the session's channels.
        bridge_timeout_s: without a sign of life from the bridge for so long the robot holds [s].
        required: sources (terminal, supervisor) that must give signs of life before anything moves.

    Raises:
        UnknownName: no such source.
    """

    def __init__(self, folder: Path, bridge_timeout_s: float, required: tuple[str, ...] = ()) -> None:
        for name in required:
            if name not in SOURCES:
                raise UnknownName("e-stop source", name, SOURCES)
        self.unreadable = 0
        self._timeout_s = bridge_timeout_s
        self._sources = {name: reader(folder, channel) for name, (channel, _) in SOURCES.items()}
        for channel in self._sources.values():
            channel.new()  # what a run before this one said is not for us
        self._newest: dict[str, Request] = {}
        self._missing = ("bridge", *required)
        self._resets = dict.fromkeys(SOURCES, -1)

    def signals(self, now: float, hold: str | None) -> Signals:
        """What is asked at time now [s]; a message is a sign of life, silence of the bridge a hold. hold: why to hold whatever they ask."""
        estop: dict[str, bool] = {}
        reset = False
        for source, channel in self._sources.items():
            messages = channel.new()
            if messages:
                try:
                    request = unpack_request(messages[-1])
                except ValueError:  # no sign of life
                    self.unreadable += 1
                    continue
                self._newest[source] = request
                if source in self._missing:
                    self._missing = tuple(name for name in self._missing if name != source)
                estop[SOURCES[source][1]] = request.estop
                reset |= 0 <= self._resets[source] < request.resets
                self._resets[source] = request.resets
        bridge = self._newest.get("bridge")
        if hold is None and self._missing:
            hold = f"waiting for {SOURCES[self._missing[0]][1]}"
        elif hold is None and bridge is not None and now - bridge.t > self._timeout_s:
            hold = "no sign of life from the driver node"
        elif hold is None and bridge is not None:
            hold = bridge.hold or None
        return Signals(hold=hold, estop=estop, reset=reset)

    def close(self) -> None:
        """Let the channels go."""
        for channel in self._sources.values():
            channel.close()
