"""How good instances of moving objects are, without classes: recall and precision of masks, and quality of tracks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videocups.fusion.tracking import overlaps

LabelMap = NDArray[np.int32]
AREAS_PX = (150, 600)
"""objects above these areas are counted apart: at 512×256 about a car at 60 m and at 30 m."""


@dataclass
class MaskQuality:
    """Counts over frames: truth found and all truth, right predictions and all predictions, per limit of area.

    A mask is found where any other overlaps it with IoU > ``min_iou``. Truth: objects that move and are larger than
    the limit. Precision asks of every predicted mask larger than the limit whether it fits a moving object of any size.
    """

    min_iou: float = 0.5
    areas_px: tuple[int, ...] = AREAS_PX
    counts: dict[int, NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counts = self.counts or {area: np.zeros(4, np.int64) for area in self.areas_px}

    def add(self, predicted: LabelMap, truth: LabelMap) -> None:
        """Count one frame; both maps (H, W), 0 = nothing; ``truth`` holds moving objects only."""
        iou, truth_area, predicted_area = iou_matrix(truth, predicted)
        fits: NDArray[np.bool_] = np.greater(iou, self.min_iou)
        for area, count in self.counts.items():
            large, counted = truth_area > area, predicted_area > area
            found, right = fits[large].any(axis=1).sum(), fits[:, counted].any(axis=0).sum()
            count += np.array([found, large.sum(), right, counted.sum()])

    def merge(self, other: MaskQuality) -> None:
        """Add the counts of another set of frames."""
        for area in self.areas_px:
            self.counts[area] += other.counts[area]

    def recall(self, area_px: int) -> float:
        """Share of moving objects above the area that were found; NaN where there is none."""
        found, of = self.counts[area_px][:2]
        return float(found / of) if of else float("nan")

    def precision(self, area_px: int) -> float:
        """Share of predicted masks above the area that fit a moving object; NaN where there is none."""
        right, of = self.counts[area_px][2:]
        return float(right / of) if of else float("nan")


def iou_matrix(first: LabelMap, second: LabelMap) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return IoU (n, m) of all labels > 0 of two maps in ascending order, and the areas of both."""
    first_ids, second_ids, shared = overlaps(first, second)
    first_area, second_area = shared.sum(axis=1), shared.sum(axis=0)
    iou = shared / (first_area[:, None] + second_area[None] - shared)
    rows, columns = first_ids > 0, second_ids > 0
    return iou[rows][:, columns], first_area[rows], second_area[columns]


def moving_objects(tracks: LabelMap, moving: Collection[int]) -> LabelMap:
    """Return the track map with only those tracks that move."""
    return np.where(np.isin(tracks, list(moving)), tracks, 0).astype(np.int32)


def track_quality(predicted: Sequence[LabelMap], truth: Sequence[LabelMap]) -> tuple[float, int]:
    """Return the sum over true tubes of association quality (STEP Eq. 4, without classes), and their number.

    AQ of several clips is the sum of the first over the sum of the second.
    """
    shared: dict[tuple[int, int], int] = {}
    for found, true in zip(predicted, truth, strict=True):
        true_ids, found_ids, pixels = overlaps(true, found)
        for row, column in zip(*np.nonzero(pixels), strict=True):
            key = int(true_ids[row]), int(found_ids[column])
            shared[key] = shared.get(key, 0) + int(pixels[row, column])
    true_px: dict[int, int] = {}
    found_px: dict[int, int] = {}
    for (true_id, found_id), count in shared.items():
        true_px[true_id] = true_px.get(true_id, 0) + count
        found_px[found_id] = found_px.get(found_id, 0) + count
    total = 0.0
    for (true_id, found_id), count in shared.items():
        if true_id and found_id:
            total += count * count / (true_px[true_id] + found_px[found_id] - count) / true_px[true_id]
    return total, len([true_id for true_id in true_px if true_id])
