"""What a run in lockstep would have logged: the same messages in the same bag, without ROS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.bags.types import encode, typestore
from taustack.bags.whole import whole_folder
from taustack.bags.writer import BagTopic, BagWriter
from taustack.config import RobotConfig
from taustack.controllers.driver import DriverCore
from taustack.controllers.plan import Plan
from taustack.layout import STATES, Measured
from taustack.legged import LeggedConfig
from taustack.version import code_version

FloatArray = NDArray[np.float64]
TimedMessage = tuple[float, str, bytes]
"""Time [s], topic, CDR."""
EpisodeMessages = Callable[[int, float], Iterable[TimedMessage]]
BETWEEN_S = 1.0  # between two episodes of a bag
ROWS_PER_MESSAGE = 50
START_S = 1_700_000_000.0  # of the bag's clock: a run in lockstep has no time of day
TYPES = {"track": "Track", "robot_state": "RobotState", "plan": "Plan", "subgoal": "Subgoal", "model": "Model"}


@dataclass
class EpisodeLog:
    """Filled while an episode runs. rows: (t, tick, plan_seq, state, [q, dq, q_ref, dq_ref, torque, ee]) a tick."""

    rows: list[tuple[float, int, int, int, FloatArray]] = field(default_factory=list)
    plans: list[tuple[Measured, Plan]] = field(default_factory=list)
    goal: FloatArray = field(default_factory=lambda: np.zeros(3))
    name: str = ""

    def tick(self, core: DriverCore) -> None:
        """Take what the tracker saw and did in this tick."""
        assert core.newest is not None
        s = core.newest.state
        vectors = np.concatenate((s.q, s.dq, s.q_ref, s.dq_ref, s.torque, s.ee))
        self.rows.append((s.t, core.newest.seq, core.tracker.plan_seq, STATES.index(core.tracker.state), vectors))

    def planned(self, measured: Measured, plan: Plan) -> None:
        """Take a plan and the state that it started from."""
        self.plans.append((measured, plan))


def write_log(folder: Path, robot: RobotConfig, logs: Sequence[EpisodeLog], about: dict[str, str]) -> int:
    """Write the logs of episodes into one bag, an epoch each; returns the number of messages."""

    def messages(log: EpisodeLog, epoch: int, start: float) -> Iterable[TimedMessage]:
        return sorted(_messages(robot, log, epoch, start), key=lambda entry: entry[0])

    return write_episodes(folder, robot, TYPES, [(log.rows[-1][0], partial(messages, log)) for log in logs], about)


def write_episodes(
    folder: Path, robot: RobotConfig | LeggedConfig, types: Mapping[str, str], episodes: Sequence[tuple[float, EpisodeMessages]], about: dict[str, str]
) -> int:
    """Write episodes into one bag, an epoch each; returns the number of messages.

    Args:
        types: messages of taustack_msgs by topic.
        episodes: how long each lasts [s], and its messages in the order of time, for its epoch and start [s].
    """
    topics = [BagTopic(name=f"/{name}", type=f"taustack_msgs/msg/{kind}") for name, kind in types.items()]
    known = {"code_version": code_version(), "robot": robot.name, "launch": json.dumps(about)}
    with whole_folder(folder) as part:
        writer = BagWriter(part, topics, known, {"robot.yaml": (robot.folder / "robot.yaml").read_bytes()})
        start = START_S
        for epoch, (length_s, messages) in enumerate(episodes):
            for t, name, data in messages(epoch, start):
                writer.write(f"/{name}", data, round(t * 1e9), round(t * 1e9), writer.counts[f"/{name}"] + 1)
            start += length_s + BETWEEN_S
        writer.close()
    return sum(writer.counts.values())


def _messages(robot: RobotConfig, log: EpisodeLog, epoch: int, start: float) -> list[tuple[float, str, bytes]]:
    """(time, topic, CDR) of one episode."""
    names, out = list(robot.joint_names), []
    goal = ros_message("Subgoal", header=header(start, robot.base_frame), seq=epoch + 1, goal=log.goal, tau_s=0.0, active=True)
    out.append((start, "subgoal", goal))
    for seq, first in enumerate(range(0, len(log.rows), ROWS_PER_MESSAGE), 1):
        rows = log.rows[first : first + ROWS_PER_MESSAGE]
        t, tick, plan_seq, state = (np.array([row[i] for row in rows]) for i in range(4))
        parts = np.split(np.array([row[4] for row in rows], dtype=np.float32), robot.n * np.arange(1, 6), axis=1)
        q, dq, q_ref, dq_ref, torque, ee = (np.ascontiguousarray(part).ravel() for part in parts)
        at = start + float(t[-1])
        out.append((at, "track", ros_message(
            "Track", header=header(at, robot.base_frame), seq=seq, lost=0, name=names, t=start + t, tick=tick.astype(np.uint64),
            epoch=np.full(len(rows), epoch, np.uint32), state=state.astype(np.uint8), plan_seq=plan_seq.astype(np.uint64),
            q=q, dq=dq, q_ref=q_ref, dq_ref=dq_ref, torque=torque, ee=ee,
        )))  # fmt: skip
    for measured, plan in log.plans:
        s = measured.state
        at_state = header(start + s.t, robot.base_frame)
        point = typestore().types["geometry_msgs/msg/Point"](x=float(s.ee[0]), y=float(s.ee[1]), z=float(s.ee[2]))
        out.append((start + s.t, "robot_state", ros_message(
            "RobotState", header=at_state, seq=measured.seq, epoch=epoch, name=names, q=s.q, dq=s.dq, q_ref=s.q_ref, dq_ref=s.dq_ref, torque=s.torque, ee=point,
        )))  # fmt: skip
        out.append((start + s.t, "plan", ros_message(
            "Plan", header=at_state, seq=plan.seq, state_seq=plan.state_seq, epoch=epoch, effective=_time(start + plan.effective_t), dt=plan.dt,
            horizon=len(plan.actions), name=names, actions=plan.actions.ravel(), states=plan.states.ravel(), cost_name=list(plan.cost),
            cost=np.array(list(plan.cost.values())), disagreement=np.asarray(plan.disagreement, dtype=np.float64), effective_samples=plan.effective_samples,
            nonfinite_samples=plan.nonfinite_samples, plan_time_s=plan.plan_time_s, bundle_sha256=plan.bundle_sha256, planner=plan.planner, **_basis(plan),
        )))  # fmt: skip
    return out


def _basis(plan: Plan) -> dict[str, Any]:
    """The fields of a plan's basis; empty for a planner without one."""
    basis, none = plan.basis, np.zeros(0, dtype=np.float32)
    if basis is None:
        return {"goal": np.zeros(0), "tau": 0.0, "mean": none, "weight": none, "temperature": 0.0, "noise_seed": 0, "shards": 0, "trust": 0, "obstacles": none}
    return {
        "goal": basis.goal, "tau": basis.tau, "mean": basis.mean.ravel(), "weight": basis.weights, "temperature": basis.temperature,
        "noise_seed": basis.noise_seed, "shards": basis.shards, "trust": basis.trust, "obstacles": basis.obstacles.ravel(),
    }  # fmt: skip


def ros_message(kind: str, **fields: Any) -> bytes:
    """A message of taustack_msgs in CDR."""
    name = f"taustack_msgs/msg/{kind}"
    return encode(name, typestore().types[name](**fields))


def header(t: float, frame: str) -> Any:
    """At time t [s]."""
    return typestore().types["std_msgs/msg/Header"](stamp=_time(t), frame_id=frame)


def _time(t: float) -> Any:
    nanoseconds = round(t * 1e9)
    return typestore().types["builtin_interfaces/msg/Time"](sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)
