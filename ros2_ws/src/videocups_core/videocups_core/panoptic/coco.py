"""COCO panoptic: a colour PNG of ids and a JSON annotation with one entry a segment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.panoptic.codecs import MAX_COCO_ID, CodecError, coco_ids_to_png, png_to_coco_ids
from videocups_core.panoptic.frames import check_frame
from videocups_core.panoptic.regions import measure_regions
from videocups_core.types import MAX_SEGMENT_ID, ClassInfo, PanopticFrame, Segment


def frame_to_coco(frame: PanopticFrame, *, image_id: int | str, file_name: str) -> tuple[bytes, dict[str, Any]]:
    """Return (PNG bytes, annotation) of one frame.

    Entries carry ``track_id`` and ``score`` beside COCO's own keys; other readers skip them. Rows without
    pixels (coasted tracks) are left out, as COCO demands.
    """
    check_frame(frame)
    regions = measure_regions(frame.segment_ids)
    entries = []
    for segment_id, area, box in zip(regions.ids, regions.areas_px, regions.boxes_xywh, strict=True):
        row = frame.segment(int(segment_id))
        entries.append(
            {
                "id": row.segment_id,
                "category_id": row.class_id,
                "area": int(area),
                "bbox": [int(value) for value in box],
                "iscrowd": int(row.ignore),
                "track_id": row.track_id,
                "score": float(row.score),
            }
        )
    annotation = {"image_id": image_id, "file_name": file_name, "segments_info": entries}
    return coco_ids_to_png(frame.segment_ids), annotation


def categories_to_coco(classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """Return the ``categories`` table of a COCO panoptic file."""
    return [
        {"id": info.class_id, "name": info.name, "isthing": int(info.is_thing), "color": list(info.color_rgb)}
        for info in classes
    ]


def frame_from_coco(
    png: bytes,
    annotation: Mapping[str, Any],
    classes: Sequence[ClassInfo],
    stamp_ns: int,
    *,
    frame_index: int = 0,
    class_of_category: Mapping[int, int] | None = None,
) -> PanopticFrame:
    """Read one COCO image; area and boxes are measured, not believed.

    A thing's track is its ``track_id``, else its segment id, as in Cityscapes-VPS. Ids above 65,535 (other
    writers use colours) are renumbered. ``class_of_category`` maps foreign category ids; without it they are
    class ids.
    """
    coco_ids = png_to_coco_ids(png)
    things = {info.class_id: info.is_thing for info in classes}
    entries: dict[int, Mapping[str, Any]] = {}
    for entry in _entries(annotation):
        if entries.setdefault(int(entry["id"]), entry) is not entry:
            raise CodecError(f"segments_info lists id {entry['id']} twice")
    segment_ids, number_of = _renumbered(coco_ids, entries)
    regions = measure_regions(segment_ids)
    measured = {int(number): index for index, number in enumerate(regions.ids)}
    segments = []
    for coco_id, entry in entries.items():
        row = _segment(entry, number_of[coco_id], things, class_of_category)
        if row.segment_id in measured:
            index = measured[row.segment_id]
            x, y, width, height = (int(value) for value in regions.boxes_xywh[index])
            row = replace(row, area_px=int(regions.areas_px[index]), bbox_xywh=(x, y, width, height))
        segments.append(row)
    return PanopticFrame(stamp_ns, segment_ids, tuple(segments), frame_index)


def _entries(annotation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    entries = annotation.get("segments_info") if isinstance(annotation, Mapping) else None
    if not isinstance(entries, list):
        raise CodecError("a COCO panoptic annotation needs a list 'segments_info'")
    for entry in entries:
        if not isinstance(entry, Mapping) or not all(
            isinstance(entry.get(key), int) and low <= entry[key] <= MAX_COCO_ID
            for key, low in (("id", 1), ("category_id", 0))
        ):
            raise CodecError(f"a segments_info entry needs 'id' in 1..{MAX_COCO_ID} and a 'category_id', got {entry!r}")
    return entries


def _renumbered(
    coco_ids: NDArray[np.uint32], entries: Mapping[int, Mapping[str, Any]]
) -> tuple[NDArray[np.uint16], dict[int, int]]:
    """Return 16-bit ids and the new number of every COCO id; ids stay as they are where all of them fit."""
    known = np.array(sorted(entries), np.int64)
    if len(known) > MAX_SEGMENT_ID:
        raise CodecError(f"an image holds {MAX_SEGMENT_ID} segments at most, got {len(known)}")
    fits = len(known) == 0 or int(known[-1]) <= MAX_SEGMENT_ID
    numbers = known if fits else np.arange(1, len(known) + 1)
    table_from = np.concatenate([[0], known])
    table_to = np.concatenate([[0], numbers]).astype(np.uint16)
    position = np.searchsorted(table_from, coco_ids)
    position = np.minimum(position, len(table_from) - 1)
    orphans = table_from[position] != coco_ids
    if orphans.any():
        raise CodecError(f"id {int(coco_ids[orphans][0])} is in the PNG but segments_info does not list it")
    return table_to[position], dict(zip(known.tolist(), numbers.tolist(), strict=True))


def _segment(
    entry: Mapping[str, Any],
    number: int,
    things: Mapping[int, bool],
    class_of_category: Mapping[int, int] | None,
) -> Segment:
    category = entry["category_id"]
    class_id = category if class_of_category is None else class_of_category.get(category, -1)
    if class_id not in things:
        raise CodecError(f"category {category} is not among the classes {sorted(things)}; give class_of_category")
    crowd = bool(entry.get("iscrowd", 0))
    try:
        track_id = int(entry.get("track_id", 0 if crowd else entry["id"])) if things[class_id] else 0
        score = float(entry.get("score", 1.0))
        return Segment(number, class_id, things[class_id], track_id, score, ignore=crowd)
    except (ValueError, TypeError) as error:
        raise CodecError(f"segments_info entry {entry!r} cannot be used: {error}") from error
