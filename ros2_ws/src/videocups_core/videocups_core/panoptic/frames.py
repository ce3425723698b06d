"""Panoptic frames from maps, and whether a frame keeps its own promises."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups_core.panoptic.regions import Regions, measure_regions
from videocups_core.types import MAX_SEGMENT_ID, VOID_CLASS, ClassInfo, PanopticFrame, Segment, SegmentState

FIRST_THING_ID = VOID_CLASS + 1
"""Stuff has segment_id class_id + 1 (1..255); things start here."""
_SMALL_TRACK_ID = 1 << 24  # up to here a lookup table beats sorting


def panoptic_from_maps(
    class_map: NDArray[np.uint8],
    track_map: NDArray[Any],
    classes: Sequence[ClassInfo],
    stamp_ns: int,
    *,
    frame_index: int = 0,
    track_epoch: int = 0,
    scores: Mapping[int, float] | None = None,
    ages: Mapping[int, int] | None = None,
) -> PanopticFrame:
    """Build a frame from a (H, W) class map (255 void) and a (H, W) integer track map (0 for stuff).

    Every stuff class becomes one segment, every (class, track) of a thing one segment; thing pixels without a
    track become one ignored crowd segment a class. Segment ids are stable: class_id + 1 for stuff and crowds,
    255 + track_id for things as long as that fits 16 bits and is free. ``scores`` and ``ages`` are per track.
    """
    if class_map.shape != track_map.shape or class_map.ndim != 2 or class_map.dtype != np.uint8:
        raise ValueError(
            f"class_map must be (H, W) uint8 and track_map of the same shape, got {class_map.shape} "
            f"{class_map.dtype} and {track_map.shape}"
        )
    class_of = {info.class_id: info for info in classes}
    tracks, track_index = _index_tracks(track_map)
    keys = class_map.astype(np.int64) * len(tracks) + track_index
    present = np.flatnonzero(np.bincount(keys.ravel(), minlength=256 * len(tracks)))
    pairs = [(int(key) // len(tracks), int(tracks[int(key) % len(tracks)])) for key in present]
    segment_of = _assign_ids(pairs, class_of)
    table = np.zeros(256 * len(tracks), np.uint16)
    table[present] = [segment_of.get(pair, 0) for pair in pairs]
    segment_ids = table[keys]
    pair_of = {segment_id: pair for pair, segment_id in segment_of.items()}
    segments = []
    for segment_id, area_px, box in _rows(measure_regions(segment_ids)):
        class_id, track_id = pair_of[segment_id]
        row = _row(segment_id, class_of[class_id], track_id)
        score, age = (scores or {}).get(track_id, 1.0), (ages or {}).get(track_id, 0)
        segments.append(replace(row, score=score, age=age, area_px=area_px, bbox_xywh=box))
    return PanopticFrame(stamp_ns, segment_ids, tuple(segments), frame_index, track_epoch)


def _row(segment_id: int, info: ClassInfo, track_id: int) -> Segment:
    """Return a row without measures; a thing without a track is a crowd, which training and scores leave out."""
    crowd = info.is_thing and track_id == 0
    return Segment(segment_id, info.class_id, info.is_thing, track_id, state=SegmentState.TRACKED, ignore=crowd)


def check_frame(frame: PanopticFrame) -> PanopticFrame:
    """Return ``frame`` if every id in its image has a row; ValueError names the first that has none."""
    present = np.flatnonzero(np.bincount(frame.segment_ids.ravel(), minlength=1))
    known = {segment.segment_id for segment in frame.segments}
    orphans = [int(segment_id) for segment_id in present if segment_id and int(segment_id) not in known]
    if orphans:
        raise ValueError(f"segment_id {orphans[0]} is in the image but has no row ({len(orphans)} such ids)")
    return frame


def _index_tracks(track_map: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct tracks (0 first) and each pixel's index into them."""
    if track_map.dtype.kind not in "iu" or (track_map.size and int(track_map.min()) < 0):
        raise ValueError(f"track_map must hold integers of at least 0, got dtype {track_map.dtype}")
    highest = int(track_map.max()) if track_map.size else 0
    if highest < _SMALL_TRACK_ID:
        seen = np.zeros(highest + 1, bool)
        seen[track_map.ravel()] = True
        seen[0] = True
        return np.flatnonzero(seen).astype(np.uint64), (np.cumsum(seen, dtype=np.int64) - 1)[track_map]
    tracks, index = np.unique(np.append(track_map.ravel().astype(np.uint64), np.uint64(0)), return_inverse=True)
    return tracks, index[:-1].reshape(track_map.shape).astype(np.int64)


def _assign_ids(pairs: Iterable[tuple[int, int]], class_of: Mapping[int, ClassInfo]) -> dict[tuple[int, int], int]:
    """Give every non-void (class, track) its segment id."""
    segment_of: dict[tuple[int, int], int] = {}
    things = []
    for class_id, track_id in pairs:
        if class_id != VOID_CLASS and class_id not in class_of:
            raise ValueError(f"class_map holds class {class_id}, which is not among {sorted(class_of)}")
        if track_id and (class_id == VOID_CLASS or not class_of[class_id].is_thing):
            raise ValueError(f"track {track_id} covers pixels of class {class_id}, which is not a thing; clear its id")
        if track_id:
            things.append((track_id, class_id))
        elif class_id != VOID_CLASS:
            segment_of[class_id, 0] = class_id + 1
    if len(things) + len(segment_of) > MAX_SEGMENT_ID:
        raise ValueError(f"a frame holds {MAX_SEGMENT_ID} segments at most, got {len(things) + len(segment_of)}")
    taken = set(segment_of.values())
    span = MAX_SEGMENT_ID - FIRST_THING_ID + 1
    for track_id, class_id in sorted(things):
        wanted = FIRST_THING_ID + (track_id - 1) % span
        while wanted in taken:
            wanted = wanted % MAX_SEGMENT_ID + 1
        taken.add(wanted)
        segment_of[class_id, track_id] = wanted
    return segment_of


def _rows(regions: Regions) -> Iterable[tuple[int, int, tuple[int, int, int, int]]]:
    for segment_id, area_px, box in zip(
        regions.ids.tolist(), regions.areas_px.tolist(), regions.boxes_xywh.tolist(), strict=True
    ):
        yield segment_id, area_px, (box[0], box[1], box[2], box[3])
