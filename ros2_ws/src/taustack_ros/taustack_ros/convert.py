"""The only place between messages and core types. Vectors are mapped by joint name, once, when a node is activated."""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from pydantic import ValidationError
from taustack_msgs import msg

from taustack.controllers.plan import Basis, Plan
from taustack.controllers.wire import MAX_HORIZON, TrackRows
from taustack.errors import BadInput
from taustack.layout import Measured, RobotState
from taustack.obstacles import COLUMNS, ROWS_LIMIT, Obstacle

FloatArray = NDArray[np.float64]


def to_time(seconds: float) -> Time:
    """Seconds to a message's time."""
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def to_seconds(time: Time) -> float:
    """A message's time to seconds."""
    return float(time.sec + 1e-9 * time.nanosec)


@dataclass(frozen=True)
class JointMap:
    """Order of a sender's joints in ours."""

    index: NDArray[np.intp]

    @classmethod
    def between(cls, theirs: Sequence[str], ours: Sequence[str], source: str) -> JointMap:
        """Raises BadInput unless both name the same joints."""
        if sorted(theirs) != sorted(ours):
            raise BadInput(source, "name", list(theirs), f"the joints {list(ours)}")
        return cls(np.array([list(theirs).index(name) for name in ours]))

    def of(self, values: Sequence[float], source: str, field: str) -> FloatArray:
        """A sender's vector in our order. Raises BadInput if it has another length."""
        if len(values) != len(self.index):
            raise BadInput(source, field, f"{len(values)} values", f"{len(self.index)}, one a joint")
        return np.asarray(values, dtype=float)[self.index]


def robot_state_message(state: RobotState, anchor: float, seq: int, epoch: int, names: Sequence[str], frame: str) -> msg.RobotState:
    """`anchor` [s]: ROS time less monotonic time, fixed when the driver starts, so that a clock that jumps moves nothing."""
    out = msg.RobotState(seq=seq, epoch=epoch, name=list(names))
    out.header.stamp, out.header.frame_id = to_time(state.t + anchor), frame
    out.q, out.dq, out.q_ref, out.dq_ref, out.torque = (v.tolist() for v in (state.q, state.dq, state.q_ref, state.dq_ref, state.torque))
    out.ee.x, out.ee.y, out.ee.z = (float(v) for v in state.ee)
    return out


def track_message(rows: TrackRows, anchor: float, seq: int, lost: int, names: Sequence[str], frame: str) -> msg.Track:
    """Rows of the tracker; times as in `robot_state_message`."""
    out = msg.Track(seq=seq, lost=lost, name=list(names), tick=_array("Q", rows.tick), epoch=_array("I", rows.epoch), state=_array("B", rows.state))
    out.header.stamp, out.header.frame_id = to_time(float(rows.t[-1]) + anchor), frame
    out.t, out.plan_seq = _array("d", rows.t + anchor), _array("Q", rows.plan_seq)
    out.q, out.dq, out.q_ref, out.dq_ref, out.torque, out.ee = (_array("f", v) for v in (rows.q, rows.dq, rows.q_ref, rows.dq_ref, rows.torque, rows.ee))
    return out


def track_rows(message: msg.Track, ours: Sequence[str]) -> TrackRows:
    """Rows of the tracker with the joints in our order. Raises BadInput that names the field."""
    joints, rows = JointMap.between(message.name, ours, "topic track"), len(message.t)
    vectors = {}
    for name in ("q", "dq", "q_ref", "dq_ref", "torque"):
        values = np.asarray(getattr(message, name), dtype=float)
        if values.size != rows * len(ours):
            raise BadInput("topic track", name, f"{values.size} values", f"{rows * len(ours)}, rows times joints")
        vectors[name] = values.reshape(rows, -1)[:, joints.index]
    for name, count in (("tick", 1), ("epoch", 1), ("state", 1), ("plan_seq", 1), ("ee", 3)):
        if len(getattr(message, name)) != count * rows:
            raise BadInput("topic track", name, f"{len(getattr(message, name))} values", f"{count * rows}, {count} a row")
    return TrackRows(
        t=np.asarray(message.t), tick=np.asarray(message.tick), plan_seq=np.asarray(message.plan_seq), epoch=np.asarray(message.epoch),
        state=np.asarray(message.state), ee=np.asarray(message.ee, dtype=float).reshape(rows, 3), **vectors,
    )  # fmt: skip


