"""How much two frames' things overlap, from label maps and boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def label_overlaps_px(
    labels: NDArray[np.uint8], previous: NDArray[np.uint8], first_label: int, count: int, previous_count: int
) -> NDArray[np.int64]:
    """(count, previous_count) shared pixels of the things in two label maps of equal shape, by one joint histogram.

    Things carry the labels first_label, first_label + 1, …; the cost is O(pixels), whatever the number of things.
    """
    if count == 0 or previous_count == 0:
        return np.zeros((count, previous_count), dtype=np.int64)
    if labels.shape != previous.shape:
        raise ValueError(f"label maps must have equal shapes, got {labels.shape} and {previous.shape}")
    # Label pairs as one 16-bit number; pixels where either frame shows stuff are thrown away first.
    both = (labels >= first_label) & (previous >= first_label)
    pairs = labels[both].astype(np.int64) * 256 + previous[both]
    joint = np.bincount(pairs, minlength=65_536).reshape(256, 256)
    return joint[first_label : first_label + count, first_label : first_label + previous_count]


def iou_from_overlaps(
    shared_px: NDArray[np.int64], areas_px: NDArray[np.int64], previous_areas_px: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Intersection over union of every pair; 0 where both are empty."""
    union = areas_px[:, None] + previous_areas_px[None, :] - shared_px
    return np.asarray(shared_px / np.maximum(union, 1), dtype=np.float64)


def box_overlap(
    boxes: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(n, m) intersection over union of x0 y0 x1 y1 boxes, and their proximity.

    Proximity is the generalised IoU brought to 0..1: it goes on falling with the distance where the IoU is 0 already.
    """
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = _area(boxes)[:, None] + _area(others)[None, :] - shared
    hull_low = np.minimum(boxes[:, None, :2], others[None, :, :2])
    hull_high = np.maximum(boxes[:, None, 2:], others[None, :, 2:])
    hull = np.clip(hull_high - hull_low, 0, None).prod(axis=2)
    iou = shared / np.where(union > 0, union, 1.0)
    filled = union / np.where(hull > 0, hull, 1.0)
    return iou, np.clip((iou + filled) / 2, 0.0, 1.0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1), dtype=np.float64)
