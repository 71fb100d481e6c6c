"""The fault matrix of robots on legs, as `rows.py` for arms. The walk is by a law without a model, or by MPPI over the bundle.

In every row: commands at the plant's input and torques stay within the limits, joints of a robot on its feet as well; at the end it follows a plan,
or it stands or lies still; and if it lies, its joints are damped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taustack.sim.faults import Fault

AT = 1.5  # [s] in the middle of a walk
LASTS = 0.3  # [s] less than it takes until a robot that is blind is damped


@dataclass(frozen=True, kw_only=True)
class LegRow:
    """A row in lockstep: see `rows.Row`. falls: whether it may fall."""

    name: str
    faults: tuple[Fault, ...]
    after: str | None
    within_s: float = 0.0
    reason: str = ""
    end: tuple[str, ...] = ("running",)
    planner: str = "feedback"
    self_stop: bool = False
    falls: bool = False


def one(kind: str, *, at_s: float = AT, for_s: float | None = LASTS, **more: Any) -> tuple[Fault, ...]:
    return (Fault(kind=kind, at_s=at_s, for_s=for_s, **more),)  # type: ignore[arg-type]


def row(name: str, faults: tuple[Fault, ...], after: str | None, within_s: float = 0.0, reason: str = "", **more: Any) -> LegRow:
    return LegRow(name=name, faults=faults, after=after, within_s=within_s, reason=reason, **more)


TICK = 0.002
STALE = 0.25  # plans are followed for 0.2 s after they took effect
BLIND = 1.002
HOLD, DAMP = ("holding",), ("damped",)
ANY = ("running", "holding", "damped")

LEG_ROWS: tuple[LegRow, ...] = (
    # sensors
    row("frozen state with advancing stamps", one("frozen_state"), "holding", 0.056, "measurement frozen"),
    row("frozen state for good", one("frozen_state", for_s=None), "damped", 0.056 + BLIND, "no measurement to be trusted", end=DAMP),
    row("state that stops", one("state_stops"), "holding", 0.026, "measurement too old"),
    row("joints permuted", one("joints_permuted"), "holding", TICK, "measurement position jump", end=ANY, falls=True),
    row("joint missing", one("joint_missing"), "holding", TICK, "measurement wrong size"),
    row("joints doubled, for good", one("joints_doubled", for_s=None), "damped", BLIND, "no measurement to be trusted", end=DAMP),
    row("position jump of 0.2 rad for one sample", one("position_jump", strength=0.2, for_s=TICK, joint=1), "holding", TICK, "measurement position jump"),
    row("stuck sensor of one joint", one("stuck_sensor", joint=1), "holding", 0.102, "measurement frozen", end=ANY),
    row("noise of 3 mrad on all joints", one("noisy_sensor", strength=0.003), None),
    row("measurements 10 ms old", one("delayed_sensor", strength=0.01), None),
    row("measurements 100 ms old", one("delayed_sensor", strength=0.1), "holding", 0.03, "measurement"),
    row("NaN in a position", one("nan_sensor", joint=2), "holding", TICK, "measurement impossible: q"),
    row("infinite velocity", one("infinite_sensor", joint=5), "holding", TICK, "measurement impossible: dq"),
    row("NaN in an axis of the gyro", one("imu_nan", joint=1), "holding", TICK, "measurement impossible: gyro of axis y"),
    row("NaN in an axis of the gyro, for good", one("imu_nan", joint=1, for_s=None), "damped", BLIND, "no measurement to be trusted", end=DAMP),
    row("an axis of the gyro off by 0.1 rad/s", one("imu_biased", joint=2, strength=0.1, for_s=None), None),
    row("late samples", one("late_samples"), None),
    row("reordered samples", one("reordered_samples"), None),
    row("doubled samples", one("doubled_samples"), None),
    row("clock jumps by +10 s", one("clock_jump", strength=10.0), "holding", TICK, "measurement from the future"),
    row("clock jumps by -1 h", one("clock_jump", strength=-3600.0), "holding", 0.026, "measurement clock went back"),
    # time
    row("variable dt: one tick in four", one("missed_ticks", strength=4, for_s=None), None),
    row("ticks 16 ms apart", one("missed_ticks", strength=8, for_s=1.0), None),
    # plans
    row("NaN in plans", one("nan_plan"), "holding", STALE, "plan is stale"),
    row("infinite plans", one("infinite_plan"), "holding", STALE, "plan is stale"),
    row("plans of the wrong size", one("wrong_size_plan"), "holding", STALE, "plan is stale"),
    row("stale plans", one("stale_plan", strength=0.2), "holding", STALE, "plan is stale"),
    row("plans from the future", one("future_plan", strength=5.0), "holding", STALE, "plan is stale"),
    row("plans of another epoch", one("other_epoch_plan"), "holding", STALE, "plan is stale"),
    row("plans at the strides' corners", one("corner_plan", strength=1.0, for_s=0.2), None, end=ANY, falls=True),
    row("plans far beyond the strides' corners", one("corner_plan", strength=3.0), "holding", STALE, "plan is stale"),
    row("plans alternating between the extremes at 50 Hz", one("alternating_plan"), None, end=ANY),
    row("late plans: 60 ms", one("inference_slow", strength=0.06), None),
    row("reordered plans", one("reordered_plan"), None),
    row("doubled plans: a flood of 50", one("plan_flood", strength=50), None),
    row("plans stop", one("no_plan"), "holding", STALE, "plan is stale"),
    row("plans stop three times in a row", one("no_plan") + one("no_plan", at_s=2.0) + one("no_plan", at_s=2.5), "holding", STALE, "plan is stale"),
    row("velocity jumps to its opposite twice a second", one("goal_jumps", for_s=None), None),
    row("MPPI: plans stop", one("no_plan"), "holding", STALE, "plan is stale", planner="mppi"),
    row("MPPI: NaN in a position", one("nan_sensor", joint=0), "holding", TICK, "measurement impossible: q", planner="mppi"),
    row("bundle with swapped outputs and valid hashes", one("swapped_outputs", for_s=None), None, end=ANY, planner="mppi", falls=True),
    # e-stop
    row("e-stop in a walk, then reset", one("estop", for_s=1.5), "holding", TICK, "e-stop: pressed by the button"),
    row("e-stop right after a hold", one("no_plan") + one("estop", at_s=2.2, for_s=None), "holding", STALE, "plan is stale", end=HOLD),
    row("e-stop of the robot, never reset", one("estop_of_robot"), "holding", TICK, "e-stop: pressed by the robot", end=HOLD),
    row("e-stop whose publisher died", one("estop_silent", for_s=None), "holding", 0.256, "e-stop: the wireless button is silent", end=HOLD),
    row("e-stop pressed twice at once", one("estop_twice"), "holding", TICK, "e-stop: pressed by the button", end=HOLD),
    row("reset while still pressed", one("estop_reset_while_pressed", for_s=None), "holding", TICK, "e-stop: pressed by the button", end=HOLD),
    # processes, as the robot sees them
    row("tracker stalls for 0.3 s (SIGSTOP)", one("tracker_stalls"), "damped", LASTS + TICK, "the robot stopped by itself", end=DAMP, self_stop=True),
    row("tracker stalls for 60 ms, at most what Linux takes at a time", one("tracker_stalls", for_s=0.06), None),
    row("tracker killed", one("tracker_killed", for_s=None), None, self_stop=True),
    row("bridge dead", one("bridge_dead"), "holding", 0.104, "no sign of life from the driver node"),
    row("a hold is asked for", one("hold_request"), "holding", TICK, "the bridge asks for it"),
    # robot and surroundings
    row("torque limits at 70 %", one("actuator_saturated", strength=0.7, for_s=None), None),
    row("motors 10 ms late", one("actuator_delayed", strength=0.01), None),
    row("a calf's motor dead", one("joint_dead", joint=2, for_s=None), "damped", 1.5, "", end=DAMP, falls=True),
    row("kicked sideways by 1 m/s", one("kicked", strength=1.0), None),
    row("pushed sideways by 20 N", one("pushed", strength=20.0), None),
    # several at once
    row("sensor lost, then a stall", one("nan_sensor") + one("tracker_stalls", at_s=1.6), "holding", TICK, "measurement", end=DAMP, self_stop=True),
    row("plans stop while motors saturate", one("no_plan") + one("actuator_saturated", strength=0.8), "holding", STALE, "plan is stale"),
    row("kicked while plans stop", one("no_plan") + one("kicked", strength=0.5, at_s=1.9), "holding", STALE, "plan is stale"),
)  # fmt: skip
