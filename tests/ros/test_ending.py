"""Every node ends by its exit code, whatever its threads are in the middle of."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from taustack.launching.ros_environment import ros_environment

pytestmark = pytest.mark.ros

# Threads that are in C++ nearly all the time, as the one that builds the sessions of a bundle just announced.
NODE = """
import sys, threading
import onnxruntime
from rclpy.node import Node
from taustack_ros.process import leave, run_node

class Busy(Node):
    def __init__(self):
        super().__init__("busy")
        for _ in range(2):
            threading.Thread(target=self.build, daemon=True).start()

    def build(self):
        while True:
            onnxruntime.InferenceSession(sys.argv[1])

    def run(self, stop):
        print("ready", flush=True)
        while not stop.wait(0.1):
            pass

leave(run_node(Busy))
"""


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2])
def test_sigterm_while_sessions_are_built_does_not_abort(project: Path, after_s: float) -> None:
    model = project / "robots/panda/bundle/tdm.onnx"
    assert model.is_file()
    process = subprocess.Popen([sys.executable, "-c", NODE, str(model)], env=ros_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "terminate called" not in said


# rclpy's executor raises in its thread if it is taken apart between two of its lines; here it always does.
FINISHED = """
import time
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from taustack_ros import process

class Unlucky(SingleThreadedExecutor):
    def spin(self):
        while not self._is_shutdown:
            time.sleep(0.001)
        raise InvalidHandle("cannot use Destroyable because destruction was requested")

class Finished(Node):
    def run(self, stop):
        pass

process.SingleThreadedExecutor = Unlucky
process.leave(process.run_node(lambda: Finished("finished")))
"""


def test_a_node_whose_work_is_done_has_not_failed_by_what_its_executor_meets_at_the_end() -> None:
    ended = subprocess.run([sys.executable, "-c", FINISHED], env=ros_environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
