"""The message types of the stack, from their .msg files: definitions for a bag's schemas, and encoding without ROS."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from taustack.errors import TaustackError

PACKAGE = "taustack_msgs"
SOURCE = Path(__file__).resolve().parents[3] / "ros2_ws" / "src" / PACKAGE


def message_folder() -> Path:
    """Where the .msg files lie: in the checkout, or in an installed workspace.

    Raises:
        TaustackError: nowhere.
    """
    shares = [Path(prefix) / "share" / PACKAGE for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    for folder in (SOURCE, *shares):
        if (folder / "msg").is_dir():
            return folder / "msg"
    raise TaustackError(f"no message definitions of {PACKAGE} in {SOURCE} or in AMENT_PREFIX_PATH: run `make setup`, or source the workspace")


@cache
def typestore() -> Any:
    """The types of ROS 2 and our own."""
    store = get_typestore(Stores.ROS2_KILTED)
    types: dict[str, Any] = {}
    for path in sorted(message_folder().glob("*.msg")):
        types.update(get_types_from_msg(path.read_text(), f"{PACKAGE}/msg/{path.stem}"))
    store.register(types)
    return store


@cache
def definition(name: str) -> str:
    """The whole definition of a type, those it is made of included, as a bag's schema has it."""
    return str(typestore().generate_msgdef(name, ros_version=2)[0])


@cache
def type_hash(name: str) -> str:
    """The hash that ROS 2 gives the type (REP 2016)."""
    return str(typestore().hash_rihs01(name))


def encode(name: str, message: Any) -> bytes:
    """A message as CDR."""
    return bytes(typestore().serialize_cdr(message, name))


def decode(name: str, data: bytes) -> Any:
    """CDR as a message. Raises whatever the data provoke: only for data that `reader` has measured."""
    return typestore().deserialize_cdr(data, name)
