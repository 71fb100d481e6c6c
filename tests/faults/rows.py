"""The fault matrix: fault, expected state, time allowed, limit checked. tests/faults runs it; docs/reference/faults.md is made from it.

The judge is the plant's true state. In every row: position, velocity, torque of the plant, acceleration and jerk of the
reference at the plant's input stay within the limits, and the plant stands still at the end unless a plan is followed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from taustack.obstacles import Obstacle
from taustack.sim.faults import Fault
from taustack.sim.scenario import Scenario

AT = 0.3  # [s] in the middle of the motion
LASTS = 0.5  # [s]


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row in lockstep.

    after: state expected after the fault began, or None if the run goes on. within_s: by when. reason: what the log says.
    end: state at the end of the run. self_stop: the robot's own watchdog is what stops it.
    """

    name: str
    faults: tuple[Fault, ...]
    after: str | None
    within_s: float = 0.0
    reason: str = ""
    end: tuple[str, ...] = ("running",)
    scenario: Scenario = field(default_factory=Scenario)
    planner: str = "feedback"
    self_stop: bool = False
    contact: bool | None = False


def one(kind: str, *, at_s: float = AT, for_s: float | None = LASTS, **more: Any) -> tuple[Fault, ...]:
    return (Fault(kind=kind, at_s=at_s, for_s=for_s, **more),)  # type: ignore[arg-type]


def row(name: str, faults: tuple[Fault, ...], after: str | None, within_s: float = 0.0, reason: str = "", **more: Any) -> Row:
    return Row(name=name, faults=faults, after=after, within_s=within_s, reason=reason, **more)


TICK = 0.002
HOLD, DAMP = ("holding",), ("damped",)
OUTSIDE = Scenario(initial_q=(0.0, 0.0, 0.0, -0.05, 0.0, 1.57, 0.0))
WALL = Scenario(obstacles=(Obstacle(shape="box", position=(0.45, 0.3, 0.45), size=(0.2, 0.03, 0.45)),))

