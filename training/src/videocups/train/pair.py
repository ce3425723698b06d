"""A pair of labelled frames as arrays, and pairs as a training batch.

Row n is the same track in both frames. Masks never overlap, so one image of row numbers holds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videocups.model.classes import IGNORE, THING, ClassTable
from videocups_core.panoptic.regions import measure_regions
from videocups_core.types import VOID_SEGMENT, PanopticFrame

NO_CLASS = -1
IGNORED = np.uint16(65_535)
"""object number of pixels that are neither object nor background"""
Batch = dict[str, Tensor]


@dataclass(frozen=True)
class FrameLabels:
    """What is known of one frame.

    ``semantic``: (H, W) uint8 as the semantic head learns it, 255 nothing. ``objects``: (H, W) uint16, 0 none,
    k = ``tracks[k - 1]``, 65535 = ignored. ``classes``: thing index of each track.
    """

    semantic: NDArray[np.uint8]
    objects: NDArray[np.uint16]
    tracks: tuple[int, ...]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Two frames and what is known of them; N rows."""

    images: NDArray[np.uint8]  # (2, H, W, 3)
    semantic: NDArray[np.uint8]  # (2, H, W), channel of the semantic head or 255
    rows: NDArray[np.int16]  # (2, H, W), 0 none, n + 1 = row n
    ignore: NDArray[np.bool_]  # (2, H, W)
    classes: NDArray[np.int16]  # (2, N) thing index, −1 where the row is not in that frame


def frame_labels(frame: PanopticFrame, table: ClassTable, *, unknown_things: str = "thing") -> FrameLabels:
    """Read a panoptic frame for training: what is void or marked ignore teaches nothing.

    A thing without a track was told apart by nobody: an ignored region, whose semantics are "thing" nevertheless
    unless ``unknown_things`` says "ignore".
    """
    highest = max((segment.segment_id for segment in frame.segments), default=0)
    highest = max(highest, int(frame.segment_ids.max(initial=0)))
    semantic = np.full(highest + 1, IGNORE, np.uint8)
    objects = np.zeros(highest + 1, np.uint16)
    objects[VOID_SEGMENT] = IGNORED
    channels, things = table.channels, table.thing_indices
    tracks: list[int] = []
    classes: list[int] = []
    for segment in frame.segments:
        if segment.ignore:
            objects[segment.segment_id] = IGNORED
            if segment.is_thing and unknown_things == "thing":
                semantic[segment.segment_id] = THING
        elif segment.is_thing:
            tracks.append(segment.track_id)
            classes.append(things[segment.class_id])
            objects[segment.segment_id] = len(tracks)
            semantic[segment.segment_id] = THING
        else:
            semantic[segment.segment_id] = channels[segment.class_id]
    return FrameLabels(semantic[frame.segment_ids], objects[frame.segment_ids], tuple(tracks), tuple(classes))


def join(images: NDArray[np.uint8], labels: tuple[FrameLabels, FrameLabels]) -> Pair:
    """Put two frames together: objects with the same track become one row."""
    tracks = sorted({track for frame in labels for track in frame.tracks})
    row_of = {track: row for row, track in enumerate(tracks)}
    classes = np.full((2, len(tracks)), NO_CLASS, np.int16)
    rows = np.zeros((2, *labels[0].objects.shape), np.int16)
    for at, frame in enumerate(labels):
        number = np.zeros(len(frame.tracks) + 1, np.int16)
        for index, (track, thing) in enumerate(zip(frame.tracks, frame.classes, strict=True), start=1):
            number[index] = row_of[track] + 1
            classes[at, row_of[track]] = thing
        rows[at] = number[np.where(frame.objects == IGNORED, 0, frame.objects)]
    semantic = np.stack([frame.semantic for frame in labels])
    ignore = np.stack([frame.objects == IGNORED for frame in labels])
    return Pair(images, semantic, rows, ignore, classes)


def settle(pair: Pair, min_area_px: int) -> tuple[Pair, NDArray[np.float32]]:
    """Ignore objects with too few visible pixels, drop rows without an object, and measure boxes (2, N, 4).

    Boxes are x0 y0 x1 y1 of the visible pixels, x1 and y1 one beyond the last.
    """
    count = pair.classes.shape[1]
    rows, ignore, classes = pair.rows.copy(), pair.ignore.copy(), pair.classes.copy()
    for at in range(2):
        areas = np.bincount(rows[at].ravel(), minlength=count + 1)[1:]
        small = areas < min_area_px
        classes[at, small] = NO_CLASS
        if (small & (areas > 0)).any():
            gone = np.concatenate([[False], small])[rows[at]]
            ignore[at] |= gone
            rows[at][gone] = 0
    kept = np.flatnonzero((classes >= 0).any(axis=0))
    number = np.zeros(count + 1, np.int16)
    number[kept + 1] = np.arange(1, len(kept) + 1)
    settled = replace(pair, rows=number[rows], ignore=ignore, classes=classes[:, kept])
    return settled, boxes_of(settled)


def boxes_of(pair: Pair) -> NDArray[np.float32]:
    """Return (2, N, 4) boxes of the rows' visible pixels; zeros where a row is not in a frame."""
    boxes = np.zeros((*pair.classes.shape, 4), np.float32)
    for at in range(2):
        regions = measure_regions(pair.rows[at].astype(np.uint16))
        found = regions.ids > 0
        x, y, width, height = regions.boxes_xywh[found].T
        boxes[at, regions.ids[found].astype(np.int64) - 1] = np.stack([x, y, x + width, y + height], axis=1)
    return boxes


def pack(pairs: Sequence[tuple[Pair, NDArray[np.float32]]]) -> Batch:
    """Stack pairs of one size into a small batch: whole numbers stay as narrow as they are until ``expand``."""
    most = max(pair.classes.shape[1] for pair, _ in pairs)
    classes = np.full((len(pairs), 2, most), NO_CLASS, np.int16)
    boxes = np.zeros((len(pairs), 2, most, 4), np.float32)
    for at, (pair, found) in enumerate(pairs):
        classes[at, :, : pair.classes.shape[1]] = pair.classes
        boxes[at, :, : pair.classes.shape[1]] = found
    stacked = {
        "images": np.stack([pair.images for pair, _ in pairs]),
        "semantic": np.stack([pair.semantic for pair, _ in pairs]),
        "instances": np.stack([pair.rows for pair, _ in pairs]),
        "ignore": np.stack([pair.ignore for pair, _ in pairs]),
        "classes": classes,
        "boxes": boxes,
    }
    return {name: torch.from_numpy(value) for name, value in stacked.items()}


def unpack(batch: Batch) -> list[Pair]:
    """Return the pairs of a batch on the CPU; rows that are padding stay, without pixels."""
    arrays = {name: value.numpy() for name, value in batch.items()}
    return [
        Pair(images, semantic, rows, ignore, classes)
        for images, semantic, rows, ignore, classes in zip(
            arrays["images"],
            arrays["semantic"],
            arrays["instances"],
            arrays["ignore"],
            arrays["classes"],
            strict=True,
        )
    ]


def expand(batch: Batch) -> Batch:
    """Return the batch as the network takes it: images (B, 2, 3, H, W), labels int64."""
    wide = {name: batch[name].long() for name in ("semantic", "instances", "classes")}
    images = batch["images"].permute(0, 1, 4, 2, 3).contiguous()
    return {"images": images, **wide, "boxes": batch["boxes"], "ignore": batch["ignore"]}
