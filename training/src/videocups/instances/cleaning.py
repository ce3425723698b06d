"""What is done to grown regions before they count as instances: borders, holes, minimum size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

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
    owner = _owners(regions, holes, count)
    return np.where(regions == 0, owner[holes], regions)


@njit(cache=True)
def _owners(regions: NDArray[np.int32], holes: NDArray[np.int32], count: int) -> Any:
    """Return for each component of the rest the only region it touches, 0 where it touches more or the image edge."""
    nobody, several = -1, 0
    owner = np.full(count, nobody, dtype=np.int32)
    height, width = regions.shape
    for row in range(height):
        for column in range(width):
            hole = holes[row, column]
            if hole == 0 or owner[hole] == several:
                continue
            if row == 0 or column == 0 or row == height - 1 or column == width - 1:
                owner[hole] = several
                continue
            for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                region = regions[row + down, column + right]
                if region > 0 and owner[hole] != region:
                    owner[hole] = region if owner[hole] == nobody else several
    return np.maximum(owner, 0)
