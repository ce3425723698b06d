"""Settings of a training run from a YAML file and from the command line."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import yaml

from videocups_core.config import describe, from_mapping, override, to_mapping

T = TypeVar("T")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every training takes: clips, the run's folder, settings and a device."""
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIPS", help="clips, or folders of clips")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run and its checkpoints")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML with the settings that differ")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, any number of times"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; default: %(default)s")


def read_config(
    cls: type[T], path: Path | None, changes: Sequence[str] = (), base: Mapping[str, Any] | None = None
) -> T:
    """Build the config ``cls`` from its defaults, the YAML file and ``key.of.setting=value`` texts, in this order.

    ``base`` are settings that come between the defaults and the file.
    """
    content: Any = None if path is None else read_yaml(path)
    if base is not None and (content is None or isinstance(content, Mapping)):
        content = merged(base, content or {})
    config = from_mapping(cls, content, source=str(path) if path else "config")
    overrides = {}
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator or not key:
            raise ValueError(f"--set takes KEY=VALUE, such as loop.seed=1, got {change!r}")
        overrides[key] = _parsed(value, f"--set {key}")
    return override(config, overrides, source="--set") if overrides else config


def named_kind(argv: Sequence[str], kinds: Collection[str], default: str) -> str:
    """Return the ``kind`` that a command's ``--set`` or ``--config`` names, before all of them are understood.

    A training whose settings hang on its kind has to know it first, even where only its help is asked for.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[])
    found, _ = parser.parse_known_args(argv)
    content = read_yaml(found.config) if found.config is not None else None
    kind = content.get("kind", default) if isinstance(content, Mapping) else default
    for change in found.set:
        name, _, value = change.partition("=")
        kind = value if name == "kind" else kind
    if kind not in kinds:
        raise ValueError(f"there is no kind {kind!r}; set kind to one of {', '.join(kinds)}")
    return str(kind)


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no YAML: {error}; give a text file") from error
    return _parsed(text, str(path))


def _parsed(text: str, source: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{source} is no YAML: {' '.join(str(error).split())}; correct it") from error


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings with those of ``changes`` laid over ``base``."""
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = merged(below, value) if both else value  # type: ignore[arg-type]
    return result


def setting_lines(config: Any) -> str:
    """Return a line for each setting of ``config``: name, value and what it is."""
    values = to_mapping(config)
    rows = [
        (name, reduce(lambda level, key: level[key], name.split("."), values), text)
        for name, _, text in describe(type(config))
    ]
    return "\n".join(f"  {name} = {value}: {text}" for name, value, text in rows)
