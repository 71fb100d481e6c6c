"""Start and stop the whole graph many times: `python bench/restarts.py --times 100`. No process, session or descriptor may stay."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time

import psutil

from taustack.launching.launch_file import LaunchSpec, read_launch
from taustack.launching.runner import Runner
from taustack.shared_memory import sessions_root


def left_behind() -> dict[str, int]:
    """What this process still has: children, sessions, descriptors."""
    sessions = len(list(sessions_root().glob("*"))) if sessions_root().exists() else 0
    return {"children": len(psutil.Process().children(recursive=True)), "sessions": sessions, "descriptors": psutil.Process().num_fds()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--up-s", type=float, default=2.0, help="how long each graph stays up")
    options = parser.parse_args()
    spec = read_launch("sim", {"log": ""})
    spec = LaunchSpec(nodes=spec.nodes, environment=spec.environment | {"ROS_DOMAIN_ID": os.environ.get("ROS_DOMAIN_ID", "78")})
    before = left_behind()
    for i in range(options.times):
        runner = Runner(spec, out=io.StringIO())
        runner.start()
        time.sleep(options.up_s if i % 2 else 0.3)  # in full swing, and in the middle of coming up
        runner.stop()
        if (i + 1) % 10 == 0:
            print(f"{i + 1} restarts: {left_behind()} (before: {before})", flush=True)
    after = left_behind()
    return 0 if after == before else 1


if __name__ == "__main__":
    sys.exit(main())
