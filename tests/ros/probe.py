"""A ROS client for the tests, in a process of its own: `python probe.py COMMAND ARGS`, answers with one line of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np
import rclpy
from action_msgs.msg import GoalStatus
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from taustack_msgs.action import ReachGoal
from taustack_msgs.msg import Obstacle
from taustack_msgs.srv import PredictRollout
from taustack_ros import topics
from taustack_ros.convert import obstacles_of, to_seconds, to_time

from taustack.obstacles import obstacle_rows, point_distances

STATUS = {GoalStatus.STATUS_SUCCEEDED: "succeeded", GoalStatus.STATUS_ABORTED: "aborted", GoalStatus.STATUS_CANCELED: "canceled"}
IN_THE_BASE = [(-0.05, 0.0, 0.0), (0.0, 0.0, 0.0), (0.03, 0.0, 0.0), (0.0, -0.5, 0.0)]


class Probe(Node):
    def __init__(self) -> None:
        super().__init__("probe")
        self.newest: dict[str, Any] = {}
        for topic in topics.TOPICS:
            self.create_subscription(topic.type, topic.name, lambda m, name=topic.name: self.newest.__setitem__(name, m), topic.qos)
        self.client = ActionClient(self, ReachGoal, "reach_goal", goal_service_qos_profile=topics.GOALS, result_service_qos_profile=topics.GOALS)

    def until(self, done: Any, timeout_s: float = 60.0) -> bool:
        end = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > end:
                return False
            rclpy.spin_once(self, timeout_sec=0.02)
        return True

    def wait(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def goal(self, x: float, y: float, z: float, frame: str = "", **fields: float) -> ReachGoal.Goal:
        goal = ReachGoal.Goal(**fields)
        goal.target.header.frame_id = frame
        goal.target.point.x, goal.target.point.y, goal.target.point.z = float(x), float(y), float(z)
        return goal

    def send(self, goal: ReachGoal.Goal) -> Any:
        future = self.client.send_goal_async(goal)
        assert self.until(future.done), "no answer to a goal"
        return future.result()

    def accepted(self, goal: ReachGoal.Goal) -> Any:
        """Send until it is accepted: on a machine that stalls the arm may just be held for it."""
        handle = self.send(goal)
        end = time.monotonic() + 60.0
        while not handle.accepted and time.monotonic() < end:
            self.wait(0.5)
            handle = self.send(goal)
        return handle

    def taken(self, goal: ReachGoal.Goal) -> bool:
        """Whether a goal is accepted; it is taken back at once then."""
        handle = self.send(goal)
        if handle.accepted:
            self.until(handle.cancel_goal_async().done)
            self.result(handle)
        return bool(handle.accepted)

    def result(self, handle: Any) -> dict[str, Any]:
        if not handle.accepted:
            return {"accepted": False}
        future = handle.get_result_async()
        assert self.until(future.done), "no result of a goal"
        answer = future.result()
        return {
            "accepted": True,
            "status": STATUS.get(answer.status, answer.status),
            "reached": answer.result.reached,
            "error_m": answer.result.final_error,
            "message": answer.result.message,
        }

    def trigger(self, name: str) -> dict[str, Any]:
        client = self.create_client(Trigger, name)
        assert client.wait_for_service(timeout_sec=90.0)
        future = client.call_async(Trigger.Request())
        assert self.until(future.done)
        return {"success": future.result().success, "message": future.result().message}

    def ready(self) -> None:
        assert self.until(lambda: self.client.server_is_ready() and {"robot_state", "model"} <= set(self.newest), 90.0), (
            f"graph is not up: {sorted(self.newest)}"
        )
        self.wait(0.7)

    def safety(self) -> dict[str, Any]:
        self.newest.pop("safety", None)
        assert self.until(lambda: "safety" in self.newest)
        safety = self.newest["safety"]
        return {
            "mode": safety.mode, "reason": safety.reason, "dropped": dict(zip(safety.dropped_reason, safety.dropped_count, strict=True)),
            "accepted": safety.plans_accepted, "publishers": safety.plan_publishers,
        }  # fmt: skip


def reach(probe: Probe, *args: str) -> Any:
    """Right after the start the planner may not know the others yet and refuses: ask again for a while."""
    probe.ready()
    until = time.monotonic() + 15.0
    while not (handle := probe.send(probe.goal(*(float(a) for a in args[:3]), *args[3:]))).accepted and time.monotonic() < until:
        probe.wait(0.5)
    return probe.result(handle)


def ask_once(probe: Probe, *args: str) -> Any:
    probe.ready()
    return probe.result(probe.send(probe.goal(*(float(a) for a in args[:3]), *args[3:])))


def look(probe: Probe) -> Any:
    probe.ready()
    probe.send(probe.goal(0.5, 0.2, 0.5))
    told = {topic.name for topic in topics.TOPICS} - {"estop", "obstacles"}  # who is there to speak on them, if anybody
    assert probe.until(lambda: told <= set(probe.newest)), f"missing: {sorted(told - set(probe.newest))}"
    probe.until(lambda: probe.newest["plan"].bundle_sha256)  # on a slow machine the fallback plans now and then, without a model
    state, plan, model = probe.newest["robot_state"], probe.newest["plan"], probe.newest["model"]
    return {
        "names": list(state.name), "q": list(state.q), "seq": state.seq, "epoch": state.epoch, "joint_states": list(probe.newest["joint_states"].name),
        "plan": {
            "seq": plan.seq, "horizon": plan.horizon, "actions": len(plan.actions), "states": len(plan.states), "bundle": plan.bundle_sha256,
            "lead_s": to_seconds(plan.effective) - to_seconds(plan.header.stamp), "cost_name": list(plan.cost_name),
        },
        "model": {"sha256": model.sha256, "robot": model.robot, "horizon": model.horizon}, "safety": probe.safety(),
    }  # fmt: skip


def diagnostics(probe: Probe) -> Any:
    probe.ready()
    found: dict[str, Any] = {}

    def seen() -> bool:
        message = probe.newest.get("/diagnostics")
        if message is not None:
            found.update({status.name: {value.key: value.value for value in status.values} for status in message.status})
        return {"tracker", "controller", "driver", "dynamics_server: model"} <= set(found)

    assert probe.until(seen), sorted(found)
    return found


def preempt(probe: Probe) -> Any:
    probe.ready()
    first = probe.accepted(probe.goal(0.4, -0.4, 0.3))
    probe.wait(0.2)
    second = probe.accepted(probe.goal(0.5, 0.3, 0.5))
    return {"first": probe.result(first), "second": probe.result(second)}


def cancel(probe: Probe) -> Any:
    probe.ready()
    handle = probe.accepted(probe.goal(0.3, 0.5, 0.6))
    probe.wait(0.3)
    future = handle.cancel_goal_async()
    probe.until(future.done)
    result = probe.result(handle)
    probe.wait(1.0)
    return result | {"safety": probe.safety(), "speed": max(abs(v) for v in probe.newest["robot_state"].dq)}


def flood(probe: Probe, count: str) -> Any:
    probe.ready()
    began = time.monotonic()
    futures = [probe.client.send_goal_async(probe.goal(0.5, 0.2, 0.5)) for _ in range(int(count))]
    assert probe.until(lambda: all(f.done() for f in futures))
    took_s = time.monotonic() - began
    accepted = sum(f.result().accepted for f in futures)
    probe.wait(1.2)
    return {"accepted": accepted, "took_s": took_s, "after": probe.result(probe.accepted(probe.goal(0.5, 0.2, 0.5, timeout_s=30.0)))}


def second_publisher(probe: Probe) -> Any:
    probe.ready()
    probe.accepted(probe.goal(0.5, 0.2, 0.5))
    probe.wait(0.3)
    publisher = probe.create_publisher(topics.PLAN.type, topics.PLAN.name, topics.PLAN.qos)
    probe.wait(1.5)
    during, speed = probe.safety(), max(abs(v) for v in probe.newest["robot_state"].dq)
    probe.destroy_publisher(publisher)
    probe.wait(1.0)
    return {"during": during, "speed": speed, "after": probe.result(probe.accepted(probe.goal(0.5, 0.2, 0.5, timeout_s=30.0)))}


def bad_plans(probe: Probe) -> Any:
    """Publishes as the only one on `plan`: one plan of each fault, then good ones."""
    assert probe.until(lambda: "robot_state" in probe.newest, 90.0)
    publisher = probe.create_publisher(topics.PLAN.type, topics.PLAN.name, topics.PLAN.qos)
    assert probe.until(lambda: publisher.get_subscription_count() >= 2), publisher.get_subscription_count()
    probe.wait(0.5)
    n, seq = len(probe.newest["robot_state"].name), 10

    def send(speed: float = 0.0, **changes: Any) -> None:
        nonlocal seq
        seq += 1
        rclpy.spin_once(probe, timeout_sec=0.02)
        state = probe.newest["robot_state"]
        plan = topics.PLAN.type(seq=seq, state_seq=state.seq, epoch=state.epoch, dt=0.02, horizon=25, name=list(state.name), actions=[speed] * (25 * n))
        plan.header.stamp = state.header.stamp
        plan.effective = to_time(to_seconds(state.header.stamp) + 0.02)
        for key, value in changes.items():
            setattr(plan, key, value)
        publisher.publish(plan)
        probe.wait(0.05)

    def provoke(reason: str, **changes: Any) -> None:
        """Once is enough where nothing stalls; what came late counts as stale instead."""
        end = time.monotonic() + 30.0
        while reason not in probe.safety()["dropped"] and time.monotonic() < end:
            send(**changes)

    def fastest() -> float:
        return max(abs(v) for v in probe.newest["robot_state"].dq_ref)

    send()
    provoke("wrong_size", actions=[0.5] * (24 * n))
    provoke("not_finite", actions=[float("nan")] * (25 * n))
    provoke("wrong_epoch", epoch=7)
    provoke("out_of_order", seq=3)
    old = topics.PLAN.type().header
    old.stamp = to_time(to_seconds(probe.newest["robot_state"].header.stamp) - 1.0)
    provoke("stale", header=old)
    bad, speed = probe.safety(), fastest()
    end, moving = time.monotonic() + 30.0, 0.0
    while moving <= 0.05 and time.monotonic() < end:
        send(speed=0.2)
        moving = max(moving, fastest())
    probe.until(lambda: fastest() < 1e-3 and probe.safety()["mode"] == "holding", 30.0)
    return {"bad": bad, "speed": speed, "moving": moving, "held": fastest(), "mode": probe.safety()["mode"]}


def killed_publisher(probe: Probe) -> Any:
    """For how long a killed publisher of plans counts as a second one."""
    probe.ready()
    code = (
        "from rclpy.node import Node; from taustack_ros import process, topics\n"
        "class Other(Node):\n"
        "    def __init__(self):\n"
        "        super().__init__('other'); self.plan = self.create_publisher(topics.PLAN.type, topics.PLAN.name, topics.PLAN.qos)\n"
        "    def run(self, stop):\n"
        "        stop.wait(300.0)\n"
        "process.run_node(Other)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code])
    came = probe.until(lambda: probe.safety()["publishers"] == 2)
    other.kill()
    other.wait()
    began = time.monotonic()
    left = probe.until(lambda: probe.safety()["publishers"] == 1)
    return {"came": came, "left": left, "counted_s": time.monotonic() - began}


def rollout(probe: Probe) -> Any:
    client = probe.create_client(PredictRollout, "predict_rollout")
    assert client.wait_for_service(timeout_sec=90.0)
    probe.ready()
    state = probe.newest["robot_state"]
    x = [*state.q, *state.dq, *state.q_ref, *state.dq_ref]

    def call(**fields: Any) -> Any:
        future = client.call_async(PredictRollout.Request(**fields))
        assert probe.until(future.done)
        return future.result()

    good = call(batch=2, horizon=5, x=x * 2, u=[0.1] * (5 * 7) + [-0.1] * (5 * 7))  # the same state, two ways
    small = call(batch=2, horizon=5, x=x, u=[0.1] * 7)
    nan = call(batch=1, horizon=1, x=[float("nan")] * 28, u=[0.0] * 7)
    return {
        "good": [good.success, len(good.states), len(good.std), max(good.std)], "small": [small.success, small.message], "nan": [nan.success, nan.message],
        "apart": [ahead - back for ahead, back in zip(good.states[5 * 28 : 5 * 28 + 7], good.states[11 * 28 : 11 * 28 + 7], strict=True)],
    }  # fmt: skip


def parameters(probe: Probe) -> Any:
    client = probe.create_client(SetParameters, "controller/set_parameters")
    assert client.wait_for_service(timeout_sec=90.0)

    def put(name: str, value: Any) -> Any:
        future = client.call_async(SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()]))
        assert probe.until(future.done)
        answer = future.result().results[0]
        return [answer.successful, answer.reason]

    probe.ready()
    out = {
        "weight": put("cost.velocity", 2.0), "temperature": put("temperature", 0.2), "negative": put("temperature", -1.0),
        "nan": put("temperature", float("nan")),
        "fixed": put("robot", "other"), "text": put("temperature", "hot"),
    }  # fmt: skip
    # Late plans of the tests before may have left the slow fallback at work: what counts is that the goal is reached.
    out["after"] = probe.result(probe.accepted(probe.goal(0.5, -0.2, 0.5, timeout_s=30.0)))
    put("cost.velocity", 1.0)
    put("temperature", 0.1)
    return out


def beside_a_refusal(probe: Probe) -> tuple[bool, bool]:
    """Whether a place out of reach was refused on the way to a goal, and whether that goal was reached.

    The places are in the arm's own base and at the floor beneath it. How far from each a way ends at best is what a search finds from the
    arm's posture, and from one in some sixty it is near enough: such a place takes the goal's place, and the next one is asked for.
    """
    for place in IN_THE_BASE:
        future = probe.accepted(probe.goal(0.5, -0.3, 0.30, timeout_s=60.0)).get_result_async()
        refused = not probe.taken(probe.goal(*place))
        assert probe.until(future.done, 90.0)
        if refused:
            return True, bool(future.result().result.reached)
        assert future.result().result.message  # of the one that it was taken back for
    return False, False


def obstacles(probe: Probe) -> Any:
    """A wall appears on the topic: around it with `straight`, a goal inside it, a message of another frame; then all as before."""
    client = probe.create_client(SetParameters, "subgoal_planner/set_parameters")
    assert client.wait_for_service(timeout_sec=90.0)
    publisher = probe.create_publisher(topics.OBSTACLES.type, topics.OBSTACLES.name, topics.OBSTACLES.qos)

    def kind(name: str) -> Any:
        future = client.call_async(SetParameters.Request(parameters=[Parameter("kind", value=name).to_parameter_msg()]))
        assert probe.until(future.done)
        return [future.result().results[0].successful, future.result().results[0].reason]

    def tell(frame: str, *bodies: Any) -> None:
        message = topics.OBSTACLES.type(obstacles=list(bodies))
        message.header.frame_id = frame
        publisher.publish(message)
        probe.wait(0.5)

    probe.ready()
    assert probe.until(lambda: publisher.get_subscription_count() >= 3)  # this probe, controller, subgoal planner
    start = probe.result(probe.accepted(probe.goal(0.5, -0.3, 0.25, timeout_s=30.0)))
    wall = Obstacle(shape="box", size=[0.30, 0.02, 0.20])
    wall.position.x, wall.position.z = 0.55, 0.20
    tell("", wall)
    straight = kind("straight")
    inside = probe.send(probe.goal(0.55, 0.0, 0.2)).accepted
    tell("map", Obstacle(shape="box", size=[9.0, 9.0, 9.0]))  # refused: the wall stays
    rows, nearest, highest = obstacle_rows(obstacles_of(topics.OBSTACLES.type(obstacles=[wall]), "")), 9.0, 0.0
    for _ in range(3):  # on a machine that stalls a goal may end early: what counts is that the way is around
        future, end = probe.accepted(probe.goal(0.5, 0.3, 0.25, timeout_s=60.0)).get_result_async(), time.monotonic() + 90.0
        while not future.done() and time.monotonic() < end:
            rclpy.spin_once(probe, timeout_sec=0.02)
            ee = probe.newest["robot_state"].ee
            nearest = min(nearest, float(point_distances(np.array([ee.x, ee.y, ee.z]), rows).min()))
            highest = max(highest, ee.z)
        if future.result().result.reached:
            break
    plan, result = probe.newest["plan"], future.result().result
    assert probe.until(lambda: kind("tdm")[0])  # once the bundle was taken
    tdm = kind("tdm")
    back, sizes, told = probe.accepted(probe.goal(0.5, -0.3, 0.25, timeout_s=60.0)).get_result_async(), set(), time.monotonic() + 90.0
    while not back.done() and time.monotonic() < told:
        rclpy.spin_once(probe, timeout_sec=0.02)
        sizes.add(len(probe.newest["plan"].goal))
    tell("")
    refused, onward = beside_a_refusal(probe)
    return {
        "tdm": tdm, "back": back.result().result.reached, "onward": onward, "sizes": sorted(sizes), "out_of_reach": not refused,
        "start": start, "straight": straight, "curly": kind("curly"), "inside": inside, "reached": result.reached, "message": result.message,
        "nearest": nearest,
        "highest": highest, "rows": list(plan.obstacles), "direct": kind("direct"),
    }  # fmt: skip


def wander(probe: Probe, seconds: str) -> Any:
    """Goals back and forth, so that the arm moves; says READY once it does."""
    probe.ready()
    until, side, reached = time.monotonic() + float(seconds), 1.0, 0
    print("READY", flush=True)
    while time.monotonic() < until:
        handle = probe.send(probe.goal(0.4, 0.4 * side, 0.45))
        if handle.accepted:
            reached += probe.result(handle)["reached"]
        else:
            probe.wait(0.2)
        side = -side
    return {"reached": reached}


def estop(probe: Probe, seconds: str, then: str) -> Any:
    """An e-stop button: lives, is pressed, and then dies, leaves, or lets go and resets."""
    publisher = probe.create_publisher(topics.ESTOP.type, topics.ESTOP.name, topics.ESTOP.qos)

    # The bridge, the logger and this one listen; the graph's list of names is not to be relied on while nodes come and go.
    assert probe.until(lambda: publisher.get_subscription_count() >= 3), publisher.get_subscription_count()
    probe.wait(1.0)

    def give(duration: float, **fields: Any) -> None:
        until = time.monotonic() + duration
        while time.monotonic() < until:
            publisher.publish(topics.ESTOP.type(source="button", **fields))
            probe.wait(0.05)

    give(1.0)
    print("READY", flush=True)
    if then == "dies":
        return {}
    if then == "leaves":
        give(0.1, leaving=True)
        probe.wait(1.0)
        return probe.safety() | {"estop": probe.newest["safety"].estop}
    give(float(seconds), pressed=True)
    pressed = probe.safety() | {"estop": probe.newest["safety"].estop, "why": probe.newest["safety"].estop_reason}
    refused = probe.trigger("reset_estop")
    give(0.2)
    released = probe.trigger("reset_estop")
    give(0.5)
    give(0.1, leaving=True)
    return {"pressed": pressed, "refused": refused, "released": released, "after": probe.safety() | {"estop": probe.newest["safety"].estop}}


def press_service(probe: Probe) -> Any:
    probe.ready()
    pressed = probe.trigger("press_estop")
    probe.wait(0.8)
    during = probe.safety() | {"estop": probe.newest["safety"].estop}
    goal = probe.result(probe.send(probe.goal(0.5, 0.2, 0.5)))
    released = probe.trigger("reset_estop")
    probe.wait(0.8)
    still = max(abs(v) for v in probe.newest["robot_state"].dq)
    return {
        "pressed": pressed, "during": during, "goal": goal, "released": released, "still": still, "after": probe.safety(),
        "reached": probe.result(probe.send(probe.goal(0.5, 0.2, 0.5))),
    }  # fmt: skip


def flood_topics(probe: Probe, seconds: str, messages: str) -> Any:
    """Every input of the graph at once, as fast as it goes, with what nobody should follow: for so long, and until so many are out."""
    probe.ready()
    n = list(probe.newest["robot_state"].name)
    out = [
        (topics.SUBGOAL, topics.SUBGOAL.type(active=True, goal=[float("nan")] * 3)), (topics.ESTOP, topics.ESTOP.type(source="guest", leaving=True)),
        (topics.MODEL, topics.MODEL.type(path="/nowhere", sha256="0")), (topics.HEARTBEAT, topics.HEARTBEAT.type(node="nobody", pid=1)),
        (topics.PLAN, topics.PLAN.type(name=n, horizon=25, actions=[9.0] * (25 * len(n)), dt=0.02)),
    ]  # fmt: skip
    publishers = [(probe.create_publisher(topic.type, topic.name, topic.qos), message) for topic, message in out]
    until, sent = time.monotonic() + float(seconds), 0
    while time.monotonic() < until or sent < int(messages):
        for publisher, message in publishers:
            publisher.publish(message)
            sent += 1
        rclpy.spin_once(probe, timeout_sec=0.0)
    during = probe.safety()
    for publisher, _ in publishers:
        probe.destroy_publisher(publisher)
    probe.wait(1.0)
    return {"sent": sent, "during": during, "after": probe.result(probe.accepted(probe.goal(0.5, 0.2, 0.5, timeout_s=30.0)))}


def main() -> None:
    rclpy.init()
    probe = Probe()
    looks = (reach, ask_once, look, diagnostics, preempt, cancel, flood, second_publisher, killed_publisher, bad_plans, rollout, parameters, obstacles)
    commands = {f.__name__: f for f in (*looks, wander, estop, press_service, flood_topics)}
    print("ANSWER " + json.dumps(commands[sys.argv[1]](probe, *sys.argv[2:])), flush=True)
    probe.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
