"""Reads the part of the ROS 2 YAML launch format that the stack uses: arg, set_env, node with params."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from taustack.errors import BadInput, UnknownName
from taustack.strict_yaml import read_mapping

FOLDER = Path(__file__).resolve().parent.parent / "launch"
SUFFIX = ".launch.yaml"
SUBSTITUTION = re.compile(r"\$\((var|env)\s+([A-Za-z_][A-Za-z0-9_]*)(?:\s+([^)]*))?\)")


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """One process of the launch file."""

    package: str
    executable: str
    name: str
    namespace: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    respawn: bool = False
    respawn_delay_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LaunchSpec:
    """The processes in order, and the environment they get."""

    nodes: tuple[NodeSpec, ...]
    environment: dict[str, str]


def launch_files() -> dict[str, Path]:
    """Every launch file that can be named."""
    return {path.name.removesuffix(SUFFIX): path for path in sorted(FOLDER.glob(f"*{SUFFIX}"))}


def read_launch(name_or_path: str, arguments: Mapping[str, str]) -> LaunchSpec:
    """Read a launch file with `name:=value` arguments.

    Raises:
        UnknownName: no such file or argument.
        BadInput: something in the file that this reader does not know; names file and entry.
    """
    path = Path(name_or_path) if name_or_path.endswith(SUFFIX) else launch_files().get(name_or_path)
    if path is None:
        raise UnknownName("launch file", name_or_path, launch_files())
    entries = read_mapping(path).get("launch")
    if not isinstance(entries, list):
        raise BadInput(path, "launch", type(entries).__name__, "a list of actions")
    values: dict[str, str] = {}
    environment: dict[str, str] = {}
    nodes: list[NodeSpec] = []
    declared: list[str] = []
    for i, entry in enumerate(entries):
        if not (isinstance(entry, dict) and len(entry) == 1):
            raise BadInput(path, f"launch.{i}", entry, "a mapping with one action")
        action, body = next(iter(entry.items()))
        if not isinstance(body, dict):
            raise BadInput(path, f"launch.{i}.{action}", body, "a mapping")
        if action == "arg":
            name = _text(body, "name", path, f"launch.{i}.arg")
            declared.append(name)
            if name not in arguments and "default" not in body:
                raise BadInput(path, f"launch.{i}.arg.{name}", "nothing", f"{name}:=VALUE on the command line")
            values[name] = str(arguments.get(name, body.get("default", "")))
        elif action == "set_env":
            where = f"launch.{i}.set_env"
            environment[_text(body, "name", path, where)] = _substitute(_text(body, "value", path, where), values, path)
        elif action == "node":
            nodes.append(_node(body, values, path, i))
        else:
            raise BadInput(path, f"launch.{i}", action, "one of arg, set_env, node")
    for name in arguments:
        if name not in declared:
            raise UnknownName(f"argument of {path.name}", name, declared)
    return LaunchSpec(nodes=tuple(nodes), environment=environment)


def _node(body: dict[str, Any], values: Mapping[str, str], path: Path, index: int) -> NodeSpec:
    known = {"pkg", "exec", "name", "namespace", "param", "output", "respawn", "respawn_delay"}
    for key in body:
        if key not in known:
            raise BadInput(path, f"launch.{index}.node.{key}", "an unknown key", f"one of {', '.join(sorted(known))}")
    where = f"launch.{index}.node"
    items = body.get("param", [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadInput(path, f"{where}.param", items, "a list of mappings with name and value")
    parameters = {_text(item, "name", path, f"{where}.param"): _substitute(_text(item, "value", path, f"{where}.param"), values, path) for item in items}
    delay, respawn = body.get("respawn_delay", 1.0), body.get("respawn", False)
    if not isinstance(delay, int | float) or not 0 <= delay <= 3600:
        raise BadInput(path, f"{where}.respawn_delay", delay, "seconds, 0 to 3600")
    if not isinstance(respawn, bool):
        raise BadInput(path, f"{where}.respawn", respawn, "true or false")
    executable = _text(body, "exec", path, where)
    return NodeSpec(
        package=_text(body, "pkg", path, where), executable=executable, name=_text(body, "name", path, where) if "name" in body else executable,
        namespace=_substitute(str(body.get("namespace", "")), values, path), parameters=parameters, respawn=respawn, respawn_delay_s=float(delay),
    )  # fmt: skip


def _text(body: dict[str, Any], key: str, path: Path, where: str) -> str:
    """A scalar of an entry, as text; `name`, `pkg` and `exec` may not be empty."""
    value = body.get(key)
    if isinstance(value, dict | list) or value is None or (key != "value" and not str(value)):
        raise BadInput(path, f"{where}.{key}", "nothing" if value is None else value, "a text")
    return str(value)


def _substitute(text: str, values: Mapping[str, str], path: Path) -> str:
    def value(match: re.Match[str]) -> str:
        kind, name, default = match.groups()
        if kind == "env":
            return os.environ.get(name, default or "")
        if name not in values:
            raise BadInput(path, f"$(var {name})", "an argument that is not declared", f"one of {', '.join(values)}")
        return values[name]

    return SUBSTITUTION.sub(value, text)
