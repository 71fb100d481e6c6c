"""teleop: keys of a terminal to velocities on cmd_vel. Each press changes a velocity by a step, which stands until it is changed again.

When this process ends, or hangs, its messages end, and half a second later the robot stands.
"""

from __future__ import annotations

import os
import select
import sys
import termios
import tty

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.node import Node
from std_srvs.srv import Trigger

from taustack.errors import BadInput
from taustack.stop_flag import StopFlag
from taustack_ros import topics
from taustack_ros.process import leave, run_node

EVERY_S = 0.05
STEPS = {
    "w": (0.1, 0.0, 0.0), "s": (-0.1, 0.0, 0.0), "a": (0.0, 0.05, 0.0), "d": (0.0, -0.05, 0.0), "q": (0.0, 0.0, 0.1), "e": (0.0, 0.0, -0.1),
}  # fmt: skip
"""By key: what is added forward, to the left [m/s], to the turn to the left [rad/s]."""
STAND, ESTOP, RESET = "x", " ", "r"
HELP = "w s: forward, back   a d: left, right   q e: turn   x: stand   SPACE: e-stop   r: reset it   Ctrl-C: end"


class Teleop(Node):
    """See the module."""

    def __init__(self) -> None:
        super().__init__("teleop", start_parameter_services=False)
        if not sys.stdin.isatty():
            raise BadInput("teleop", "standard input", "no terminal", "one, for its keys; publish on cmd_vel without")
        self.velocity = np.zeros(3)
        self._out = self.create_publisher(topics.CMD_VEL.type, topics.CMD_VEL.name, topics.CMD_VEL.qos)
        self._estop = {ESTOP: self.create_client(Trigger, "press_estop"), RESET: self.create_client(Trigger, "reset_estop")}

    def run(self, stop: StopFlag) -> None:
        """Read keys and publish, 20 times a second, until stopped; the terminal is given back as it was."""
        source, saved = sys.stdin.fileno(), termios.tcgetattr(sys.stdin)
        print(HELP, flush=True)
        try:
            tty.setcbreak(source)
            while not stop.is_set():
                if select.select([source], [], [], EVERY_S)[0]:
                    keys = os.read(source, 64).decode("ascii", "ignore")
                    if not keys:  # the terminal is gone
                        break
                    self._press(keys)
                self._publish()
            self.velocity = np.zeros(3)
            self._publish()
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)

    def _press(self, keys: str) -> None:
        for key in keys:
            if key in self._estop:
                self.velocity = np.zeros(3)
                self._estop[key].call_async(Trigger.Request())
            elif key == STAND:
                self.velocity = np.zeros(3)
            elif key in STEPS:
                self.velocity = self.velocity + STEPS[key]
        forward, left, turn = self.velocity
        print(f"\rforward {forward:5.2f}  left {left:5.2f} m/s  turn {turn:5.2f} rad/s ", end="", flush=True)

    def _publish(self) -> None:
        out = Twist()
        out.linear.x, out.linear.y, out.angular.z = (float(v) for v in self.velocity)
        self._out.publish(out)


def main() -> None:
    leave(run_node(Teleop))
