"""How well a flow explains two images."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap, target_px

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
    column, row = target_px(flow_px)
    fetched = cv2.remap(second, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = cv2.threshold(cv2.absdiff(fetched, first), CLIP, 0.0, cv2.THRESH_TRUNC)[1]
    total = cv2.transform(gap, np.ones((1, 3), np.float32))
    return np.asarray(cv2.blur(total, (window_px, window_px)), np.float32)
