"""YAML files as data: size-limited, no tags, no duplicate keys, validated strictly by a pydantic model."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from taustack.errors import BadInput

SIZE_LIMIT_BYTES = 1_000_000


class StrictModel(BaseModel):
    """Base of configs: frozen, unknown keys and non-finite numbers are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Config = TypeVar("Config", bound=StrictModel)


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice. Not the one of libyaml, seven times as fast: deep nesting crashes that."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                line = key_node.start_mark.line + 1
                raise BadInput(self.name, key, f"the key twice (again in line {line})", "each key once")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Raises:
        BadInput: missing, too large, not YAML, with tags, with duplicate keys, or not a mapping.
    """
    if not path.is_file():
        raise BadInput(path, "", "no such file", "a readable YAML file")
    size = path.stat().st_size
    if size > SIZE_LIMIT_BYTES:
        raise BadInput(path, "", f"{size} bytes", f"at most {SIZE_LIMIT_BYTES} bytes")
    try:
        with path.open("rb") as stream:
            data = yaml.load(stream, Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(path, "", " ".join(str(error).split()), "plain YAML without tags") from None
    except RecursionError:
        raise BadInput(path, "", "lists or mappings nested hundreds deep", "plain YAML, a few levels deep") from None
    if not isinstance(data, dict):
        raise BadInput(path, "", type(data).__name__, "a mapping of keys to values")
    return data


def validate(model: type[Config], data: object, source: str | Path) -> Config:
    """Validate data against a config model; the first fault becomes one BadInput that names its key."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            parent = _choices(model, fault["loc"])
            raise BadInput(source, key, "an unknown key", f"one of {', '.join(parent)}" if parent else "no such key") from None
        if fault["type"] == "missing":
            raise BadInput(source, key, "nothing", "a value (required)") from None
        raise BadInput(source, key, fault["input"], fault["msg"].removeprefix("Value error, ")) from None


def load(model: type[Config], path: Path) -> Config:
    """Read and validate a YAML file."""
    return validate(model, read_mapping(path), path)


def _choices(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    fields: type[BaseModel] | None = model
    for part in loc[:-1]:
        if fields is None:
            return []
        if isinstance(part, int):
            continue
        info = fields.model_fields.get(part)
        fields = _model_of(info.annotation) if info else None
    return sorted(fields.model_fields) if fields else []


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in getattr(annotation, "__args__", ()) if (m := _model_of(a))), None)
