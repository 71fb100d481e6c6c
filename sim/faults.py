"""Faults: what goes wrong, when, for how long and how strongly. The same list drives tests, `--faults FILE` and random campaigns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
from pydantic import Field

from taustack.errors import BadInput
from taustack.strict_yaml import StrictModel, load

SensorKind = Literal[
    "frozen_state", "state_stops", "joints_permuted", "joint_missing", "joints_doubled", "position_jump", "stuck_sensor", "noisy_sensor",
    "delayed_sensor", "nan_sensor", "infinite_sensor", "late_samples", "reordered_samples", "doubled_samples", "clock_jump",
]  # fmt: skip
PlanKind = Literal[
    "nan_plan", "infinite_plan", "wrong_size_plan", "stale_plan", "future_plan", "other_epoch_plan", "corner_plan", "alternating_plan", "reordered_plan",
    "plan_flood", "no_plan", "inference_raises", "inference_hangs", "inference_slow", "swapped_outputs", "goal_jumps",
]  # fmt: skip
RobotKind = Literal["actuator_saturated", "actuator_delayed", "joint_dead", "payload_dropped", "pushed"]
ProcessKind = Literal["tracker_stalls", "tracker_killed", "bridge_dead", "missed_ticks", "hold_request"]
EStopKind = Literal["estop", "estop_of_robot", "estop_silent", "estop_twice", "estop_reset_while_pressed"]
LegKind = Literal["imu_nan", "imu_biased", "kicked"]
Kind = Literal[SensorKind, PlanKind, RobotKind, ProcessKind, EStopKind, LegKind]
KINDS: tuple[Kind, ...] = tuple(kind for group in get_args(Kind) for kind in (get_args(group) or (group,)))
ARM_KINDS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind not in get_args(LegKind))
OF_OTHERS: tuple[Kind, ...] = tuple(kind for kind in KINDS if kind in (*get_args(PlanKind), *get_args(ProcessKind), *get_args(EStopKind)))
"""Kinds that leave a robot, its sensors and its surroundings as they are."""


@dataclass(frozen=True)
class KindInfo:
    """What a kind does; the range of strengths a campaign draws from, with its unit; whether it needs a joint."""

    effect: str
    strength: tuple[float, float] = (1.0, 1.0)
    unit: str = ""
    joint: bool = False


INFO: dict[str, KindInfo] = {
    "frozen_state": KindInfo("measurements repeat while their stamps advance"),
    "state_stops": KindInfo("no new measurement comes"),
    "joints_permuted": KindInfo("the first and the last joint change places in the measurement"),
    "joint_missing": KindInfo("the measurement lacks its last joint"),
    "joints_doubled": KindInfo("the measurement has every joint twice"),
    "position_jump": KindInfo("a joint's position is off", (0.1, 1.0), "rad", True),
    "stuck_sensor": KindInfo("a joint's position and velocity stay as they are", joint=True),
    "noisy_sensor": KindInfo("noise on the positions, std", (1e-4, 3e-3), "rad"),
    "delayed_sensor": KindInfo("measurements are this old", (0.003, 0.1), "s"),
    "nan_sensor": KindInfo("a joint's position is NaN", joint=True),
    "infinite_sensor": KindInfo("a joint's velocity is infinite", joint=True),
    "late_samples": KindInfo("every second measurement is one period late"),
    "reordered_samples": KindInfo("measurements come in pairs, the newer first"),
    "doubled_samples": KindInfo("every measurement comes twice"),
    "clock_jump": KindInfo("the stamps of the measurements jump", (-3600.0, 10.0), "s"),
    "nan_plan": KindInfo("plans carry a NaN"),
    "infinite_plan": KindInfo("plans carry an infinite action"),
    "wrong_size_plan": KindInfo("plans lack a joint"),
    "stale_plan": KindInfo("plans are this much older", (0.11, 1.0), "s"),
    "future_plan": KindInfo("plans take effect this much later", (0.11, 10.0), "s"),
    "other_epoch_plan": KindInfo("plans are of another epoch"),
    "corner_plan": KindInfo("plans ask for a corner of the velocity limits, times", (0.2, 3.0)),
    "alternating_plan": KindInfo("plans alternate between the two extremes of the velocity"),
    "reordered_plan": KindInfo("every second plan comes after the next one"),
    "plan_flood": KindInfo("every plan comes this many times", (5, 50)),
    "no_plan": KindInfo("plans stop"),
    "inference_raises": KindInfo("the planner raises"),
    "inference_hangs": KindInfo("the planner hangs"),
    "inference_slow": KindInfo("plans come this much later", (0.01, 0.09), "s"),
    "swapped_outputs": KindInfo("the actions of the first and the last joint change places"),
    "goal_jumps": KindInfo("the goal alternates between two places twice a second"),
    "actuator_saturated": KindInfo("the torque limits shrink to this fraction", (0.6, 0.95)),
    "actuator_delayed": KindInfo("the reference arrives this much later; the queue it leaves empties 3 % faster than commands come", (0.002, 0.03), "s"),
    "joint_dead": KindInfo("a motor gives no torque", joint=True),
    "payload_dropped": KindInfo("the scenario's payload is gone from now on"),
    "pushed": KindInfo("a force pushes the end effector sideways", (5.0, 60.0), "N"),
    "tracker_stalls": KindInfo("the tracker does not run (SIGSTOP)"),
    "tracker_killed": KindInfo("the tracker does not run any more (kill -9)"),
    "bridge_dead": KindInfo("no sign of life from the driver node, no plans through it"),
    "missed_ticks": KindInfo("the tracker runs on one tick of this many", (2, 8)),
    "hold_request": KindInfo("the bridge asks for a hold"),
    "estop": KindInfo("the e-stop is pressed, and then reset"),
    "estop_of_robot": KindInfo("the robot's own e-stop is pressed, and not reset"),
    "estop_silent": KindInfo("an e-stop source dies"),
    "estop_twice": KindInfo("two sources press at once; one lets go"),
    "estop_reset_while_pressed": KindInfo("reset is asked for while it is pressed"),
    "imu_nan": KindInfo("legs: an axis of the gyro is NaN (`joint` counts the axes)"),
    "imu_biased": KindInfo("legs: an axis of the gyro is off", (0.05, 0.5), "rad/s"),
    "kicked": KindInfo("legs: the base is kicked sideways, by this change of the robot's velocity", (0.3, 1.5), "m/s"),
}


class Fault(StrictModel):
    """One fault of a scenario."""

    kind: Kind = Field(description="what: see docs/reference/faults.md")
    at_s: Annotated[float, Field(ge=0)] = Field(description="when it begins [s]")
    for_s: Annotated[float, Field(gt=0)] | None = Field(default=None, description="how long it lasts [s]; absent: to the end")
    strength: float = Field(default=1.0, description="how strong; the kind says in what unit")
    joint: Annotated[int, Field(ge=0)] = Field(default=0, description="which joint, from 0, for kinds that need one")

    def active(self, t: float) -> bool:
        """True while it lasts."""
        return self.at_s <= t and (self.for_s is None or t < self.at_s + self.for_s)


class FaultList(StrictModel):
    """A file of faults."""

    faults: tuple[Fault, ...] = ()


def load_faults(path: Path, joints: int, kinds: Sequence[Kind] = ARM_KINDS) -> tuple[Fault, ...]:
    """Faults of a YAML file, for a robot of so many joints that can suffer these kinds.

    Raises:
        BadInput: names file, key, what came and what was expected.
    """
    faults = load(FaultList, path).faults
    require_joints(faults, joints, path, kinds)
    return faults


def require_joints(faults: Sequence[Fault], joints: int, source: Path, kinds: Sequence[Kind] = ARM_KINDS) -> None:
    """Raises BadInput if a fault names a joint that the robot does not have, or is of a kind that it cannot suffer."""
    for i, fault in enumerate(faults):
        if fault.kind not in kinds:
            raise BadInput(source, f"faults.{i}.kind", fault.kind, "a kind that is not of robots on legs alone")
        if fault.joint >= joints:
            raise BadInput(source, f"faults.{i}.joint", fault.joint, f"0 to {joints - 1}")


def draw_faults(rng: np.random.Generator, joints: int, duration_s: float, kinds: Sequence[Kind] = ARM_KINDS) -> tuple[Fault, ...]:
    """One to three random faults of these kinds that begin in the first two thirds of a run."""
    faults = []
    for _ in range(int(rng.integers(1, 4))):
        kind = kinds[int(rng.integers(len(kinds)))]
        low, high = INFO[kind].strength
        for_s = None if rng.random() < 0.3 else round(float(rng.uniform(0.02, 1.0)), 3)
        at_s, strength = round(float(rng.uniform(0.0, 0.66 * duration_s)), 3), round(float(rng.uniform(low, high)), 4)
        faults.append(Fault(kind=kind, at_s=at_s, for_s=for_s, strength=strength, joint=int(rng.integers(joints))))
    return tuple(faults)
