"""Paths with placeholders: ``panoptic_maps/{split}/{sequence}/{frame}.png``, found on disk and filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_PLACEHOLDER = re.compile(r"\{(\w+)\}")


def fill(pattern: str, known: Mapping[str, str]) -> str:
    """Put the known values in; unknown placeholders stay."""
    return _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), pattern)


def find(root: Path, pattern: str, known: Mapping[str, str]) -> list[tuple[Path, dict[str, str]]]:
    """Return the files below ``root`` that fit, sorted, each with the values of all placeholders.

    A placeholder and ``*`` stand for one or more characters other than ``/``.
    """
    filled = fill(pattern, known)
    expression = re.compile(to_regex(filled))
    found = []
    for path in sorted(root.glob(_PLACEHOLDER.sub("*", filled))):
        match = expression.fullmatch(path.relative_to(root).as_posix())
        if match and path.is_file():
            found.append((path, {**known, **match.groupdict()}))
    return found


def first(root: Path, patterns: list[str], known: Mapping[str, str]) -> Path | None:
    """Return the first file that fits one of the patterns, in their order; None without any."""
    for pattern in patterns:
        for path in sorted(root.glob(_PLACEHOLDER.sub("*", fill(pattern, known)))):
            return path
    return None


def to_regex(pattern: str) -> str:
    """Return the regular expression of a pattern, one named group a placeholder."""
    parts = re.split(r"(\{\w+\}|\*)", pattern)
    return "".join(_part_to_regex(part) for part in parts)


def _part_to_regex(part: str) -> str:
    if part == "*":
        return "[^/]+"
    if match := _PLACEHOLDER.fullmatch(part):
        return f"(?P<{match[1]}>[^/]+)"
    return re.escape(part)
