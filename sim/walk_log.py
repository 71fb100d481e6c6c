"""What walks in lockstep would have logged: states and what the tracker says of itself, in the same bag, without ROS."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from taustack.bags.types import typestore
from taustack.controllers.walk_fields import flat_fields
from taustack.controllers.walk_state import WalkState
from taustack.legged import LeggedConfig
from taustack.sim.log import TimedMessage, header, ros_message, write_episodes

SAFETY_HZ = 10.0
TYPES = {"walk_state": "WalkState", "safety": "Safety"}


@dataclass
class WalkLog:
    """Filled while an episode runs. every: ticks between two states; fallen: the episode ended so."""

    every: int
    states: list[tuple[int, WalkState]] = field(default_factory=list)
    fallen: bool = False
    _ticks: int = 0

    def tick(self, state: WalkState) -> None:
        """Take the state after a tick."""
        self._ticks += 1
        if self._ticks % self.every == 0:
            self.states.append((self._ticks, state))


def write_walk_log(folder: Path, robot: LeggedConfig, logs: Sequence[WalkLog], about: dict[str, str]) -> int:
    """Write the logs of episodes into one bag, an epoch each; returns the number of messages."""
    episodes = [(log.states[-1][1].t if log.states else 0.0, partial(_messages, robot, log)) for log in logs]
    return write_episodes(folder, robot, TYPES, episodes, about)


def _messages(robot: LeggedConfig, log: WalkLog, epoch: int, start: float) -> Iterator[TimedMessage]:
    """Of one episode."""
    said_t = -np.inf
    for tick, state in log.states:
        at = start + state.t
        yield at, "walk_state", _walk_state(robot, state, tick, epoch, at)
        if state.t - said_t >= 1.0 / SAFETY_HZ:
            said_t = state.t
            yield at, "safety", _safety(robot, "running" if state.gait.walks else "holding", "", epoch, at)
    if log.fallen and log.states:
        yield at, "safety", _safety(robot, "damped", "fallen: by the simulator's truth", epoch, at)


def _walk_state(robot: LeggedConfig, state: WalkState, tick: int, epoch: int, at: float) -> bytes:
    types, base = typestore().types, state.base
    vector, point, turn = (types[f"geometry_msgs/msg/{kind}"] for kind in ("Vector3", "Point", "Quaternion"))
    w, x, y, z = (float(v) for v in base.quaternion)
    pose = types["geometry_msgs/msg/Pose"](position=_xyz(point, base.position), orientation=turn(x=x, y=y, z=z, w=w))
    return ros_message(
        "WalkState", header=header(at, robot.base_frame), seq=tick, epoch=epoch, plan_seq=0, name=list(robot.joint_names), pose=pose,
        velocity=_xyz(vector, base.velocity), turn_rate=_xyz(vector, base.turn_rate), **flat_fields(state),
    )  # fmt: skip


def _safety(robot: LeggedConfig, mode: str, reason: str, epoch: int, at: float) -> bytes:
    none = np.zeros(0, dtype=np.uint64)
    return ros_message(
        "Safety", header=header(at, robot.base_frame), mode=mode, reason=reason, dropped_reason=[], dropped_count=none, plans_accepted=0,
        deadline_misses=0, limited_ticks=0, plan_publishers=1, estop=False, estop_reason="", epoch=epoch, acted_rule=[], acted_ticks=none,
        acted_most=np.zeros(0),
    )  # fmt: skip


def _xyz(kind: Any, values: Any) -> Any:
    x, y, z = (float(v) for v in values)
    return kind(x=x, y=y, z=z)
