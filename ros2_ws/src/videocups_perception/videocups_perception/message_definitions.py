"""The text of a message type with everything it contains, as bag files and the Foxglove protocol carry it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory

SEPARATOR = "=" * 80
PRIMITIVES = frozenset(
    [
        "bool",
        "byte",
        "char",
        "float32",
        "float64",
        "int8",
        "uint8",
        "int16",
        "uint16",
        "int32",
        "uint32",
        "int64",
        "uint64",
        "string",
        "wstring",
    ]
)
FIELD_TYPE = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*")


def type_name(kind: type[Any]) -> str:
    """Return the name of a message class, as ``package/msg/Name``."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"


def full_definition(type_name: str) -> str:
    """Return the definition of e.g. ``sensor_msgs/msg/Image`` followed by those of all types it uses, each once."""
    order = [type_name]
    texts: dict[str, str] = {}
    for name in order:  # grows while we read
        texts[name] = _read(name)
        order += [used for used in used_types(name, texts[name]) if used not in order]
    parts = [texts[type_name]]
    parts += [f"{SEPARATOR}\nMSG: {_short(name)}\n{texts[name]}" for name in order[1:]]
    return "\n".join(parts)


def used_types(type_name: str, text: str) -> list[str]:
    """Return the message types the definition's fields have, as ``package/msg/Name``, in order."""
    package = type_name.split("/")[0]
    used: list[str] = []
    for line in text.splitlines():
        match = FIELD_TYPE.match(line.split("#")[0])
        if match is None or match.group(1) in PRIMITIVES:
            continue
        parts = match.group(1).split("/")
        name = f"{parts[0] if len(parts) > 1 else package}/msg/{parts[-1]}"
        if name not in used:
            used.append(name)
    return used


def _short(type_name: str) -> str:
    package, _, name = type_name.split("/")
    return f"{package}/{name}"


def _read(type_name: str) -> str:
    package, _, name = type_name.split("/")
    return (Path(get_package_share_directory(package)) / "msg" / f"{name}.msg").read_text(encoding="utf-8")
