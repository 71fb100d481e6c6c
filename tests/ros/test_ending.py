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
