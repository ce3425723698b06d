"""Where labels lie in a map: their boxes and areas, in one pass over the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Box = tuple[slice, slice]


def label_boxes(labels: NDArray[np.int32], min_area_px: int = 1) -> list[tuple[int, int, Box]]:
    """Return (label, area, box as two slices) of every label > 0 with at least this area, ascending."""
    table = _measure(labels, int(labels.max(initial=0)))
    large = np.flatnonzero(table[:, 0] >= max(min_area_px, 1)).tolist()
    return [
        (label, area, (slice(top, low + 1), slice(left, right + 1)))
        for label, (area, top, low, left, right) in zip(large, table[large].tolist(), strict=True)
    ]


@njit(cache=True)
def _measure(labels: NDArray[np.int32], highest: int) -> Any:
    height, width = labels.shape
    table = np.zeros((highest + 1, 5), np.int64)
    table[:, 1], table[:, 3] = height, width
    for row in range(height):
        for column in range(width):
            label = labels[row, column]
            if label > 0:
                entry = table[label]
                entry[0] += 1
                entry[1], entry[2] = min(entry[1], row), max(entry[2], row)
                entry[3], entry[4] = min(entry[3], column), max(entry[4], column)
    return table
