"""The model zoo: which weights exist, how they were made, and what they are worth (``training/zoo.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from videocups.train.config_file import read_yaml
from videocups_core.config import from_mapping, setting

SCHEMA_VERSION = 1
PUBLISHED = "published"


@dataclass(frozen=True)
class Figure:
    """A measured value, as its source prints it."""

    measure: str = setting("", "what was measured")
    data: str = setting("", "on what")
    value: str = setting("", "the value, as its source prints it")
    # published: by the weights' authors; else a file of benchmarks/results
    source: str = setting(PUBLISHED, "published, or a file of benchmarks/results")


@dataclass(frozen=True)
class ZooEntry:
    """One set of weights."""

    name: str = setting("", "a short name, the one of 'weights fetch' where that gets it")
    what: str = setting("", "what it is, in a line")
    kind: Literal["features", "backbone", "panoptic", "bundle"] = setting("panoptic", "what it can be used as")
    origin: Literal["fetch", "import", "recipe", "file"] = setting("recipe", "how to come by it")
    how: str = setting("", "how it was made: a method, or a command")
    license: str = setting("", "its licence")
    human_labels: bool = setting(False, "whether any human label went into it")
    url: str | None = setting(None, "where it can be downloaded")
    path: str | None = setting(None, "where it lies, from this file's folder")
    sha256: str | None = setting(None, "of the file, where it is known")
    figures: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        empty = [field for field in ("name", "what", "how", "license") if not getattr(self, field)]
        if empty:
            raise ValueError(f"zoo entry {self.name!r} has no {empty[0]}; write it down")
        if self.origin in ("fetch", "import") and not self.url:
            raise ValueError(f"zoo entry {self.name!r} is from {self.origin}, which needs a url")
        if self.origin == "file" and not (self.path and self.sha256):
            raise ValueError(f"zoo entry {self.name!r} is a file, which needs a path and a sha256")


def zoo_path() -> Path:
    """Return where the table lies in a checkout."""
    return Path(__file__).resolve().parents[2] / "zoo.yaml"


def read_zoo(path: Path | None = None) -> tuple[ZooEntry, ...]:
    """Read and check the table; unknown keys, gaps and double names are ValueErrors."""
    file = path or zoo_path()
    content = read_yaml(file)
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"{file} needs schema_version: {SCHEMA_VERSION}")
    rows = content.get("weights")
    if not isinstance(rows, list):
        raise ValueError(f"{file} needs a list 'weights'")
    entries = tuple(_entry(row, f"{file}, weights[{index}]") for index, row in enumerate(rows))
    names = [entry.name for entry in entries]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ValueError(f"{file} lists {', '.join(double)} more than once; give each its own name")
    return entries


def _entry(row: Any, source: str) -> ZooEntry:
    if not isinstance(row, dict):
        raise ValueError(f"{source} must be a table of settings, got {type(row).__name__}")
    fields = {("origin" if key == "from" else key): value for key, value in row.items() if key != "figures"}
    figures = tuple(
        from_mapping(Figure, figure, f"{source}, figures[{index}]")
        for index, figure in enumerate(row.get("figures", []))
    )
    entry = from_mapping(ZooEntry, fields, source)
    return ZooEntry(**{**entry.__dict__, "figures": figures})
