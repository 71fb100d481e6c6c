"""What passes through shared memory between bridge, tracker and robot of a robot on legs, as bytes. Times are CLOCK_MONOTONIC [s]."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taustack.controllers.base_state import BaseEstimate, ImuSample
from taustack.controllers.gait_state import GaitState, LegTargets
from taustack.controllers.walk_state import WalkState
from taustack.layout import STATES, State

FloatArray = NDArray[np.float64]
MEASUREMENT_HEAD = struct.Struct("<dQ")  # t, flags
COMMAND_HEAD = struct.Struct("<d?7x")  # t, damped
STATE_HEAD = struct.Struct("<dQQIIId")  # t, seq, plan_seq, epoch, state, flags, phase


@dataclass(frozen=True, kw_only=True)
class LegMeasurement:
    """What the robot's side sends each of its periods."""

    sample: ImuSample
    estop: bool = False
    self_stopped: bool = False


@dataclass(frozen=True, kw_only=True)
class LegCommand:
    """What the tracker sends to the robot's side: q, dq, torque (n,) to follow, or damped joints."""

    t: float
    damped: bool
    q: FloatArray
    dq: FloatArray
    torque: FloatArray


@dataclass(frozen=True, kw_only=True)
class WalkTrackerState:
    """What the tracker says each tick."""

    walk: WalkState
    seq: int
    epoch: int
    state: State
    plan_seq: int


def pack_measurement(measurement: LegMeasurement) -> bytes:
    s = measurement.sample
    head = MEASUREMENT_HEAD.pack(s.t, int(measurement.estop) | 2 * int(measurement.self_stopped))
    return head + np.concatenate((s.q, s.dq, s.torque, s.gyro, s.acceleration)).tobytes()


def unpack_measurement(data: bytes, n: int) -> LegMeasurement:
    """Raises ValueError if it is not one of a robot of n joints; so do the others."""
    v = _vector(data, MEASUREMENT_HEAD.size, 3 * n + 6)
    t, flags = MEASUREMENT_HEAD.unpack_from(data)
    q, dq, torque, gyro, acceleration = np.split(v, np.cumsum([n, n, n, 3]))
    return LegMeasurement(
        sample=ImuSample(t=t, q=q, dq=dq, torque=torque, gyro=gyro, acceleration=acceleration), estop=bool(flags & 1), self_stopped=bool(flags & 2)
    )


def pack_command(t: float, targets: LegTargets | None, n: int) -> bytes:
    """Targets to follow; None: damped joints."""
    vectors = np.zeros(3 * n) if targets is None else np.concatenate((targets.q, targets.dq, targets.torque))
    return COMMAND_HEAD.pack(t, targets is None) + vectors.tobytes()


def unpack_command(data: bytes, n: int) -> LegCommand:
    v = _vector(data, COMMAND_HEAD.size, 3 * n)
    t, damped = COMMAND_HEAD.unpack_from(data)
    return LegCommand(t=t, damped=damped, q=v[:n], dq=v[n : 2 * n], torque=v[2 * n :])


def pack_tracker_state(out: WalkTrackerState) -> bytes:
    w, base, gait = out.walk, out.walk.base, out.walk.gait
    flags = int(gait.walks) | sum(2 << i for i, slips in enumerate(base.slipping) if slips)
    head = STATE_HEAD.pack(w.t, out.seq, out.plan_seq, out.epoch, STATES.index(out.state), flags, gait.phase)
    vectors = (
        w.q, w.dq, base.position, base.velocity, base.quaternion, base.turn_rate, base.covariance.ravel(), gait.velocity, gait.landing,
        gait.feet.ravel(), gait.lifted.ravel(),
    )  # fmt: skip
    return head + np.concatenate(vectors).tobytes()


def unpack_tracker_state(data: bytes, n: int, legs: int) -> WalkTrackerState:
    sizes = (n, n, 3, 3, 4, 3, 36, 3, 2, 2 * legs, 2 * legs)
    v = _vector(data, STATE_HEAD.size, sum(sizes))
    t, seq, plan_seq, epoch, state, flags, phase = STATE_HEAD.unpack_from(data)
    q, dq, position, velocity, quaternion, turn_rate, covariance, strides, landing, feet, lifted = np.split(v, np.cumsum(sizes[:-1]))
    base = BaseEstimate(
        position=position, velocity=velocity, quaternion=quaternion, turn_rate=turn_rate, covariance=covariance.reshape(6, 6),
        slipping=np.array([bool(flags & (2 << i)) for i in range(legs)]),
    )  # fmt: skip
    gait = GaitState(phase=phase, velocity=strides, landing=landing, walks=bool(flags & 1), feet=feet.reshape(legs, 2), lifted=lifted.reshape(legs, 2))
    walk = WalkState(t=t, base=base, q=q, dq=dq, gait=gait)
    return WalkTrackerState(walk=walk, seq=seq, epoch=epoch, state=STATES[min(state, len(STATES) - 1)], plan_seq=plan_seq)


def _vector(data: bytes, head: int, count: int) -> FloatArray:
    if len(data) != head + 8 * count:
        raise ValueError(f"{len(data)} bytes, expected {head + 8 * count}")
    return np.frombuffer(data, np.float64, offset=head)
