"""The classes of a model as data: their JSON form, default names, and a mapping from pseudo-classes to named ones."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from videocups_core.palette import class_colors
from videocups_core.panoptic.regions import measure_regions
from videocups_core.types import MAX_SEGMENT_ID, ClassInfo, PanopticFrame, Segment

_FIELDS: dict[str, Any] = {"class_id": int, "name": str, "is_thing": bool, "color_rgb": (list, tuple)}


def default_classes(thing_flags: Sequence[bool], *, color_seed: int = 0) -> tuple[ClassInfo, ...]:
    """Return nameless pseudo-classes (``class_00``, ``class_01``, …), one per flag."""
    colors = class_colors(len(thing_flags), seed=color_seed)
    return tuple(
        ClassInfo(class_id, f"class_{class_id:02d}", bool(is_thing), (int(color[0]), int(color[1]), int(color[2])))
        for class_id, (is_thing, color) in enumerate(zip(thing_flags, colors, strict=True))
    )


def check_classes(classes: Sequence[ClassInfo]) -> tuple[ClassInfo, ...]:
    """Return ``classes`` as a tuple if ids and names are unique; ValueError names the double."""
    for what in ("class_id", "name"):
        users = Counter(getattr(info, what) for info in classes)
        for value, count in users.most_common(1):
            if count > 1:
                raise ValueError(f"{what} {value!r} is used by {count} classes; make it unique")
    return tuple(classes)


def classes_to_json(classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """Return the classes as JSON-ready mappings."""
    return [{**asdict(info), "color_rgb": list(info.color_rgb)} for info in check_classes(classes)]


def classes_from_json(content: Any) -> tuple[ClassInfo, ...]:
    """Read what ``classes_to_json`` gave; ValueError says which entry is wrong and how."""
    if not isinstance(content, list):
        raise ValueError(f"classes must be a list of mappings, got {type(content).__name__}")
    return check_classes([_class_from_json(index, entry) for index, entry in enumerate(content)])


def read_classes(path: Path | str) -> tuple[ClassInfo, ...]:
    """Read a JSON file of classes."""
    try:
        return classes_from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _class_from_json(index: int, entry: Any) -> ClassInfo:
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        got = sorted(entry) if isinstance(entry, dict) else type(entry).__name__
        raise ValueError(f"class entry {index} must have exactly the keys {sorted(_FIELDS)}, got {got}")
    for key, kind in _FIELDS.items():
        if not isinstance(entry[key], kind) or (kind is int and isinstance(entry[key], bool)):
            raise ValueError(f"{key} of class entry {index} has the wrong type: {entry[key]!r}")
    color = tuple(entry["color_rgb"])
    if len(color) != 3 or not all(isinstance(channel, int) and not isinstance(channel, bool) for channel in color):
        raise ValueError(f"color_rgb of class entry {index} must be three whole numbers, got {entry['color_rgb']!r}")
    return ClassInfo(entry["class_id"], entry["name"], entry["is_thing"], (color[0], color[1], color[2]))


@dataclass(frozen=True)
class ClassNaming:
    """What each pseudo-class is called: pseudo class_id to named class_id, None for void.

    A pseudo-class that is not listed is void. Several pseudo-classes may share a named class.
    """

    targets: tuple[ClassInfo, ...]
    class_of_pseudo: Mapping[int, int | None]

    def __post_init__(self) -> None:
        check_classes(self.targets)
        known = {info.class_id for info in self.targets}
        for pseudo, target in self.class_of_pseudo.items():
            if target is not None and target not in known:
                raise ValueError(f"pseudo-class {pseudo} maps to class {target}, which is not among {sorted(known)}")

    def apply(self, frame: PanopticFrame) -> PanopticFrame:
        """Return ``frame`` in the named classes; stuff regions of one named class become one segment.

        A thing that maps to stuff loses its track; stuff that maps to a thing becomes an ignored crowd, since
        nobody told its objects apart.
        """
        named = {info.class_id: info for info in self.targets}
        table = np.zeros(MAX_SEGMENT_ID + 1, np.uint16)
        kept: dict[int, Segment] = {}
        merged: dict[int, int] = {}  # named class without tracks -> its segment_id
        for segment in sorted(frame.segments, key=lambda row: row.segment_id):
            class_id = self.class_of_pseudo.get(segment.class_id)
            if class_id is None:
                continue
            row = _renamed(segment, named[class_id])
            if row.track_id == 0:
                home = merged.setdefault(class_id, segment.segment_id)
                row = _joined(kept[home], row) if home in kept else row
                table[segment.segment_id] = home
                kept[home] = row
            else:
                table[segment.segment_id] = segment.segment_id
                kept[segment.segment_id] = row
        return _remeasured(replace(frame, segment_ids=table[frame.segment_ids], segments=tuple(kept.values())))


def _renamed(segment: Segment, target: ClassInfo) -> Segment:
    if target.is_thing:
        crowd = segment.track_id == 0
        return replace(segment, class_id=target.class_id, is_thing=True, ignore=segment.ignore or crowd)
    return replace(segment, class_id=target.class_id, is_thing=False, track_id=0)


def _joined(first: Segment, second: Segment) -> Segment:
    """Join two trackless rows of one class; the score is the area-weighted mean."""
    area = first.area_px + second.area_px
    weight = first.area_px / area if area else 0.5
    return replace(
        first,
        score=first.score * weight + second.score * (1 - weight),
        age=max(first.age, second.age),
        area_px=area,
        ignore=first.ignore and second.ignore if not first.is_thing else True,
    )


def _remeasured(frame: PanopticFrame) -> PanopticFrame:
    regions = measure_regions(frame.segment_ids)
    measured = {
        int(segment_id): (int(area), tuple(int(value) for value in box))
        for segment_id, area, box in zip(regions.ids, regions.areas_px, regions.boxes_xywh, strict=True)
    }
    rows = []
    for segment in frame.segments:
        area_px, box = measured.get(segment.segment_id, (0, (0, 0, 0, 0)))
        rows.append(replace(segment, area_px=area_px, bbox_xywh=(box[0], box[1], box[2], box[3])))
    return replace(frame, segments=tuple(rows))
