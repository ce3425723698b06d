"""Things over stuff: raw outputs become one label map in which every pixel has an owner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.engine.base import RawOutputs
from videocups_core.types import ClassInfo

MAX_LABELS = 255
"""Stuff classes and detections of one frame share an 8-bit label map; 0 is never given."""


@dataclass(frozen=True)
class MergeConfig:
    """Thresholds of the merge; all of them may change between two frames."""

    # Detections below this score are not considered.
    score_threshold: float = 0.5
    # A mask pixel counts from this probability on.
    mask_threshold: float = 0.5
    # A detection with more than this share of its mask already taken, or on the input's padding, is rejected.
    overlap_threshold: float = 0.5
    # Detections with fewer visible pixels (network resolution) are rejected.
    min_thing_area_px: int = 1
    # At most so many things a frame, best first.
    max_detections: int = 100

    def __post_init__(self) -> None:
        for name in ("score_threshold", "mask_threshold", "overlap_threshold"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"merge.{name} must be in 0..1, got {value}")
        if self.min_thing_area_px < 1:
            raise ValueError(f"merge.min_thing_area_px must be >= 1, got {self.min_thing_area_px}")
        if not 1 <= self.max_detections < MAX_LABELS:
            raise ValueError(f"merge.max_detections must be in 1..{MAX_LABELS - 1}, got {self.max_detections}")


@dataclass(frozen=True)
class MergeTable:
    """The class table as the merge needs it; made once a bundle.

    ``stuff_class_ids``: class of stuff label 1, 2, …. ``label_of_class``: (256,) uint8, 0 where no stuff class.
    """

    stuff_class_ids: tuple[int, ...]
    thing_class_ids: frozenset[int]
    label_of_class: NDArray[np.uint8]

    @staticmethod
    def from_classes(classes: Sequence[ClassInfo]) -> MergeTable:
        """Give the stuff classes the labels 1, 2, … in the order of their class ids."""
        stuff = tuple(sorted(info.class_id for info in classes if not info.is_thing))
        if not stuff:
            raise ValueError("the class table has no stuff class, so pixels outside of things would have no owner")
        label_of_class = np.zeros(256, dtype=np.uint8)
        label_of_class[list(stuff)] = np.arange(1, len(stuff) + 1)
        return MergeTable(stuff, frozenset(info.class_id for info in classes if info.is_thing), label_of_class)

    @property
    def first_thing_label(self) -> int:
        """Label of the best detection; the next ones follow."""
        return len(self.stuff_class_ids) + 1

    def check(self, config: MergeConfig) -> None:
        """Raise where stuff classes and detections do not fit into 8 bits together."""
        if len(self.stuff_class_ids) + config.max_detections > MAX_LABELS:
            raise ValueError(
                f"{len(self.stuff_class_ids)} stuff classes and merge.max_detections = {config.max_detections} "
                f"exceed {MAX_LABELS} labels a frame; lower max_detections"
            )


@dataclass(frozen=True)
class Merged:
    """One frame after the merge, at network resolution; n accepted things, best score first.

    ``labels``: (h, w) uint8, stuff labels 1..S of the table, then one label a thing. ``source``: (n,) row in the
    raw outputs. ``boxes``: (n, 4) float32 as detected. ``areas_px``: (n,) visible pixels.
    """

    labels: NDArray[np.uint8]
    first_thing_label: int
    source: NDArray[np.int64]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    class_ids: NDArray[np.int64]
    embeddings: NDArray[np.float32]
    areas_px: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.source)


def merge_panoptic(
    raw: RawOutputs,
    table: MergeTable,
    config: MergeConfig,
    network_hw: tuple[int, int],
    content_hw: tuple[int, int] | None = None,
) -> Merged:
    """Lay the accepted detections over the best stuff class of every pixel.

    ``content_hw``: the top-left part of the network input that holds the image; all of it when None.
    Costs O(pixels) for the stuff map plus O(box) for each considered detection.
    """
    rows, columns = content_hw or network_hw
    labels = _stuff_labels(raw.semantic, table, network_hw)[:rows, :columns]
    order = _candidates(raw, table, config, network_hw)
    accepted: list[tuple[int, int]] = []
    for index in order:
        if len(accepted) == config.max_detections:
            break
        label = table.first_thing_label + len(accepted)
        area_px = _paste(labels, raw.boxes[index], raw.masks[index], label, table.first_thing_label, config)
        if area_px:
            accepted.append((int(index), area_px))
    source = np.array([row[0] for row in accepted], dtype=np.int64)
    return Merged(
        labels=labels,
        first_thing_label=table.first_thing_label,
        source=source,
        boxes=raw.boxes[source],
        scores=raw.scores[source],
        class_ids=raw.classes[source],
        embeddings=raw.embeddings[source],
        areas_px=np.array([row[1] for row in accepted], dtype=np.int64),
    )


def _stuff_labels(semantic: NDArray[np.uint8], table: MergeTable, network_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Stuff label of every network pixel, always a fresh array (the things are pasted into it)."""
    labels = np.asarray(cv2.LUT(semantic, table.label_of_class), dtype=np.uint8)
    if not labels.all():
        wrong = int(semantic[labels == 0][0])
        raise ValueError(
            f"the network's output 'semantic' holds class {wrong}, which is no stuff class of the bundle; "
            "it must be the best stuff class of every pixel"
        )
    if labels.shape != network_hw:
        size = (network_hw[1], network_hw[0])
        labels = np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
    return labels


