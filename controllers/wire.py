"""What passes through shared memory between bridge, tracker and robot, as bytes. Times are CLOCK_MONOTONIC [s]."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.plan import Plan
from taustack.controllers.states import STATES, State
from taustack.layout import Measured, RobotState
from taustack.shared_memory import Reader, Writer

FloatArray = NDArray[np.float64]
MAX_HORIZON = 400
TEXT = 200  # bytes of a reason
VECTORS = ("q", "dq", "q_ref", "dq_ref", "torque")
PLAN_HEAD = np.dtype([
    ("seq", "<u8"), ("state_seq", "<u8"), ("epoch", "<u4"), ("h", "<u4"), ("n", "<u4"), ("state_t", "<f8"), ("effective_t", "<f8"), ("dt", "<f8"),
])  # fmt: skip
REQUEST = np.dtype([("t", "<f8"), ("estop", "?"), ("resets", "<u8"), ("estop_reason", f"S{TEXT}"), ("hold", f"S{TEXT}")])
CAPACITY = {
    "measurement": 8192, "command": 4096, "plan": 64 + 8 * 64 * MAX_HORIZON, "request": REQUEST.itemsize, "terminal": REQUEST.itemsize,
    "state": 8192, "status": 16384,
}  # fmt: skip


def writer(folder: Path, name: str) -> Writer:
    """The writer of a channel of the session in `folder`."""
    return Writer(folder / name, CAPACITY[name])


def reader(folder: Path, name: str) -> Reader:
    """A reader of a channel of the session in `folder`."""
    return Reader(folder / name, CAPACITY[name])


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the robot's side sends each of its periods."""

    state: RobotState
    estop: bool = False
    self_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class CommandOut:
    """What the tracker sends to the robot's side."""

    t: float
    q_ref: FloatArray
    dq_ref: FloatArray
    damped: bool


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the bridge, or the terminal, asks of the tracker; its time is its sign of life. `resets` counts up."""

    t: float
    estop: bool = False
    estop_reason: str = ""
    hold: str = ""
    resets: int = 0


@dataclass(frozen=True, kw_only=True)
class TrackerState:
    """What the tracker says each tick."""

    measured: Measured
    state: State
    plan_seq: int


@functools.cache
def _measurement_type(n: int) -> np.dtype[Any]:
    head = [("t", "<f8"), ("seq", "<u8"), ("plan_seq", "<u8"), ("epoch", "<u4"), ("flags", "<u4"), ("ee", "<f8", (3,))]
    return np.dtype([*head, *((name, "<f8", (n,)) for name in VECTORS)])


@functools.cache
def _command_type(n: int) -> np.dtype[Any]:
    return np.dtype([("t", "<f8"), ("damped", "<u4"), ("q_ref", "<f8", (n,)), ("dq_ref", "<f8", (n,))])


def _pack_state(state: RobotState, flags: int, seq: int = 0, epoch: int = 0, plan_seq: int = 0) -> bytes:
    record = np.zeros((), _measurement_type(len(state.q)))
    record["t"], record["flags"], record["seq"], record["epoch"], record["plan_seq"] = state.t, flags, seq, epoch, plan_seq
    for name in VECTORS:
        record[name] = getattr(state, name)
    record["ee"] = state.ee
    return record.tobytes()


def _unpack_state(data: bytes, n: int) -> tuple[RobotState, Any]:
    record = np.frombuffer(data, _measurement_type(n), count=1)[0]
    return RobotState(t=float(record["t"]), ee=record["ee"], **{name: record[name] for name in VECTORS}), record


def pack_measurement(measurement: Measurement) -> bytes:
    return _pack_state(measurement.state, int(measurement.estop) | 2 * int(measurement.self_stopped))


def unpack_measurement(data: bytes, n: int) -> Measurement:
    """Raises ValueError if it is not one of a robot of n joints; so do the others."""
    state, record = _unpack_state(data, n)
    return Measurement(state=state, estop=bool(record["flags"] & 1), self_stopped=bool(record["flags"] & 2))


def pack_tracker_state(out: TrackerState) -> bytes:
    m = out.measured
    return _pack_state(m.state, STATES.index(out.state), m.seq, m.epoch, out.plan_seq)


def unpack_tracker_state(data: bytes, n: int) -> TrackerState:
    state, record = _unpack_state(data, n)
    measured = Measured(state=state, seq=int(record["seq"]), epoch=int(record["epoch"]))
    return TrackerState(measured=measured, state=STATES[min(int(record["flags"]), len(STATES) - 1)], plan_seq=int(record["plan_seq"]))


def pack_command(command: CommandOut) -> bytes:
    record = np.zeros((), _command_type(len(command.q_ref)))
    record["t"], record["damped"], record["q_ref"], record["dq_ref"] = command.t, command.damped, command.q_ref, command.dq_ref
    return record.tobytes()


def unpack_command(data: bytes, n: int) -> CommandOut:
    record = np.frombuffer(data, _command_type(n), count=1)[0]
    return CommandOut(t=float(record["t"]), q_ref=record["q_ref"], dq_ref=record["dq_ref"], damped=bool(record["damped"]))


def pack_plan(plan: Plan) -> bytes:
    """Only what the tracker follows: no predicted states, no costs."""
    h, n = plan.actions.shape
    head = np.array((plan.seq, plan.state_seq, plan.epoch, h, n, plan.state_t, plan.effective_t, plan.dt), PLAN_HEAD)
    return head.tobytes() + plan.actions.astype("<f8").tobytes()


def unpack_plan(data: bytes) -> Plan:
    head = np.frombuffer(data, PLAN_HEAD, count=1)[0]
    h, n = int(head["h"]), int(head["n"])
    actions = np.frombuffer(data, "<f8", offset=PLAN_HEAD.itemsize).reshape(h, n)
    return Plan(
        seq=int(head["seq"]), state_seq=int(head["state_seq"]), epoch=int(head["epoch"]), state_t=float(head["state_t"]),
        effective_t=float(head["effective_t"]), dt=float(head["dt"]), actions=actions, states=np.zeros((0, 0)),
    )  # fmt: skip


def pack_request(request: Request) -> bytes:
    texts = (text.encode("ascii", "replace")[:TEXT] for text in (request.estop_reason, request.hold))
    return np.array((request.t, request.estop, request.resets, *texts), REQUEST).tobytes()


def unpack_request(data: bytes) -> Request:
    record = np.frombuffer(data, REQUEST, count=1)[0]
    return Request(
        t=float(record["t"]), estop=bool(record["estop"]), resets=int(record["resets"]), estop_reason=record["estop_reason"].decode("ascii", "replace"),
        hold=record["hold"].decode("ascii", "replace"),
    )  # fmt: skip


def pack_status(status: dict[str, Any]) -> bytes:
    return json.dumps(status).encode()


def unpack_status(data: bytes) -> dict[str, Any]:
    return dict(json.loads(data))
