"""driver: the bridge between the ROS graph and the tracker's shared memory. It converts; it decides nothing but who may speak."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger
from taustack_msgs import msg

from taustack.controllers.estop import EStop
from taustack.controllers.wire import Request, pack_plan, pack_request, reader, unpack_status, writer
from taustack.errors import BadInput
from taustack.shared_memory import session_folder
from taustack.stop_flag import StopFlag
from taustack_ros import parameters, topics
from taustack_ros.bodies import body_of
from taustack_ros.convert import plan_of, safety_message, to_time
from taustack_ros.plain_process import session_name
from taustack_ros.process import leave, run_node

MEETING_S = 15.0  # discovery on a busy machine may take this long to show another stack
SILENT_S = 0.5  # without a state of the tracker it is taken for dead
PRESSED_HERE = "the service press_estop"


class Driver(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("driver", start_parameter_services=False)  # nothing here is live, and each service costs every wake-up
        self.body = body_of(parameters.text(self, "robot", "", "robot, by name or folder"))
        required = parameters.text(self, "estop_sources", "", "sources on `estop` that must give signs of life before anything moves, comma-separated")
        self._require_no_other_driver()
        folder = session_folder(session_name())
        self._states, self._status_channel = reader(folder, "state"), reader(folder, "status")
        self._plan_channel, self._requests = writer(folder, "plan"), writer(folder, "request")
        self._anchor = time.time() - time.monotonic()
        self.estop = EStop(timeout_s=self.body.safety.estop_topic_timeout_s, required=tuple(name for name in required.split(",") if name))
        self.refused: dict[str, int] = {}
        self._newest_t: float | None = None
        self.status: dict[str, Any] = {}
        self._hold, self._resets, self._plan_publishers = "", 0, 0
        self._said = ("", "")
        self._rows: list[bytes] = []
        self._states.new()  # what was before us is not lost
        self._lost_before = self._states.lost
        self._out = {topic.name: self.create_publisher(topic.type, topic.name, topic.qos) for topic in self.body.topics}
        self.create_subscription(topics.PLAN.type, topics.PLAN.name, self._on_plan, topics.PLAN.qos)
        self.create_subscription(topics.ESTOP.type, topics.ESTOP.name, self._on_estop, topics.ESTOP.qos)
        self.create_service(topics.SERVICES["press_estop"], "press_estop", self._on_press)
        self.create_service(topics.SERVICES["reset_estop"], "reset_estop", self._on_reset)
        self.create_timer(1 / self.body.state_hz, self._publish_state)
        self.create_timer(0.04, self._ask)
        self.create_timer(0.1, self._publish_safety)
        self.create_timer(0.1, self._publish_track)

    def _require_no_other_driver(self) -> None:
        """Two stacks in one domain would fight for one robot: give discovery a moment, then look."""
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            self._refuse_others(self.count_publishers(self.body.topics[0].name))
            time.sleep(0.05)

    def _refuse_others(self, others: int) -> None:
        if others > 0:
            raise BadInput(f"topic {self.resolve_topic_name(self.body.topics[0].name)}", "publishers", others, "none: another stack runs in this domain")

    def run(self, stop: StopFlag) -> None:
        """Bridge until stopped; the tracker is told to hold by the silence, and stops by its own signal."""
        began = time.monotonic()
        while not stop.wait(0.1):
            if time.monotonic() - began < MEETING_S:  # who came last goes
                self._refuse_others(self.count_publishers(self.body.topics[0].name) - 1)

    def _on_plan(self, message: msg.Plan) -> None:
        if self._plan_publishers > 1:
            self._refuse("second_publisher")
            return
        try:
            plan = plan_of(message, self.body.actions, self._anchor)
        except BadInput as error:
            self.get_logger().error(str(error), throttle_duration_sec=2.0)
            self._refuse("joint_names" if error.key == "name" else "wrong_size")
            return
        self._plan_channel.write(pack_plan(plan))

    def _refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1

    def _on_estop(self, message: msg.EStop) -> None:
        source = message.source or "an unnamed source"
        if message.leaving and not message.pressed:
            self.estop.leave(source)
            return
        self.estop.hear(source, message.pressed, time.monotonic())
        if message.pressed:
            self._ask()

    def _on_press(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.estop.latched = self.estop.latched or f"pressed by {PRESSED_HERE}"
        self._ask()
        response.success, response.message = True, "pressed; reset_estop releases it"
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        cause = self.estop.reset(time.monotonic())
        response.success, response.message = cause is None, cause or "released; nothing moves before a new goal"
        if cause is None:
            self._resets += 1
            self._ask()
        return response

    def _ask(self) -> None:
        """Tell the tracker what the graph asks; this is our sign of life."""
        now = time.monotonic()
        before, latched, hold = self.estop.latched, self.estop.look(now), self._hold
        if latched != before:
            self.get_logger().error(f"e-stop: {latched}")
        if self.estop.missing:
            hold = f"waiting for the e-stop source {self.estop.missing[0]}"
        request = Request(t=now, estop=latched is not None, estop_reason=latched or "", hold=hold, resets=self._resets)
        self._requests.write(pack_request(request))

    def _publish_state(self) -> None:
        rows = self._states.new()
        self._rows += rows
        for data in rows[-1:]:
            self._newest_t = self.body.look(data)
            self.body.publish_state(self._out, self._anchor)

    def _publish_safety(self) -> None:
        """State of the tracker at 10 Hz."""
        data = self._status_channel.newest_message()
        if data is None or self._newest_t is None:
            return
        self.status = unpack_status(data)
        self._plan_publishers = self.count_publishers(topics.PLAN.name)
        self._hold = f"{self._plan_publishers} publishers on plan: all plans are refused" if self._plan_publishers > 1 else ""
        silent = time.monotonic() - self._newest_t > SILENT_S
        said = (self.status["state"], "no sign of life from the tracker" if silent else self.status["reason"])
        if said != self._said:
            self.get_logger().info(f"{said[0]}: {said[1]}")
        self._said = said
        dropped = self.status["dropped"] | self.refused
        out = safety_message(self.status, dropped, said[1], self.estop.latched, self._plan_publishers)
        out.header.stamp = to_time(self._newest_t + self._anchor)
        self._out[topics.SAFETY.name].publish(out)

    def _publish_track(self) -> None:
        """Every tick of the tracker, for the log."""
        if self._rows:
            rows, self._rows = self._rows, []
            self.body.publish_track(rows, self._states.lost - self._lost_before, self._out, self._anchor)


def main() -> None:
    leave(run_node(Driver, priority=40))
