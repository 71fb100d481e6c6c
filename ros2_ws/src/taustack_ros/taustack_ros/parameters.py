"""Parameters declared once: type, range, unit and effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor
from rclpy.node import Node

from taustack.errors import UnknownName


def text(node: Node, name: str, default: str, effect: str) -> str:
    """A string that is read once, at start."""
    descriptor = ParameterDescriptor(description=effect, read_only=True)
    return str(node.declare_parameter(name, default, descriptor).value)


def choice(node: Node, name: str, default: str, choices: Sequence[str], effect: str) -> str:
    """One of some names, which may be changed while the node runs; the node's callback refuses others."""
    descriptor = ParameterDescriptor(description=effect, additional_constraints=f"one of {', '.join(choices)}")
    return str(node.declare_parameter(name, default, descriptor).value)


def one_of(choices: Sequence[str], value: str) -> str:
    """The value, if it is one of the choices. Raises UnknownName."""
    if value not in choices:
        raise UnknownName("value", value, choices)
    return value


def number(node: Node, name: str, default: float, low: float, high: float, unit: str, effect: str, *, live: bool = False) -> float:
    """A float with a range; `live` ones may be set while the node runs."""
    bounds = FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
    descriptor = ParameterDescriptor(description=f"{effect} [{unit}]", floating_point_range=[bounds], read_only=not live)
    value: Any = node.declare_parameter(name, float(default), descriptor).value
    return float(value)
