"""The environment in which the nodes find rclpy, the interfaces and each other."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from taustack.errors import TaustackError

PROJECT = Path(__file__).resolve().parents[3]


def workspace_install() -> Path:
    """The install folder of the built ROS workspace (TAUSTACK_ROS_WS, or the one of this checkout)."""
    return Path(os.environ.get("TAUSTACK_ROS_WS", PROJECT / "ros2_ws")) / "install"


def prefixes() -> list[Path]:
    """Prefixes of the workspace's packages; empty if a sourced workspace already offers them.

    Raises:
        TaustackError: the workspace was not built.
    """
    sourced = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    if any((p / "share" / "taustack_ros" / "package.xml").is_file() for p in sourced):
        return []
    install = workspace_install()
    found = [install / name for name in ("taustack_msgs", "taustack_ros") if (install / name / "share" / name / "package.xml").is_file()]
    if len(found) != 2:
        raise TaustackError(f"the ROS workspace is not built ({install} has no taustack_msgs and taustack_ros): run `make setup`")
    return found


def ros_environment() -> dict[str, str]:
    """os.environ with the workspace added."""
    env = dict(os.environ)
    found = prefixes()
    if not found:
        return env
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    _prepend(env, "AMENT_PREFIX_PATH", found)
    _prepend(env, "PYTHONPATH", [p / "lib" / python / "site-packages" for p in found])
    _prepend(env, "LD_LIBRARY_PATH", [p / "lib" for p in found])
    env["PYTHONUNBUFFERED"] = "1"
    return env


def executable(package: str, name: str) -> Path:
    """lib/<package>/<name> in the first prefix that has it.

    Raises:
        TaustackError: no prefix has it.
    """
    sourced = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in [*prefixes(), *sourced]:
        path = prefix / "lib" / package / name
        if path.is_file():
            return path
    raise TaustackError(f"no executable {name} in package {package}: run `make setup`")


def _prepend(env: dict[str, str], key: str, paths: list[Path]) -> None:
    env[key] = os.pathsep.join([*(str(p) for p in paths), *([env[key]] if env.get(key) else [])])
