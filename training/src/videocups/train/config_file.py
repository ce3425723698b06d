"""Settings of a training run from a YAML file and from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from videocups_core.config import from_mapping, override

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
