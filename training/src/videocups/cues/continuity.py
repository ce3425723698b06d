"""Do two frames belong together: cuts, black frames and jumps of the exposure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FlowPair
from videocups_core.config import setting

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class ContinuityConfig:
    """When two frames are a pair."""

    # a frame whose grey values spread less than this shows nothing: lens cap, tunnel black-out, white-out
    min_contrast: float = setting(3.0, "a frame with less spread of grey values shows nothing", minimum=0.0)
    # fewer pixels than this found again: a cut
    min_visible: float = setting(0.35, "a smaller share of pixels found again is a cut", minimum=0.0, maximum=1.0)
    # mean grey values farther apart than this are brought together before anything is compared
    exposure_step: float = setting(4.0, "mean grey values farther apart are brought together", minimum=0.0)


def shows_nothing(rgb: Image, config: ContinuityConfig) -> bool:
    """Return whether the frame is black, white or fogged all over."""
    return float(cv2.meanStdDev(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))[1][0, 0]) < config.min_contrast


def is_cut(flow: FlowPair, config: ContinuityConfig) -> bool:
    """Return whether too little of either frame is found in the other."""
    return float(min(flow.visible_forward.mean(), flow.visible_backward.mean())) < config.min_visible


def match_exposure(first_rgb: Image, second_rgb: Image, config: ContinuityConfig) -> Image:
    """Return the second frame with the first one's mean and spread of grey where its exposure jumped."""
    (mean, spread), (other_mean, other_spread) = (_grey_statistics(rgb) for rgb in (first_rgb, second_rgb))
    if abs(mean - other_mean) <= config.exposure_step or other_spread < config.min_contrast:
        return second_rgb
    gain = spread / other_spread
    table = np.clip(np.rint(gain * (np.arange(256) - other_mean) + mean), 0, 255).astype(np.uint8)
    return np.asarray(table[second_rgb], dtype=np.uint8)


def _grey_statistics(rgb: Image) -> tuple[float, float]:
    mean, spread = cv2.meanStdDev(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    return float(mean[0, 0]), float(spread[0, 0])
