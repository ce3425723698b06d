"""Configs: frozen dataclasses hold defaults and help, mappings (read from YAML elsewhere) only override them.

    @dataclass(frozen=True)
    class RegionConfig:
        radius_px: int = setting(8, "how far a region grows in one step", minimum=1)

    config = from_mapping(RegionConfig, {"radius_px": 4}, source="label.yaml")

Unknown keys, wrong types and values out of range raise ConfigError with the place, what was got and the fix.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

T = TypeVar("T")

_EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")
"""numbers such as 1e-3, which YAML 1.1 reads as text"""
_SCALARS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    type(None): "null",
}


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the place and the fix."""


def setting(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[Any] | None = None,
) -> Any:
    """Declare a config field: its default, one line of help and what it may be.

    Bounds are inclusive; for a tuple or a dict they and ``choices`` hold for every entry. A dict default is copied
    for every config.
    """
    metadata = {"help": help, "minimum": minimum, "maximum": maximum, "choices": tuple(choices) if choices else None}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def from_mapping(cls: type[T], mapping: Mapping[str, Any] | None, source: str = "config") -> T:
    """Build the config dataclass ``cls`` from nested mappings; what is not named keeps its default.

    ``source`` names the mapping in errors, such as the YAML file. None (an empty YAML file) changes nothing.
    """
    return _build(cls, {} if mapping is None else mapping, source, "")


def to_mapping(config: Any) -> dict[str, Any]:
    """Return the resolved config as plain dicts, lists and scalars, ready for JSON or YAML."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        raise ConfigError(f"to_mapping takes a config dataclass instance, got {config!r}")
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def config_hash(config: Any) -> str:
    """Return the SHA-256 of the resolved content: equal settings hash equal, whatever file or order they came from."""
    text = json.dumps(to_mapping(config), sort_keys=True, separators=(",", ":"), allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


def override(config: T, changes: Mapping[str, Any], source: str = "override") -> T:
    """Return ``config`` with dotted keys changed, e.g. ``{"model.depth": 50}``; checked like ``from_mapping``."""
    content = to_mapping(config)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        level = content
        for parent in parents:
            if not isinstance(level.get(parent), dict):
                raise ConfigError(f"{source}: {dotted!r} has no group {parent!r}{_suggestion(parent, level)}")
            level = level[parent]
        level[last] = _plain(value)
    return from_mapping(type(config), content, source)


def validate(config: T, source: str = "config") -> T:
    """Return ``config`` if a dataclass built in code keeps its own types and ranges; ConfigError otherwise."""
    return from_mapping(type(config), to_mapping(config), source)


def describe(cls: type[Any], prefix: str = "") -> list[tuple[str, Any, str]]:
    """Return (dotted name, default, help) of every setting, nested ones flattened: for ``--help`` and docs."""
    hints, rows = typing.get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[field.name]):
            rows += describe(typing.cast(type[Any], hints[field.name]), f"{prefix}{field.name}.")
        else:
            rows.append((prefix + field.name, _default(field), field.metadata.get("help", "")))
    return rows


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _build(cls: type[T], mapping: Any, source: str, path: str) -> T:
    where = f"{source}: {path}" if path else source
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} must be a mapping of settings, got {mapping!r}")
    fields = {field.name: field for field in dataclasses.fields(typing.cast(Any, cls)) if field.init}
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for key, value in mapping.items():
        name = f"{path}.{key}" if path else str(key)
        if key not in fields:
            raise ConfigError(f"{source}: {name!r} is not a setting{_suggestion(str(key), fields)}")
        values[key] = _coerce(hints[key], _over_default(_default(fields[key]), value), source, name)
        _check_range(fields[key].metadata, values[key], source, name)
    try:
        return cls(**values)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:  # a rule of the dataclass itself, or a setting without default
        raise ConfigError(f"{where}: {error}") from error


def _over_default(default: Any, value: Any) -> Any:
    """Return a group's ``value`` laid over its owner's ``default``, which may differ from that of the group's class."""
    if not isinstance(value, Mapping) or not dataclasses.is_dataclass(default) or isinstance(default, type):
        return value
    rows: dict[str, Any] = {one.name: getattr(default, one.name) for one in dataclasses.fields(default) if one.init}
    return rows | {key: _over_default(rows.get(key), entry) for key, entry in value.items()}