ROWS: tuple[Row, ...] = (
    # sensors
    row("frozen state with advancing stamps", one("frozen_state"), "holding", 0.054, "measurement frozen"),
    row("state that stops", one("state_stops"), "holding", 0.026, "measurement too old"),
    row("joints permuted", one("joints_permuted"), "holding", TICK, "measurement position jump", end=DAMP),
    row("joint missing", one("joint_missing"), "holding", TICK, "measurement wrong size"),
    row("joints doubled", one("joints_doubled"), "holding", TICK, "measurement wrong size"),
    row("position jump of 0.1 rad", one("position_jump", strength=0.1, joint=1), "holding", TICK, "measurement position jump", end=("running", "damped")),
    row("position jump of 1 rad", one("position_jump", strength=1.0, joint=1), "holding", TICK, "measurement position jump", end=DAMP),
    row("position jump for one sample", one("position_jump", strength=0.5, for_s=TICK, joint=3), "holding", TICK, "measurement position jump"),
    row("stuck sensor of one joint", one("stuck_sensor", joint=1), "holding", 0.054, "measurement frozen: joint 2"),
    row("noise of 3 mrad on all joints", one("noisy_sensor", strength=0.003), None),
    row("measurements 10 ms old", one("delayed_sensor", strength=0.01), None),
    row("measurements 100 ms old", one("delayed_sensor", strength=0.1), "holding", 0.03, "measurement"),
    row("NaN in a position", one("nan_sensor", joint=2), "holding", TICK, "measurement not finite"),
    row("NaN in one sample", one("nan_sensor", joint=2, for_s=TICK), "holding", TICK, "measurement not finite"),
    row("infinite velocity", one("infinite_sensor", joint=5), "holding", TICK, "measurement not finite"),
    row("late samples", one("late_samples"), None),
    row("reordered samples", one("reordered_samples"), None),
    row("doubled samples", one("doubled_samples"), None),
    row("clock jumps by +10 s", one("clock_jump", strength=10.0), "holding", TICK, "measurement from the future"),
    row("clock jumps by -10 s", one("clock_jump", strength=-10.0), "holding", 0.026, "measurement clock went back"),
    row("clock jumps by -1 h", one("clock_jump", strength=-3600.0), "holding", 0.026, "measurement clock went back"),
    row("start outside a limit", (), None, scenario=OUTSIDE, end=("idle",)),
    # time
    row("variable dt: one tick in four", one("missed_ticks", strength=4), None),
    row("ticks 16 ms apart", one("missed_ticks", strength=8), None),
    # plans
    row("NaN in plans", one("nan_plan"), "holding", 0.15, "plan is stale"),
    row("infinite plans", one("infinite_plan"), "holding", 0.15, "plan is stale"),
    row("plans of the wrong size", one("wrong_size_plan"), "holding", 0.15, "plan is stale"),
    row("stale plans", one("stale_plan", strength=0.2), "holding", 0.15, "plan is stale"),
    row("plans from the future", one("future_plan", strength=5.0), "holding", 0.15, "plan is stale"),
    row("plans of another epoch", one("other_epoch_plan"), "holding", 0.15, "plan is stale"),
    row("plans at the limits' corners", one("corner_plan", strength=0.2, at_s=0.0, for_s=None), None, end=("running", "holding", "damped")),
    row("plans far beyond the limits' corners", one("corner_plan", strength=3.0), "holding", 0.15, "plan is stale"),
    row("plans alternating between the extremes at 50 Hz", one("alternating_plan"), "holding", 0.15, "plan is stale"),
    row("late plans: 60 ms", one("inference_slow", strength=0.06), None),
    row("late plans: 90 ms", one("inference_slow", strength=0.09), None),
    row("reordered plans", one("reordered_plan"), None),
    row("doubled plans: a flood of 50", one("plan_flood", strength=50), None),
    row("plans stop", one("no_plan"), "holding", 0.15, "plan is stale"),
    row("inference raises", one("inference_raises"), "holding", 0.15, "plan is stale"),
    row("inference hangs", one("inference_hangs"), "holding", 0.15, "plan is stale"),
    row("goal jumps twice a second", one("goal_jumps", for_s=None), None),
    row("bundle with swapped outputs and valid hashes", one("swapped_outputs", at_s=0.0, for_s=None), None, end=("running", "holding"), planner="direct"),
    row("outputs swapped in the middle", one("swapped_outputs"), None, end=("running", "holding"), planner="direct"),
    row("MPPI: plans stop", one("no_plan"), "holding", 0.15, "plan is stale", planner="direct"),
    row("MPPI: NaN in a position", one("nan_sensor", joint=0), "holding", TICK, "measurement not finite", planner="direct"),
    # e-stop
    row("e-stop during motion, then reset", one("estop"), "holding", TICK, "e-stop: pressed by the button"),
    row("e-stop during a hold", one("no_plan", at_s=0.2, for_s=None) + one("estop", at_s=0.6, for_s=None), "holding", 0.31, "plan is stale", end=HOLD),
    row("e-stop from the start, then reset", one("estop", at_s=0.0, for_s=0.4), None),
    row("e-stop of the robot, never reset", one("estop_of_robot"), "holding", TICK, "e-stop: pressed by the robot", end=HOLD),
    row("e-stop whose publisher died", one("estop_silent", for_s=None), "holding", 0.256, "e-stop: the wireless button is silent", end=HOLD),
    row("e-stop pressed twice at once", one("estop_twice"), "holding", TICK, "e-stop: pressed by the button", end=HOLD),
    row("reset while still pressed", one("estop_reset_while_pressed", for_s=None), "holding", TICK, "e-stop: pressed by the button", end=HOLD),
    row("e-stop while a sensor fails", one("nan_sensor") + one("estop", at_s=0.4, for_s=0.2), "holding", TICK, "measurement not finite"),
    # processes, as the robot sees them
    row("tracker stalls for 0.5 s (SIGSTOP)", one("tracker_stalls"), "holding", LASTS + TICK, "the robot stopped by itself", self_stop=True),
    row("tracker stalls for 40 ms", one("tracker_stalls", at_s=0.25, for_s=0.04), "holding", 0.044, "the robot stopped by itself", self_stop=True),
    row("tracker killed", one("tracker_killed", for_s=None), None, self_stop=True),
    row("bridge dead", one("bridge_dead"), "holding", 0.104, "no sign of life from the driver node"),
    row("second publisher of plans: a hold is asked for", one("hold_request"), "holding", TICK, "the bridge asks for it"),
    # robot and surroundings
    row("torque limits at 60 %", one("actuator_saturated", strength=0.6), None, end=("running", "damped")),
    row("actuators 20 ms late", one("actuator_delayed", strength=0.02), None),
    row("shoulder motor dead", one("joint_dead", joint=1, for_s=None), "damped", 0.25, "joint 2", end=DAMP, contact=None),
    row("wrist motor dead", one("joint_dead", joint=5, for_s=None), "damped", 0.6, "joint 6", end=DAMP, contact=None),
    row("payload of 2 kg dropped in motion", one("payload_dropped", for_s=None), None, scenario=Scenario(payload_kg=2.0)),
    row("pushed sideways by 60 N", one("pushed", strength=60.0), None, end=("running", "damped")),
    row("contact with a wall", (), "damped", 3.0, "", scenario=WALL, end=DAMP, contact=True),
    # several at once
    row("sensor lost, then a stall", one("nan_sensor") + one("tracker_stalls", at_s=0.35, for_s=0.2), "holding", TICK, "measurement", self_stop=True),
    row("plans stop while a motor saturates", one("no_plan") + one("actuator_saturated", strength=0.7), "holding", 0.15, "plan is stale"),
)  # fmt: skip
