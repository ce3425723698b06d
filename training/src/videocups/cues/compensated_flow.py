"""Flow in two steps: what a static world would show is taken out first, then the rest is estimated.

A patch of road that moves by twenty px and doubles in size is beyond a dense search; warped by the flow that the
ground and the ego-motion predict, it hardly moves at all. Where a static point leaves the image there is nothing to
estimate, and the prediction stands.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap, FlowEstimator, lands_inside, target_px, warp


def compensated_flow_px(
    estimator: FlowEstimator,
    first_rgb: NDArray[np.uint8],
    second_rgb: NDArray[np.uint8],
    static_flow_px: FloatMap,
) -> FloatMap:
    """Estimate the flow beyond ``static_flow_px`` (H, W, 2) and return the sum of both."""
    column, row = target_px(static_flow_px)
    aligned = cv2.remap(second_rgb, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rest = estimator.flow_px(first_rgb, np.asarray(aligned, np.uint8))
    total = rest + warp(static_flow_px, rest)
    return np.where(lands_inside(static_flow_px)[..., None], total, static_flow_px)