def _coerce(hint: Any, value: Any, source: str, name: str) -> Any:
    """Return ``value`` as the annotated type; only lossless changes are made (int to float, list to tuple)."""
    origin = typing.get_origin(hint)
    if hint is Any:
        return value
    if origin is Literal:
        return _one_of(typing.get_args(hint), value, source, name)
    if origin in (Union, types.UnionType):
        return _coerce_union(typing.get_args(hint), value, source, name)
    if origin is tuple:
        return _coerce_tuple(typing.get_args(hint), value, source, name)
    if origin in (dict, Mapping):
        return _coerce_mapping(typing.get_args(hint), value, source, name)
    if dataclasses.is_dataclass(hint):
        return (
            value if isinstance(value, typing.cast(Any, hint)) else _build(typing.cast(Any, hint), value, source, name)
        )
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value if isinstance(value, hint) else _enum(hint, value, source, name)
    return _coerce_scalar(hint, value, source, name)


def _coerce_scalar(hint: Any, value: Any, source: str, name: str) -> Any:
    rules: dict[Any, Callable[[Any], bool]] = {
        bool: lambda v: isinstance(v, bool),
        int: lambda v: isinstance(v, int) and not isinstance(v, bool),
        float: lambda v: isinstance(v, int | float) and not isinstance(v, bool) and v == v,  # no NaN
        str: lambda v: isinstance(v, str),
        Path: lambda v: isinstance(v, str | Path),
        type(None): lambda v: v is None,
    }
    if hint not in rules:
        raise TypeError(f"{source}: {name} is annotated {hint!r}, which configs do not support")
    if hint is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        value = float(value)
    if not rules[hint](value):
        raise _wrong(source, name, _SCALARS[hint], value)
    try:
        return hint(value) if hint in (float, Path) else value
    except OverflowError as error:
        raise ConfigError(f"{source}: {name} must fit a 64-bit float, got one of {value.bit_length()} bits") from error


def _coerce_union(options: tuple[Any, ...], value: Any, source: str, name: str) -> Any:
    if value is None and type(None) in options:
        return None
    real = [option for option in options if option is not type(None)]
    if len(real) == 1:
        return _coerce(real[0], value, source, name)
    for option in sorted(real, key=lambda option: option is float):  # an int stays an int
        try:
            return _coerce(option, value, source, name)
        except ConfigError:
            continue
    raise _wrong(source, name, " or ".join(_SCALARS.get(option, str(option)) for option in options), value)


def _coerce_tuple(entries: tuple[Any, ...], value: Any, source: str, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise _wrong(source, name, "a list", value)
    if len(entries) == 2 and entries[1] is Ellipsis:
        entries = (entries[0],) * len(value)
    if len(entries) != len(value):
        raise _wrong(source, name, f"a list of {len(entries)} values", value)
    return tuple(
        _coerce(hint, entry, source, f"{name}[{index}]")
        for index, (hint, entry) in enumerate(zip(entries, value, strict=True))
    )


def _coerce_mapping(arguments: tuple[Any, ...], value: Any, source: str, name: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(source, name, "a mapping", value)
    key_hint, value_hint = arguments or (Any, Any)
    return {
        _coerce(key_hint, key, source, f"key of {name}"): _coerce(value_hint, entry, source, f"{name}.{key}")
        for key, entry in value.items()
    }


def _enum(hint: type[Enum], value: Any, source: str, name: str) -> Enum:
    """Read an enum by its value or by its member's name."""
    for member in hint:
        if value == member.value or value == member.name:
            return member
    raise _wrong(source, name, f"one of {[member.value for member in hint]}", value)


def _one_of(options: tuple[Any, ...], value: Any, source: str, name: str) -> Any:
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    raise ConfigError(
        f"{source}: {name} must be one of {list(options)}, got {value!r}{_suggestion(str(value), map(str, options))}"
    )


def _check_range(metadata: Mapping[str, Any], value: Any, source: str, name: str) -> None:
    if isinstance(value, tuple):
        for index, entry in enumerate(value):
            _check_range(metadata, entry, source, f"{name}[{index}]")
        return
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _check_range(metadata, entry, source, f"{name}.{key}")
        return
    minimum, maximum, choices = (metadata.get(key) for key in ("minimum", "maximum", "choices"))
    if choices is not None and value is not None:
        _one_of(choices, value, source, name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if minimum is not None and value < minimum:
            raise ConfigError(f"{source}: {name} must be >= {minimum}, got {value}")
        if maximum is not None and value > maximum:
            raise ConfigError(f"{source}: {name} must be <= {maximum}, got {value}")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_mapping(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _wrong(source: str, name: str, expected: str, value: Any) -> ConfigError:
    return ConfigError(f"{source}: {name} must be {expected}, got {value!r} ({type(value).__name__})")


def _suggestion(word: str, known: Any) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(map(repr, sorted(names)))}"