def _array(code: str, values: NDArray[Any]) -> array.array[Any]:
    """What rclpy takes without looking at each element."""
    return array.array(code, np.ascontiguousarray(values, dtype=np.dtype(code)).tobytes())


def measured(message: msg.RobotState, joints: JointMap) -> Measured:
    """A robot_state message as the planner's input. Raises BadInput that names the field."""
    vectors = {name: joints.of(getattr(message, name), "topic robot_state", name) for name in ("q", "dq", "q_ref", "dq_ref", "torque")}
    for name, vector in vectors.items():
        if not np.isfinite(vector).all():
            raise BadInput("topic robot_state", name, vector.tolist(), "finite values")
    state = RobotState(t=to_seconds(message.header.stamp), ee=np.array([message.ee.x, message.ee.y, message.ee.z]), **vectors)
    return Measured(state=state, seq=message.seq, epoch=message.epoch)


def subgoal_of(message: msg.Subgoal, joints: int) -> tuple[FloatArray, float] | None:
    """Goal (3,) [m], or (3 + n,) with joint positions after it, and time left [s]; None if there is none. Raises BadInput that names the field."""
    if not message.active:
        return None
    if len(message.goal) not in (3, 3 + joints) or not np.isfinite(message.goal).all():
        raise BadInput("topic subgoal", "goal", list(message.goal), f"3 finite coordinates, or these and {joints} joint positions")
    if not (np.isfinite(message.tau_s) and message.tau_s >= 0):
        raise BadInput("topic subgoal", "tau_s", message.tau_s, "a finite time of at least 0")
    return np.array(message.goal), float(message.tau_s)


def obstacles_of(message: msg.Obstacles, base_frame: str) -> tuple[Obstacle, ...]:
    """What is in the way. Raises BadInput that names the field."""
    if message.header.frame_id not in ("", base_frame):
        raise BadInput("topic obstacles", "header.frame_id", message.header.frame_id, f"{base_frame!r} or empty")
    if len(message.obstacles) > ROWS_LIMIT:
        raise BadInput("topic obstacles", "obstacles", f"{len(message.obstacles)} of them", f"at most {ROWS_LIMIT}")
    out = []
    for i, body in enumerate(message.obstacles):
        at = (body.position.x, body.position.y, body.position.z)
        try:
            out.append(Obstacle.model_validate({"shape": body.shape, "position": at, "size": tuple(body.size)}))
        except ValidationError as error:
            first = error.errors()[0]
            key = str(first["loc"][0]) if first["loc"] else "size"
            raise BadInput("topic obstacles", f"obstacles.{i}.{key}", str(first["input"])[:80], first["msg"]) from None
    return tuple(out)


def plan_message(plan: Plan, names: Sequence[str]) -> msg.Plan:
    out = msg.Plan(
        seq=plan.seq, state_seq=plan.state_seq, epoch=plan.epoch, effective=to_time(plan.effective_t), dt=plan.dt, horizon=len(plan.actions),
        name=list(names), cost_name=list(plan.cost), cost=list(plan.cost.values()), effective_samples=plan.effective_samples,
        nonfinite_samples=plan.nonfinite_samples, plan_time_s=plan.plan_time_s, bundle_sha256=plan.bundle_sha256, planner=plan.planner,
    )  # fmt: skip
    out.header.stamp = to_time(plan.state_t)
    out.actions, out.states, out.disagreement = plan.actions.ravel().tolist(), plan.states.ravel().tolist(), plan.disagreement.tolist()
    if (basis := plan.basis) is not None:
        out.goal, out.tau, out.temperature = basis.goal.tolist(), basis.tau, basis.temperature
        out.mean, out.weight = _array("f", basis.mean.ravel()), _array("f", basis.weights)
        out.noise_seed, out.shards, out.trust = basis.noise_seed, basis.shards, basis.trust
        out.obstacles = _array("f", basis.obstacles.ravel())
    return out


