"""Spoils messages and gives them to the only place that reads them: `python fuzz_messages.py CASES`, answers with a line of JSON."""

from __future__ import annotations

import json
import math
import random
import sys
from array import array
from typing import Any

from taustack_msgs import msg
from taustack_ros.convert import JointMap, measured, obstacles_of, plan_of, subgoal_of

from taustack.controllers.estop import EStop
from taustack.controllers.plan_gate import Expected, PlanGate, PlanRules
from taustack.controllers.wire import pack_plan, unpack_plan
from taustack.errors import BadInput

NAMES = [f"joint{i}" for i in range(7)]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 1e308, -1e308, math.nan, math.inf, -math.inf, 5e-324]
SINGLE = [0.0, -0.0, 1.0, -1.0, 3e38, -3e38, math.nan, math.inf, -math.inf, 1e-45]

FOR_THE_LOG = ("goal", "tau", "trust", "mean", "weight", "temperature", "noise_seed", "shards", "obstacles")  # of a plan: no node reads them


def spoil(message: Any, rng: random.Random) -> list[str]:
    """Change one to three fields in place; their names."""
    changed = []
    fields = [name for name in message.get_fields_and_field_types() if not (isinstance(message, msg.Plan) and name in FOR_THE_LOG)]
    for name in rng.sample(sorted(fields), k=rng.randint(1, 3)):
        value = getattr(message, name)
        if isinstance(value, array):
            size = rng.choice([0, 1, 6, 7, 8, 14, 25 * 7, 25 * 7 + 1])
            setattr(message, name, array(value.typecode, rng.choices(NUMBERS if value.typecode == "d" else SINGLE, k=size)))
        elif isinstance(value, list):
            setattr(message, name, rng.choice([[], NAMES[:-1], NAMES * 2, NAMES[::-1], ["", *NAMES[1:]], ["joint0"] * 7]))
        elif isinstance(value, bool):
            setattr(message, name, rng.random() < 0.5)
        elif isinstance(value, int):
            setattr(message, name, rng.choice([0, 1, 25, 401, 2**31 - 1]))
        elif isinstance(value, float):
            setattr(message, name, rng.choice(NUMBERS))
        elif isinstance(value, str):
            setattr(message, name, rng.choice(["", "x" * 10_000, "\u00e9", "../..", "nan"]))
        elif hasattr(value, "stamp"):
            value.stamp.sec, value.stamp.nanosec = rng.choice([0, -(2**31), 2**31 - 1]), rng.choice([0, 999_999_999, 2**32 - 1])
        else:
            continue
        changed.append(name)
    return changed


def make(kind: str) -> Any:
    """A good message."""
    v = array("d", [0.1] * 7)
    if kind == "state":
        return msg.RobotState(seq=1, name=NAMES, q=v, dq=v, q_ref=v, dq_ref=v, torque=v)
    if kind == "plan":
        return msg.Plan(seq=1, name=NAMES, horizon=25, dt=0.02, actions=array("d", [0.1] * 175))
    if kind == "subgoal":
        return msg.Subgoal(active=True, goal=array("d", [0.5, 0.1, 0.4]))
    if kind == "obstacle":
        return msg.Obstacle(shape="box", size=array("d", [0.1] * 3))
    return msg.EStop(source="button")


def read(kind: str, message: Any) -> None:
    """What a node does with it."""
    if kind == "state":
        measured(message, JointMap.between(message.name, NAMES, "topic robot_state"))
    elif kind == "plan":
        plan = unpack_plan(pack_plan(plan_of(message, NAMES, 100.0)))
        gate = PlanGate(PlanRules(nu=7, max_jump=plan.actions[0] * 0 + 0.5))
        gate.admit(plan, 0.0, Expected(None, plan.actions[0] * 0))
    elif kind == "subgoal":
        subgoal_of(message, len(NAMES))
    elif kind == "obstacle":
        obstacles_of(msg.Obstacles(obstacles=[message]), "base")
    else:
        estop = EStop(timeout_s=0.25)
        estop.hear(message.source, message.pressed, 0.0)
        estop.leave(message.source)
        estop.look(1.0)


def main() -> None:
    rng, refused, unnamed = random.Random(0), 0, []
    cases = int(sys.argv[1])
    for i in range(cases):
        kind = ("state", "plan", "subgoal", "estop", "obstacle")[i % 5 if i % 8 else 1]
        message = make(kind)
        changed = spoil(message, rng)
        try:
            read(kind, message)
        except BadInput as error:
            refused += 1
            if error.key.rsplit(".", 1)[-1] not in changed and not (error.key in ("actions", "horizon") and {"actions", "horizon"} & set(changed)):
                unnamed.append(str(error))
    print(json.dumps({"cases": cases, "refused": refused, "unnamed": unnamed[:5]}))


if __name__ == "__main__":
    main()
