"""From aligned classes and tracks to panoptic video pseudo-labels.

Things are tracks whose class is a thing class. Two kinds of pixels are marked ``ignore``, which training leaves out and
which is not void: pixels of a thing class outside all tracks (nobody told them apart), and moving instances that are no
things after all (something moves there, nobody knows what).

Reads ``semantics_smooth``, ``tracks`` and ``thing_stuff.json``; writes ``panoptic``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videocups_core.config import setting
from videocups_core.labels import default_classes
from videocups_core.panoptic.frames import panoptic_from_maps
from videocups_core.panoptic.regions import measure_regions
from videocups_core.panoptic.storage import PanopticClipWriter
from videocups_core.types import MAX_SEGMENT_ID, ClassInfo, PanopticFrame, Segment

ClassMap = NDArray[np.uint8]
TrackMap = NDArray[np.int32]


@dataclass(frozen=True)
class PanopticConfig:
    """What becomes of what nobody could tell."""

    # a moving instance whose class is stuff: ignored in training, or plain stuff
    ignore_stuff_instances: bool = setting(True, "ignore moving instances whose class is stuff")


def class_table(is_thing: Sequence[bool], instance_classes: int = 0) -> tuple[ClassInfo, ...]:
    """Return the table of K pixel classes and, after them, the thing classes found from instances."""
    return default_classes([*map(bool, is_thing), *[True] * instance_classes])


def panoptic_frames(
    classes: Sequence[ClassMap],
    tracks: Sequence[TrackMap],
    table: Sequence[ClassInfo],
    stamps_ns: Sequence[int],
    config: PanopticConfig | None = None,
    no_things: Collection[int] = (),
) -> Iterator[PanopticFrame]:
    """Yield the panoptic frames of a clip from aligned (H, W) uint8 classes and (H, W) int32 tracks.

    ``no_things``: tracks that are no things whatever class lies under them.
    """
    config = config or PanopticConfig()
    dropped = np.fromiter(no_things, np.int64, len(no_things))
    is_thing = np.zeros(256, bool)
    is_thing[[info.class_id for info in table if info.is_thing]] = True
    born: dict[int, int] = {}
    for index, (class_map, track_map, stamp_ns) in enumerate(zip(classes, tracks, stamps_ns, strict=True)):
        things = np.where(is_thing[class_map] & ~np.isin(track_map, dropped), track_map, 0)
        for track in np.unique(things).tolist():
            born.setdefault(int(track), index)
        ages = {track: index - first for track, first in born.items()}
        frame = panoptic_from_maps(class_map, things, table, stamp_ns, frame_index=index, ages=ages)
        unsure = (track_map > 0) & ~is_thing[class_map]
        yield with_ignored_stuff(frame, unsure) if config.ignore_stuff_instances else frame


def with_ignored_stuff(frame: PanopticFrame, ignore: NDArray[np.bool_]) -> PanopticFrame:
    """Split the stuff pixels under the (H, W) mask ``ignore`` off into ignored segments of the same classes."""
    ids = frame.segment_ids.copy()
    taken = {segment.segment_id for segment in frame.segments}
    marked: list[Segment] = []
    free = MAX_SEGMENT_ID
    for segment in frame.segments:
        here = ignore & (frame.segment_ids == segment.segment_id)
        if segment.is_thing or not here.any():
            continue
        while free in taken:
            free -= 1
        taken.add(free)
        ids[here] = free
        marked.append(replace(segment, segment_id=free, ignore=True))
    if not marked:
        return frame
    regions = measure_regions(ids)
    measured = {
        int(segment_id): (int(area), box)
        for segment_id, area, box in zip(regions.ids, regions.areas_px, regions.boxes_xywh.tolist(), strict=True)
    }
    rows = [
        replace(segment, area_px=measured[segment.segment_id][0], bbox_xywh=tuple(measured[segment.segment_id][1]))
        for segment in (*frame.segments, *marked)
        if segment.segment_id in measured
    ]
    return replace(frame, segment_ids=ids, segments=tuple(rows))


def write_panoptic_clip(
    folder: Path, frames: Iterable[PanopticFrame], table: Sequence[ClassInfo], *, overwrite: bool = False
) -> int:
    """Write the frames to ``folder/panoptic``, readable by training, evaluation and bag labelling; returns how many."""
    with PanopticClipWriter(folder, table, overwrite=overwrite) as writer:
        for frame in frames:
            writer.append(frame)
        return len(writer)