def plan_of(message: msg.Plan, ours: Sequence[str], anchor: float) -> Plan:
    """A plan message as the tracker's input, in monotonic time. Raises BadInput that names the field."""
    joints = JointMap.between(message.name, ours, "topic plan")
    n, h = len(ours), message.horizon
    if not 0 < h <= MAX_HORIZON:
        raise BadInput("topic plan", "horizon", h, f"1 to {MAX_HORIZON}")
    if len(message.actions) != h * n:
        raise BadInput("topic plan", "actions", f"{len(message.actions)} values", f"{h * n}, horizon times joints")
    actions = np.asarray(message.actions, dtype=float).reshape(h, n)[:, joints.index]
    return Plan(
        seq=message.seq, state_seq=message.state_seq, epoch=message.epoch, state_t=to_seconds(message.header.stamp) - anchor,
        effective_t=to_seconds(message.effective) - anchor, dt=message.dt, actions=actions, states=np.zeros((0, 0)), bundle_sha256=message.bundle_sha256,
    )  # fmt: skip


def seen_plan(message: msg.Plan) -> Plan:
    """A plan message as it was made, for those who look on; times are the driver's. Raises BadInput that names the field."""
    h, nu = int(message.horizon), len(message.name)
    sizes = {"actions": h * nu, "cost": len(message.cost_name)} | ({"mean": h * nu, "weight": len(message.cost_name)} if message.shards else {})
    for name, size in sizes.items():
        if len(getattr(message, name)) != size:
            raise BadInput("topic plan", name, f"{len(getattr(message, name))} values", f"{size}")
    if len(message.states) % (h + 1):
        raise BadInput("topic plan", "states", f"{len(message.states)} values", f"a multiple of {h + 1}, horizon + 1 states")
    if len(message.obstacles) % COLUMNS:
        raise BadInput("topic plan", "obstacles", f"{len(message.obstacles)} values", f"a multiple of {COLUMNS}")
    basis = None
    if message.shards:
        basis = Basis(
            goal=np.asarray(message.goal), tau=message.tau, trust=message.trust, mean=np.asarray(message.mean, np.float32).reshape(h, nu),
            weights=np.asarray(message.weight, np.float32), temperature=message.temperature, noise_seed=message.noise_seed, shards=message.shards,
            obstacles=np.asarray(message.obstacles, np.float32).reshape(-1, COLUMNS),
        )  # fmt: skip
    return Plan(
        seq=message.seq, state_seq=message.state_seq, epoch=message.epoch, state_t=to_seconds(message.header.stamp),
        effective_t=to_seconds(message.effective), dt=message.dt, actions=np.asarray(message.actions).reshape(h, nu),
        states=np.asarray(message.states).reshape(h + 1, -1), cost=dict(zip(message.cost_name, message.cost, strict=True)),
        disagreement=np.asarray(message.disagreement), plan_time_s=message.plan_time_s, bundle_sha256=message.bundle_sha256,
        planner=message.planner or "mppi", basis=basis,
    )  # fmt: skip


def safety_message(status: dict[str, Any], dropped: dict[str, int], reason: str, estop: str | None, publishers: int) -> msg.Safety:
    """The tracker's status; `estop`: what the graph has latched, which the tracker follows."""
    return msg.Safety(
        mode=status["state"], reason=reason, dropped_reason=list(dropped), dropped_count=list(dropped.values()), plans_accepted=status["accepted"],
        deadline_misses=status["deadline_misses"], limited_ticks=sum(status["acted"].values()), plan_publishers=publishers,
        estop=bool(status["estop"]), estop_reason=estop or status["estop"], epoch=status["epoch"], acted_rule=list(status["acted"]),
        acted_ticks=list(status["acted"].values()), acted_most=[float(status["acted_most"][rule]) for rule in status["acted"]],
    )  # fmt: skip
