"""What passes through shared memory between bridge, tracker and robot, as bytes. Times are CLOCK_MONOTONIC [s]."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.plan import Plan
from taustack.layout import STATES, Measured, RobotState, State
from taustack.shared_memory import Reader, Writer

FloatArray = NDArray[np.float64]
MAX_HORIZON = 400
TEXT = 200  # bytes of a reason
STATE_HEAD = struct.Struct("<dQQII")  # t, seq, plan_seq, epoch, flags
COMMAND_HEAD = struct.Struct("<d?7x")  # t, damped
PLAN_HEAD = struct.Struct("<QQIIIddd")  # seq, state_seq, epoch, H, n, state_t, effective_t, dt
REQUEST = struct.Struct(f"<d?Q{TEXT}s{TEXT}s")  # t, estop, resets, why the e-stop, why to hold
CAPACITY = {
    "measurement": 8192, "command": 2048, "plan": 64 + 8 * 64 * MAX_HORIZON, "state": 8192, "status": 16384,
    "request": REQUEST.size, "terminal": REQUEST.size, "supervisor": REQUEST.size,
}  # fmt: skip
FLOAT = np.dtype(np.float64)
NO_STATES: FloatArray = np.zeros((0, 0))
SLOTS = {"command": 512, "state": 256}  # enough to make up for a stall of the simulated robot's process, or of the bridge; others: 8


def writer(folder: Path, name: str) -> Writer:
    """The writer of a channel of the session in `folder`."""
    return Writer(folder / name, CAPACITY[name], SLOTS.get(name, 8))


def reader(folder: Path, name: str) -> Reader:
    """A reader of a channel of the session in `folder`."""
    return Reader(folder / name, CAPACITY[name], SLOTS.get(name, 8))


class Measurement(NamedTuple):
    """What the robot's side sends each of its periods."""

    state: RobotState
    estop: bool = False
    self_stopped: bool = False


class CommandOut(NamedTuple):
    """What the tracker sends to the robot's side."""

    t: float
    q_ref: FloatArray
    dq_ref: FloatArray
    damped: bool


class Request(NamedTuple):
    """What the bridge, or the terminal, asks of the tracker; its time is its sign of life. `resets` counts up."""

    t: float
    estop: bool = False
    estop_reason: str = ""
    hold: str = ""
    resets: int = 0


class TrackerState(NamedTuple):
    """What the tracker says each tick."""

    measured: Measured
    state: State
    plan_seq: int


def _unpack_state(data: bytes, n: int) -> tuple[RobotState, tuple[int, int, int, int]]:
    """The state, and seq, plan_seq, epoch, flags."""
    if len(data) != STATE_HEAD.size + 8 * (5 * n + 3):
        raise ValueError(f"a state of {len(data)} bytes, expected {STATE_HEAD.size + 8 * (5 * n + 3)} for {n} joints")
    t, *head = STATE_HEAD.unpack_from(data)
    v = np.frombuffer(data, FLOAT, offset=STATE_HEAD.size)
    state = RobotState(t=t, q=v[:n], dq=v[n : 2 * n], q_ref=v[2 * n : 3 * n], dq_ref=v[3 * n : 4 * n], torque=v[4 * n : 5 * n], ee=v[5 * n :])
    return state, (head[0], head[1], head[2], head[3])


def pack_measurement(measurement: Measurement) -> bytes:
    """The vectors may hold any kind of numbers: they come from whoever talks to the robot."""
    flags = int(measurement.estop) | 2 * int(measurement.self_stopped)
    return STATE_HEAD.pack(measurement.state.t, 0, 0, 0, flags) + np.concatenate(measurement.state[1:], dtype=float).tobytes()


def unpack_measurement(data: bytes, n: int) -> Measurement:
    """Raises ValueError if it is not one of a robot of n joints; so do the others."""
    state, (_, _, _, flags) = _unpack_state(data, n)
    return Measurement(state=state, estop=bool(flags & 1), self_stopped=bool(flags & 2))


def pack_tracker_state(out: TrackerState) -> bytes:
    """The vectors are those of a measurement that was unpacked, so joined without asking what they hold."""
    state, seq, epoch = out.measured
    head = STATE_HEAD.pack(state.t, seq, out.plan_seq, epoch, STATES.index(out.state))
    return b"".join([head, *[vector.tobytes() for vector in state[1:]]])


