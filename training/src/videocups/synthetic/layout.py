"""The plan of the town: a grid of streets, in metres, x east and y north.

Street centre lines lie at x = k·spacing and y = k·spacing, k = 0..blocks. Beyond the outer streets lies open land.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DRIVE_LANE_M = 1.7
"""Middle of the driving lane, right of the centre line."""
BIKE_LANE_M = 4.15
PARKING_LANE_M = 6.0
HALF_STREET_M = 7.1
BIKE_LINE_M = 3.4
PARKING_LINE_M = 4.9
KERB_M = 0.15
SIDEWALK_M = 3.4
CORNER_RADIUS_M = 5.0
CROSSWALK_M = (HALF_STREET_M + 1.3, HALF_STREET_M + 4.3)
"""Distance of a crosswalk's edges from the middle of the crossing."""
STOP_LINE_M = (HALF_STREET_M + 5.2, HALF_STREET_M + 5.6)


@dataclass(frozen=True)
class Town:
    """``blocks`` × ``blocks`` blocks, one every ``spacing_m``; ``suburb``: houses and gardens."""

    blocks: int
    spacing_m: float
    suburb: bool

    @property
    def extent_m(self) -> float:
        """Coordinate of the last street; the first lies at 0."""
        return self.blocks * self.spacing_m

    def from_block_middle(self, along_axis: Floats) -> Floats:
        """Return the signed distance to the middle of the block; open land counts as one endless block."""
        index = np.clip(np.floor(along_axis / self.spacing_m), -1, self.blocks)
        offset = along_axis - (index + 0.5) * self.spacing_m
        offset = np.where(index < 0, np.maximum(offset, 0), offset)
        return np.asarray(np.where(index >= self.blocks, np.minimum(offset, 0), offset), dtype=along_axis.dtype)

    def from_street(self, along_axis: Floats) -> Floats:
        """Return the signed distance to the nearest centre line."""
        index = np.clip(np.rint(along_axis / self.spacing_m), 0, self.blocks)
        return np.asarray(along_axis - index * self.spacing_m, dtype=along_axis.dtype)

    def kerb_distance(self, x: Floats, y: Floats) -> Floats:
        """Return the signed distance to the kerb: negative on a block, positive on a street."""
        half = self.spacing_m / 2 - HALF_STREET_M - CORNER_RADIUS_M
        qx, qy = np.abs(self.from_block_middle(x)) - half, np.abs(self.from_block_middle(y)) - half
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return np.asarray(outside + np.minimum(np.maximum(qx, qy), 0) - CORNER_RADIUS_M, dtype=x.dtype)

    def block_bounds(self, index: int) -> tuple[float, float]:
        """Return the kerb coordinates of block ``index`` along one axis."""
        return index * self.spacing_m + HALF_STREET_M, (index + 1) * self.spacing_m - HALF_STREET_M
