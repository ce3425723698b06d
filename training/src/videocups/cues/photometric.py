"""How well a flow explains two images."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap

CLIP = 30.0
"""grey levels beyond which a mismatch is a mismatch."""


def appearance(rgb: NDArray[np.uint8], scale: float = 1.0, blur_px: float = 0.7) -> FloatMap:
    """Return (h, w, 3): grey value and both gradients, in comparable units of grey levels, of the scaled image."""
    image = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    if scale != 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.GaussianBlur(image.astype(np.float32), (0, 0), blur_px)
    across, down = cv2.Sobel(grey, -1, 1, 0, ksize=3, scale=0.5), cv2.Sobel(grey, -1, 0, 1, ksize=3, scale=0.5)
    return np.asarray(cv2.merge([grey, across, down]), np.float32)


def match_cost(first: FloatMap, second: FloatMap, flow_px: FloatMap, window_px: int) -> FloatMap:
    """Return (H, W) mean clipped difference of two appearances under the flow, summed over its channels."""
    return np.asarray(cv2.blur(_mismatch(first, second, flow_px, np.float32(CLIP)), (window_px, window_px)), np.float32)


@njit(cache=True, fastmath=True)
def _mismatch(first: FloatMap, second: FloatMap, flow_px: FloatMap, clip: np.float32) -> Any:
    """Fetch, compare, clip and sum in one pass; beyond the border the edge repeats."""
    height, width, channels = first.shape
    sums = np.empty((height, width), np.float32)
    zero, one = np.float32(0), np.float32(1)
    last_column, last_row = np.float32(width - 1), np.float32(height - 1)
    for row in range(height):
        for column in range(width):
            x = min(max(np.float32(column) + flow_px[row, column, 0], zero), last_column)
            y = min(max(np.float32(row) + flow_px[row, column, 1], zero), last_row)
            left, top = np.int32(x), np.int32(y)
            right, low = min(left + 1, width - 1), min(top + 1, height - 1)
            a, b = x - np.float32(left), y - np.float32(top)
            at, beside, under, across = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
            total = zero
            for channel in range(channels):
                fetched = at * second[top, left, channel] + beside * second[top, right, channel]
                fetched += under * second[low, left, channel] + across * second[low, right, channel]
                total += min(abs(fetched - first[row, column, channel]), clip)
            sums[row, column] = total
    return sums
