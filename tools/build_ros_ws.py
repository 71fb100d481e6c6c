"""Build the ROS workspace with the ROS 2 wheels of this interpreter's environment.

The wheels carry CMake files with the Python and numpy paths of the machine that built them; those prefixes are
rewritten to this machine's first. Where a system ROS 2 is sourced none of this is needed: use plain `colcon build`.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np

WS = Path(__file__).resolve().parent.parent / "ros2_ws"
STALE = re.compile(r"/opt/python/cp\d+-cp\d+/(?P<rest>lib/python[\d.]+/site-packages/numpy/_?core/include|include/python[\d.]+)")


def rewrite_stale_prefixes(share: Path) -> int:
    """Point the installed CMake files at this machine's headers; returns the number of files changed."""
    changed = 0
    for path in share.rglob("*.cmake"):
        text = path.read_text()
        fixed = STALE.sub(lambda m: np.get_include() if "numpy" in m["rest"] else sysconfig.get_path("include"), text)
        if fixed != text:
            path.write_text(fixed)
            changed += 1
    return changed


def fingerprint() -> str:
    """Hash of everything the build depends on, so that an unchanged workspace is not built again."""
    digest = hashlib.sha256(f"{sys.executable} {sys.version}".encode())
    for path in [Path(__file__), *sorted((WS / "src").rglob("*"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(str(path.relative_to(WS.parent)).encode() + path.read_bytes())
    return digest.hexdigest()


def main() -> int:
    stamp = WS / "install" / ".fingerprint"
    wanted = fingerprint()
    if stamp.exists() and stamp.read_text() == wanted:
        return 0
    prefix = Path(sys.prefix)
    rewrite_stale_prefixes(prefix / "share")
    env = os.environ | {
        "AMENT_PREFIX_PATH": str(prefix),
        "CMAKE_PREFIX_PATH": str(prefix),
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "COLCON_LOG_PATH": str(WS / "log"),
    }
    command = [
        sys.executable, "-m", "colcon", "build",
        "--event-handlers", "console_cohesion-",
        "--cmake-args", f"-DPython3_EXECUTABLE={sys.executable}", "-DBUILD_TESTING=OFF", "--no-warn-unused-cli",
    ]  # fmt: skip
    print("building the ROS interfaces (once, a minute or less) ...", flush=True)
    done = subprocess.run(command, cwd=WS, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    (WS / "build.log").write_text(done.stdout)
    if done.returncode != 0:
        print(done.stdout[-4000:], file=sys.stderr)
        print(f"error: colcon build failed; the whole log is {WS / 'build.log'}", file=sys.stderr)
        return 1
    stamp.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
