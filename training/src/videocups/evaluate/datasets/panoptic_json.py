"""The JSON of COCO-panoptic, checked once, so that a wrong one is told by name and not by a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from videocups_core.palette import class_colors
from videocups_core.types import ClassInfo

Row = Mapping[str, Any]


def read_json(path: Path) -> Any:
    """Return what ``path`` holds; ValueError names the file where it is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}); write it anew") from error


def is_panoptic(content: Any) -> bool:
    """Return whether a JSON means to be COCO-panoptic: annotations with tables of segments."""
    rows = content.get("annotations") if isinstance(content, dict) else None
    return isinstance(rows, list) and any(isinstance(row, dict) and "segments_info" in row for row in rows)


def checked_rows(content: Mapping[str, Any], path: Path) -> list[Row]:
    """Return the annotations; ValueError where one lacks its segments, or a segment its id or category."""
    for place, row in enumerate(content["annotations"]):
        segments = row.get("segments_info") if isinstance(row, dict) else None
        if not isinstance(segments, list) or not all(map(_is_segment, segments)):
            raise ValueError(
                f"{path}: annotation {place} needs 'segments_info', a list of segments with the whole numbers 'id' and "
                "'category_id'; write the file anew"
            )
    return list(content["annotations"])


def told_classes(content: Mapping[str, Any], path: Path) -> tuple[tuple[ClassInfo, ...] | None, bool]:
    """Return the classes, None if nothing tells them, and whether it is told which of those in use are things.

    Things are told by ``isthing`` of the categories or of the segments.
    """
    segments = [segment for row in content["annotations"] for segment in row["segments_info"]]
    categories = content.get("categories") or []
    _check_categories(categories, path)
    kinds = {int(row["category_id"]): bool(row["isthing"]) for row in segments if "isthing" in row}
    kinds |= {int(row["id"]): bool(row["isthing"]) for row in categories if "isthing" in row}
    kinds_told = all(row["category_id"] in kinds for row in segments)
    if not categories:
        if not kinds_told:
            return None, False
        categories = [{"id": class_id, "name": f"class_{class_id:02d}"} for class_id in kinds]
    return _class_infos(categories, kinds), kinds_told


def _class_infos(categories: Iterable[Row], kinds: Mapping[int, bool]) -> tuple[ClassInfo, ...]:
    rows = sorted(categories, key=lambda row: int(row["id"]))
    found = []
    for row, color in zip(rows, class_colors(len(rows)).tolist(), strict=True):
        red, green, blue = (int(value) for value in row.get("color", color))
        found.append(ClassInfo(row["id"], str(row["name"]), kinds.get(row["id"], False), (red, green, blue)))
    return tuple(found)


def _check_categories(categories: Any, path: Path) -> None:
    wrong = f"{path}: 'categories' must be a list, each with a whole number 'id' of its own and a 'name'"
    if not isinstance(categories, list):
        raise ValueError(f"{wrong}, got {type(categories).__name__}")
    for row in categories:
        if not isinstance(row, dict) or not isinstance(row.get("id"), int) or "name" not in row:
            raise ValueError(f"{wrong}, got {json.dumps(row)}")
    if len({row["id"] for row in categories}) < len(categories):
        raise ValueError(f"{wrong}, got an id twice")


def _is_segment(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(key), int) for key in ("id", "category_id"))
