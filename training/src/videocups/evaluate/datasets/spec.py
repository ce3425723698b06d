"""Dataset descriptions: the YAML files under ``tables`` and the class tables they name."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from videocups_core.types import ClassInfo

TABLES = Path(__file__).parent / "tables"
CLASSES_FROM_CLIP = "clip"
"""``classes: clip`` reads the classes from the clips' own clip.json."""
IDENTITY = "identity"


@dataclass(frozen=True)
class Rules:
    """What happens to the truth before it is scored; 0 switches a rule off.

    ``min_instance_px``: an object smaller than this in a frame is void there.
    ``resize_short_side_px`` (nearest) and then ``centre_crop_px`` (square).
    """

    min_instance_px: int = 0
    resize_short_side_px: int = 0
    centre_crop_px: int = 0


@dataclass(frozen=True)
class DatasetSpec:
    """One file of ``tables``: everything about a dataset that is not code.

    ``things``: classes with object ids (tubes of AQ); None = every thing class of the table.
    ``not_scored``: classes left out of every average. ``merge``: class name -> the name it counts as.
    """

    name: str
    title: str
    download: str
    classes: str
    layouts: tuple[dict[str, Any], ...]
    tree: str
    splits: dict[str, Any]
    default_split: str
    has_video_ids: bool
    raw_to_class: str = IDENTITY
    things: tuple[int, ...] | None = None
    not_scored: tuple[int, ...] = ()
    merge: dict[str, str] | None = None
    rules: Rules = Rules()
    vpq_windows: tuple[int, ...] = (1, 2, 3, 4)
    notes: tuple[str, ...] = ()


def dataset_names() -> list[str]:
    """Return the names that ``--dataset`` accepts, sorted."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


@cache
def load_spec(name: str) -> DatasetSpec:
    """Read the description of dataset ``name``."""
    if name not in dataset_names():
        raise ValueError(f"unknown dataset {name!r}; choose one of {', '.join(dataset_names())}")
    raw = _with_parents(name)
    known = {entry.name for entry in fields(DatasetSpec)} - {"name"}
    if unknown := set(raw) - known:
        raise ValueError(f"dataset file {name}.yaml has unknown keys {sorted(unknown)}; known are {sorted(known)}")
    raw["layouts"] = tuple(raw["layouts"])
    raw["rules"] = Rules(**raw.get("rules", {}))
    for key in ("not_scored", "things", "vpq_windows", "notes"):
        if raw.get(key) is not None:
            raw[key] = tuple(raw[key])
    return DatasetSpec(name=name, **raw)


def load_classes(table: str) -> tuple[ClassInfo, ...]:
    """Read a class table of ``tables/classes``."""
    rows = yaml.safe_load((TABLES / "classes" / f"{table}.yaml").read_text(encoding="utf-8"))
    red_green_blue = [tuple(int(channel) for channel in row["color"]) for row in rows]
    return tuple(
        ClassInfo(int(row["id"]), str(row["name"]), bool(row["thing"]), (color[0], color[1], color[2]))
        for row, color in zip(rows, red_green_blue, strict=True)
    )


def load_raw_to_class(table: str) -> dict[int, int] | None:
    """Read a table of ``tables/raw``; None for ``identity``."""
    if table == IDENTITY:
        return None
    rows = yaml.safe_load((TABLES / "raw" / f"{table}.yaml").read_text(encoding="utf-8"))
    return {int(raw): int(class_id) for raw, class_id in rows.items()}


def _with_parents(name: str) -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load((TABLES / f"{name}.yaml").read_text(encoding="utf-8"))
    parent = raw.pop("extends", None)
    return {**_with_parents(parent), **raw} if parent else raw
