"""Settings of a training run from a YAML file and from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import yaml

from videocups_core.config import describe, from_mapping, override, to_mapping

T = TypeVar("T")


def read_config(cls: type[T], path: Path | None, changes: Sequence[str] = ()) -> T:
    """Build the config ``cls`` from its defaults, the YAML file and ``key.of.setting=value`` texts, in this order."""
    content = None
    if path is not None:
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML file: {' '.join(str(error).split())}; correct it") from error
    config = from_mapping(cls, content, source=str(path) if path else "config")
    overrides = {}
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator or not key:
            raise ValueError(f"--set takes KEY=VALUE, such as loop.seed=1, got {change!r}")
        overrides[key] = yaml.safe_load(value)
    return override(config, overrides, source="--set") if overrides else config


def setting_lines(config: Any) -> str:
    """Return a line for each setting of ``config``: name, value and what it is."""
    values = to_mapping(config)
    rows = [
        (name, reduce(lambda level, key: level[key], name.split("."), values), text)
        for name, _, text in describe(type(config))
    ]
    return "\n".join(f"  {name} = {value}: {text}" for name, value, text in rows)
