"""Where robots lie, and of which kind one is."""

from __future__ import annotations

import os
from pathlib import Path

from taustack.errors import BadInput, UnknownName
from taustack.strict_yaml import read_mapping

PACKAGE_ROBOTS = Path(__file__).resolve().parent / "robots"


def is_robot(name: str) -> bool:
    """True if a robot has this name, or lies in this folder."""
    return name in robot_folders() or (Path(name) / "robot.yaml").is_file()


def robot_folders() -> dict[str, Path]:
    """Every robot that can be named: TAUSTACK_ROBOTS (folders, colon-separated) before the shipped ones."""
    roots = [Path(part) for part in os.environ.get("TAUSTACK_ROBOTS", "").split(":") if part] + [PACKAGE_ROBOTS]
    found: dict[str, Path] = {}
    for root in roots:
        for path in sorted(root.glob("*/robot.yaml")):
            found.setdefault(path.parent.name, path.parent)
    return found


def robot_folder(name_or_folder: str | Path) -> Path:
    """The folder of a robot by name, or that folder itself.

    Raises:
        UnknownName: no such robot; names the choices.
    """
    folders = robot_folders()
    folder = folders.get(str(name_or_folder), Path(name_or_folder))
    if not str(name_or_folder) or not (folder / "robot.yaml").is_file():
        raise UnknownName("robot", str(name_or_folder), folders)
    return folder


def has_legs(name_or_folder: str | Path) -> bool:
    """True if a robot's file says that it has legs. Raises as `robot_folder`, and BadInput if the file cannot be read."""
    return "legs" in read_mapping(robot_folder(name_or_folder) / "robot.yaml")


def robot_name(name_or_folder: str | Path) -> str:
    """The name that a robot's file gives it, of either kind. Raises as `robot_folder`, and BadInput if the file cannot be read or gives none."""
    path = robot_folder(name_or_folder) / "robot.yaml"
    name = read_mapping(path).get("name")
    if not isinstance(name, str) or not name:
        raise BadInput(path, "name", name, "the robot's name")
    return name


def default_robot() -> str:
    """The first arm that can be named."""
    return next(name for name, folder in robot_folders().items() if not has_legs(folder))