def _candidates(
    raw: RawOutputs, table: MergeTable, config: MergeConfig, network_hw: tuple[int, int]
) -> NDArray[np.int64]:
    """Rows above the score threshold in a canonical order: best first, ties by box and class, never by row."""
    if not (np.isfinite(raw.scores).all() and np.isfinite(raw.boxes).all() and np.isfinite(raw.embeddings).all()):
        raise ValueError("the network gave NaN or infinite scores, boxes or embeddings; the model or engine is broken")
    if raw.scores.size and not (raw.scores.min() >= 0 and raw.scores.max() <= 1):
        raise ValueError(f"the network gave scores from {raw.scores.min()} to {raw.scores.max()}; they must be in 0..1")
    # A score of 0 marks padding, whatever the threshold.
    rows = np.flatnonzero((raw.scores >= config.score_threshold) & (raw.scores > 0))
    wrong = [int(class_id) for class_id in raw.classes[rows] if int(class_id) not in table.thing_class_ids]
    if wrong:
        raise ValueError(f"the network detected class {wrong[0]}, which is no thing class of the bundle")
    boxes = raw.boxes[rows]
    height, width = network_hw
    if (boxes < -1).any() or (boxes > np.array([width, height, width, height]) + 1).any():
        raise ValueError(
            f"the network gave a box outside of its {height}×{width} px input; boxes must be clipped to it"
        )
    keys = (raw.classes[rows], boxes[:, 3], boxes[:, 2], boxes[:, 1], boxes[:, 0], -raw.scores[rows])
    return rows[np.lexsort(keys)]


def _paste(
    labels: NDArray[np.uint8],
    box: NDArray[np.float32],
    mask: NDArray[np.uint8],
    label: int,
    first_thing_label: int,
    config: MergeConfig,
) -> int:
    """Write one detection into ``labels``; its visible area in px, 0 where it is rejected."""
    # The box covers the pixels whose centres lie inside.
    left, top, right, bottom = (max(int(edge), 0) for edge in np.ceil(box - 0.5))
    region = labels[top:bottom, left:right]  # ends where the content does
    if region.size == 0:
        return 0
    threshold = max(int(np.ceil(config.mask_threshold * 255)), 1)
    size = (right - left, bottom - top)
    full = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    inside = full >= threshold
    free = inside[: region.shape[0], : region.shape[1]] & (region < first_thing_label)
    area, visible = int(np.count_nonzero(inside)), int(np.count_nonzero(free))
    if visible < config.min_thing_area_px or (area - visible) > config.overlap_threshold * area:
        return 0
    region[free] = label
    return visible
