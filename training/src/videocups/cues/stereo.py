"""Depth of a rectified stereo pair by semi-global matching."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.epipolar import pinhole
from videocups.cues.flow import FloatMap
from videocups_core.clip import Clip
from videocups_core.config import setting


@dataclass(frozen=True)
class StereoConfig:
    """Settings of OpenCV's semi-global block matching."""

    # the nearest thing that is seen: focal length × baseline / this
    max_disparity_px: int = setting(128, "largest disparity, a multiple of 16", minimum=16, maximum=512)
    window_px: int = setting(5, "side of the matched window, odd", minimum=1, maximum=21)
    # the best match must beat the second best by this many per cent
    uniqueness_percent: int = setting(10, "the best match must win by this many per cent", minimum=0, maximum=100)
    # left and right may differ by this much
    max_left_right_px: int = setting(1, "left and right disparity may differ by this", minimum=0)

    def __post_init__(self) -> None:
        if self.max_disparity_px % 16:
            raise ValueError(f"stereo.max_disparity_px must be a multiple of 16, got {self.max_disparity_px}")
        if self.window_px % 2 == 0:
            raise ValueError(f"stereo.window_px must be odd, got {self.window_px}")


def clip_depth_m(clip: Clip, index: int, config: StereoConfig | None = None) -> FloatMap:
    """Return (H, W) float32 depth of a frame of a stereo clip in metres, 0 where nothing matches."""
    info = clip.info
    if info.stereo_baseline_m is None:
        raise ValueError(f"depth from stereo needs a right camera, {clip.folder} has none; ingest with --stereo-topic")
    if info.camera is None:
        raise ValueError(f"depth from stereo needs intrinsics, {clip.folder} has none; ingest with --calibration FILE")
    left, right = clip.frame_rgb(index), clip.frame_rgb(index, right=True)
    return stereo_depth_m(left, right, pinhole(info.camera)[0], info.stereo_baseline_m, config)


def stereo_depth_m(
    left_rgb: NDArray[np.uint8],
    right_rgb: NDArray[np.uint8],
    focal_px: float,
    baseline_m: float,
    config: StereoConfig | None = None,
) -> FloatMap:
    """Return (H, W) float32 depth of the left image in metres, 0 where nothing matches."""
    config = config or StereoConfig()
    if left_rgb.shape != right_rgb.shape:
        raise ValueError(f"a stereo pair has two images of one size, got {left_rgb.shape} and {right_rgb.shape}")
    if baseline_m <= 0:
        raise ValueError(f"the stereo baseline must be positive, got {baseline_m} m; ingest with --baseline")
    cost = config.window_px**2
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=config.max_disparity_px,
        blockSize=config.window_px,
        P1=8 * cost,
        P2=32 * cost,
        disp12MaxDiff=config.max_left_right_px,
        uniquenessRatio=config.uniqueness_percent,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    # columns without a partner inside the image would be lost: both images are continued to the left
    pad = config.max_disparity_px
    padded = [
        cv2.copyMakeBorder(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), 0, 0, pad, 0, cv2.BORDER_CONSTANT)
        for rgb in (left_rgb, right_rgb)
    ]
    disparity = np.asarray(matcher.compute(*padded), np.float32)[:, pad:] / 16
    known = disparity > 0.5
    return np.where(known, focal_px * baseline_m / np.maximum(disparity, 0.5), 0).astype(np.float32)
