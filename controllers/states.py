"""The states of the tracker and every transition between them, as one pure table.

idle     nothing was commanded yet: the robot's own safe action stands
ready    the reference stands where the robot is; a plan may start
running  a plan is followed
holding  the reference came, or comes, to rest within the limits, and stays
damped   no reference: the joints are damped, gravity is compensated
"""

from __future__ import annotations

from typing import Literal, get_args

from taustack.layout import State

Event = Literal["trusted", "plan", "no_plan", "hold", "sensor_fault", "estop", "overload", "held_long", "reset"]
EVENTS: tuple[Event, ...] = get_args(Event)

TRANSITIONS: dict[tuple[State, Event], State] = {
    ("idle", "trusted"): "ready",
    ("ready", "plan"): "running",
    ("ready", "hold"): "holding",
    ("ready", "sensor_fault"): "holding",
    ("ready", "estop"): "holding",
    ("ready", "overload"): "damped",
    ("running", "no_plan"): "holding",
    ("running", "hold"): "holding",
    ("running", "sensor_fault"): "holding",
    ("running", "estop"): "holding",
    ("running", "overload"): "damped",
    ("holding", "plan"): "running",
    ("holding", "overload"): "damped",
    ("holding", "held_long"): "damped",
    ("holding", "reset"): "ready",
    ("damped", "reset"): "idle",
}


def next_state(state: State, event: Event) -> State:
    """The state after an event; events that a state does not know leave it as it is."""
    return TRANSITIONS.get((state, event), state)
