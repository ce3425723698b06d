"""What is done to grown regions before they count as instances: borders, holes, minimum size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from videocups_core.config import setting


@dataclass(frozen=True)
class CleaningConfig:
    """Post-processing of regions; defaults follow CUPS."""

    # columns at the left and right edge that are cleared: flow leaves the image there
    border_px: int = setting(32, "columns cleared at the left and right edge", minimum=0)
    # regions smaller than this are dropped
    min_area_px: int = setting(64, "regions smaller than this are dropped", minimum=1)
    # a hole belongs to the region that encloses it alone
    fill_holes: bool = setting(True, "fill holes enclosed by one region")


def clean_regions(regions: NDArray[np.int32], config: CleaningConfig | None = None) -> NDArray[np.int32]:
    """Return regions without borders, holes and crumbs, renumbered 1..N; ``regions``: (H, W), 0 = none."""
    config = config or CleaningConfig()
    cleaned = regions.copy()
    if config.border_px:
        cleaned[:, : config.border_px] = 0
        cleaned[:, -config.border_px :] = 0
    if config.fill_holes:
        cleaned = fill_holes(cleaned)
    area = np.bincount(cleaned.ravel())
    keep = area >= config.min_area_px
    keep[0] = False
    new_number = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return new_number[cleaned]


def fill_holes(regions: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give each hole to its region: a component of the rest that touches one region only and no image edge."""
    count, holes = cv2.connectedComponents((regions == 0).astype(np.uint8), connectivity=4)
    if count <= 1:
        return regions
    # the smallest and largest region next to each component; the image edge counts as a region of its own
    framed = np.pad(regions.astype(np.float32), 1, constant_values=-1)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    none = np.float32(np.inf)
    lowest = cv2.erode(np.where(framed == 0, none, framed), cross)[1:-1, 1:-1]
    highest = cv2.dilate(np.where(framed == 0, -none, framed), cross)[1:-1, 1:-1]
    index = np.arange(1, count)
    low = ndimage.minimum(lowest, holes, index)
    high = ndimage.maximum(highest, holes, index)
    owner = np.zeros(count, dtype=np.int32)
    enclosed = (low == high) & (low > 0)
    owner[1:][enclosed] = low[enclosed].astype(np.int32)
    return np.where(regions == 0, owner[holes], regions)
