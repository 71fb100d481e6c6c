"""A ROS client for the tests of robots on legs, in a process of its own: `python legs_probe.py COMMAND`, answers with one line of JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import Twist
from probe import Probe
from taustack_ros import topics


class LegsProbe(Probe):
    def __init__(self) -> None:
        super().__init__()
        self.plans: dict[str, int] = {}
        for topic in topics.LEG_TOPICS:
            if topic not in topics.TOPICS:
                self.create_subscription(topic.type, topic.name, lambda m, name=topic.name: self.newest.__setitem__(name, m), topic.qos)
        self.create_subscription(topics.PLAN.type, topics.PLAN.name, self._count, topics.PLAN.qos)
        self.twist = self.create_publisher(topics.CMD_VEL.type, topics.CMD_VEL.name, topics.CMD_VEL.qos)

    def _count(self, plan: Any) -> None:
        self.plans[plan.planner] = self.plans.get(plan.planner, 0) + 1

    def ready(self) -> None:
        assert self.until(lambda: self.client.server_is_ready() and {"walk_state", "safety"} <= set(self.newest), 90.0), (
            f"graph is not up: {sorted(self.newest)}"
        )
        assert self.until(lambda: self.newest["safety"].mode in ("ready", "running", "holding"), 30.0), self.newest["safety"]
        assert self.until(self._takes_plans, 90.0), f"no plan was taken: {self.plans}, {self.newest['safety']}"

    def _takes_plans(self) -> bool:
        """Ask to stand: somebody who can plan answers with plans, and a robot that is up takes them."""
        self.twist.publish(Twist())
        return bool(self.plans) and self.newest["safety"].plans_accepted > 0

    def place(self) -> np.ndarray:
        at = self.newest["walk_state"].pose.position
        return np.array([at.x, at.y])

    def walk(self, forward: float, turn: float, seconds: float) -> None:
        """Command a velocity."""
        until = time.monotonic() + seconds
        message = Twist()
        message.linear.x, message.angular.z = forward, turn
        while time.monotonic() < until:
            self.twist.publish(message)
            self.wait(0.05)


def goals(probe: LegsProbe) -> Any:
    """A place on the floor, and some that are none."""
    probe.ready()
    here = probe.place()
    probe.result(probe.accepted(probe.goal(*here, 0.0)))  # from here on all know each other
    refused = {
        "off the floor": probe.send(probe.goal(1.0, 0.0, 0.5)).accepted, "far": probe.send(probe.goal(500.0, 0.0, 0.0)).accepted,
        "nan": probe.send(probe.goal(float("nan"), 0.0, 0.0)).accepted, "frame": probe.send(probe.goal(1.0, 0.0, 0.0, "map")).accepted,
        "tight": probe.send(probe.goal(1.0, 0.0, 0.0, tolerance=0.01)).accepted,
    }  # fmt: skip
    result = probe.result(probe.accepted(probe.goal(1.5, 0.8, 0.0, timeout_s=60.0)))
    place = probe.place().tolist()
    assert probe.until(lambda: not probe.newest["walk_state"].walks)
    return {
        "refused": refused,
        "result": result,
        "place": place,
        "safety": probe.safety(),
        "plans": probe.plans,
        "joints": len(probe.newest["joint_states"].name),
    }


def commanded(probe: LegsProbe) -> Any:
    """Velocities on cmd_vel: walks, clips what is beyond, stands once they stop."""
    probe.ready()
    before = probe.place()
    probe.walk(0.5, 0.0, 3.0)
    way = float(np.hypot(*(probe.place() - before)))
    strides = max(abs(v) for v in probe.newest["walk_state"].strides)
    probe.walk(9.0, 0.0, 0.5)
    fastest = max(abs(v) for v in probe.newest["walk_state"].strides)
    probe.walk(float("nan"), 0.0, 0.2)
    stands = probe.until(lambda: not probe.newest["walk_state"].walks, 20.0)
    return {"way": way, "strides": strides, "fastest": fastest, "stands": stands, "mode": probe.safety()["mode"]}


def pressed(probe: LegsProbe) -> Any:
    """The e-stop in a walk: it stands, the goal has ended, new ones are refused; after the reset it goes on."""
    probe.ready()
    running = probe.accepted(probe.goal(*(probe.place() + [3.0, 0.0]), 0.0, timeout_s=60.0)).get_result_async()
    assert probe.until(lambda: probe.newest["walk_state"].walks)
    probe.wait(1.0)
    probe.trigger("press_estop")
    assert probe.until(lambda: not probe.newest["walk_state"].walks, 20.0)
    assert probe.until(running.done)
    safety, refused = probe.safety(), probe.send(probe.goal(0.0, 0.0, 0.0)).accepted
    reset = probe.trigger("reset_estop")
    assert probe.until(lambda: probe.newest["safety"].mode == "ready", 20.0)
    probe.walk(0.4, 0.0, 1.5)  # a joystick that was held through the stop
    barred = not probe.newest["walk_state"].walks
    before = probe.place()
    probe.walk(0.0, 0.0, 0.5)
    probe.walk(0.4, 0.0, 2.0)
    released = float(np.hypot(*(probe.place() - before)))
    again = probe.result(probe.accepted(probe.goal(*(probe.place() + [1.0, 0.0]), 0.0, timeout_s=60.0)))
    return {
        "message": running.result().result.message,
        "safety": safety,
        "refused": refused,
        "reset": reset["success"],
        "barred": barred,
        "released": released,
        "again": again["reached"],
    }


def keys(probe: LegsProbe) -> Any:
    """Asks for keys with PRESS lines, and says what came of them."""
    probe.ready()

    def press(text: str) -> None:
        print(f"PRESS {text}", flush=True)

    before = probe.place()
    probe.wait(0.5)
    probe.newest.pop("cmd_vel", None)  # its own, from `ready`: keys pressed before the other one reads are lost
    assert probe.until(lambda: "cmd_vel" in probe.newest, 60.0)
    press("wwww")
    assert probe.until(lambda: abs(probe.newest["cmd_vel"].linear.x - 0.4) < 1e-6, 20.0), probe.newest["cmd_vel"]
    probe.wait(2.0)
    press("x")
    assert probe.until(lambda: not probe.newest["walk_state"].walks, 20.0)
    way = float(np.hypot(*(probe.place() - before)))
    press(" ")
    assert probe.until(lambda: probe.newest["safety"].estop, 20.0)
    pressed = probe.newest["safety"].estop_reason
    press("r")
    return {"way": way, "pressed": pressed, "released": probe.until(lambda: not probe.newest["safety"].estop, 20.0)}


def wander(probe: LegsProbe, seconds: str) -> Any:
    """Walks for a while, by commanded velocities; says READY once it does."""
    probe.ready()
    probe.walk(0.5, 0.0, 1.0)
    print("READY", flush=True)
    probe.walk(0.5, 0.3, float(seconds))
    return {}


def main() -> None:
    rclpy.init()
    probe = LegsProbe()
    commands = {"goals": goals, "commanded": commanded, "pressed": pressed, "keys": keys, "wander": wander}
    print("ANSWER " + json.dumps(commands[sys.argv[1]](probe, *sys.argv[2:])), flush=True)
    probe.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