def unpack_tracker_state(data: bytes, n: int) -> TrackerState:
    state, (seq, plan_seq, epoch, flags) = _unpack_state(data, n)
    return TrackerState(measured=Measured(state=state, seq=seq, epoch=epoch), state=STATES[min(flags, len(STATES) - 1)], plan_seq=plan_seq)


@dataclass(frozen=True, kw_only=True)
class TrackRows:
    """Ticks of the tracker, one a row. t (R,) monotonic [s], state (R,): index into STATES, vectors (R, n), ee (R, 3)."""

    t: FloatArray
    tick: NDArray[np.uint64]
    plan_seq: NDArray[np.uint64]
    epoch: NDArray[np.uint32]
    state: NDArray[np.uint8]
    q: FloatArray
    dq: FloatArray
    q_ref: FloatArray
    dq_ref: FloatArray
    torque: FloatArray
    ee: FloatArray


def unpack_track(messages: Sequence[bytes], n: int) -> TrackRows:
    """Many tracker states at once, without a Python object for each."""
    row = np.dtype([("t", "<f8"), ("tick", "<u8"), ("plan_seq", "<u8"), ("epoch", "<u4"), ("state", "<u4"), ("v", "<f8", (5 * n + 3,))])
    rows = np.frombuffer(b"".join(m for m in messages if len(m) == row.itemsize), row)
    q, dq, q_ref, dq_ref, torque, ee = np.split(rows["v"], n * np.arange(1, 6), axis=1)
    return TrackRows(
        t=rows["t"], tick=rows["tick"], plan_seq=rows["plan_seq"], epoch=rows["epoch"], state=rows["state"].astype(np.uint8),
        q=q, dq=dq, q_ref=q_ref, dq_ref=dq_ref, torque=torque, ee=ee,
    )  # fmt: skip


def pack_command(command: CommandOut) -> bytes:
    return COMMAND_HEAD.pack(command.t, command.damped) + command.q_ref.tobytes() + command.dq_ref.tobytes()


def unpack_command(data: bytes, n: int) -> CommandOut:
    if len(data) != COMMAND_HEAD.size + 16 * n:
        raise ValueError(f"a command of {len(data)} bytes, expected {COMMAND_HEAD.size + 16 * n} for {n} joints")
    t, damped = COMMAND_HEAD.unpack_from(data)
    v = np.frombuffer(data, np.float64, offset=COMMAND_HEAD.size)
    return CommandOut(t=t, q_ref=v[:n], dq_ref=v[n:], damped=damped)


def pack_plan(plan: Plan) -> bytes:
    """Only what the tracker follows: no predicted states, no costs."""
    h, n = plan.actions.shape
    head = PLAN_HEAD.pack(plan.seq, plan.state_seq, plan.epoch, h, n, plan.state_t, plan.effective_t, plan.dt)
    return head + plan.actions.astype("<f8").tobytes()


def unpack_plan(data: bytes) -> Plan:
    if len(data) < PLAN_HEAD.size:
        raise ValueError(f"a plan of {len(data)} bytes, expected {PLAN_HEAD.size} and its actions")
    seq, state_seq, epoch, h, n, state_t, effective_t, dt = PLAN_HEAD.unpack_from(data)
    actions = np.frombuffer(data, FLOAT, offset=PLAN_HEAD.size).reshape(h, n)
    return Plan(
        seq=seq, state_seq=state_seq, epoch=epoch, state_t=state_t, effective_t=effective_t, dt=dt, actions=actions, states=NO_STATES
    )  # fmt: skip


def pack_request(request: Request) -> bytes:
    why_estop, why_hold = (text.encode("ascii", "replace")[:TEXT] for text in (request.estop_reason, request.hold))
    return REQUEST.pack(request.t, request.estop, request.resets, why_estop, why_hold)


def _text(padded: bytes) -> str:
    """The text of a field; mostly there is none."""
    text = padded.rstrip(b"\0")
    return text.decode("ascii", "replace") if text else ""


def unpack_request(data: bytes) -> Request:
    if len(data) != REQUEST.size:
        raise ValueError(f"a request of {len(data)} bytes, expected {REQUEST.size}")
    t, estop, resets, why_estop, why_hold = REQUEST.unpack(data)
    return Request(t=t, estop=estop, resets=resets, estop_reason=_text(why_estop), hold=_text(why_hold))


def pack_status(status: dict[str, Any]) -> bytes:
    return json.dumps(status).encode()


def unpack_status(data: bytes) -> dict[str, Any]:
    return dict(json.loads(data))
