"""Motion probability from what the neighbours in time say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap
from videocups_core.config import setting

MOVING = 0.15
"""motion probability from which a pixel counts as moving"""
HALO_SHARE = 0.01
"""of the image's width: so far around what moves parallax is not trusted either"""


@dataclass(frozen=True)
class MotionConfig:
    """How surprise becomes probability."""

    # side of the median filter; 0 switches it off
    median_px: int = setting(5, "side of the median filter, 0 or 3 or 5", minimum=0, maximum=5)
    # floating objects count from this many expected errors on
    floating_from: float = setting(1.0, "expected errors that a floating object gives away", minimum=0.0)


def combine_neighbours(surprises: Sequence[FloatMap]) -> FloatMap:
    """Return (H, W) the least surprise of the neighbours that show the pixel; 0 where none does."""
    stack = np.stack(surprises)
    least = np.where(np.isnan(stack), np.inf, stack).min(axis=0)
    return np.where(np.isfinite(least), least, 0).astype(np.float32)


def hint(raw_surprises: Sequence[FloatMap], visible: Sequence[NDArray[np.bool_]]) -> FloatMap:
    """Return (H, W) below the threshold of motion: what unchecked flow suggests, spread to pixels nobody shows.

    It never makes a pixel move; it ranks pixels for whoever uses another threshold.
    """
    counted = [np.where(seen, np.minimum(raw, 6), 0) for raw, seen in zip(raw_surprises, visible, strict=True)]
    shown: FloatMap = np.asarray(np.sum(visible, axis=0), np.float32)
    total: FloatMap = np.asarray(np.sum(counted, axis=0), np.float32)
    height, width = shown.shape
    small = max(1, width // 4), max(1, height // 4)  # a blur this wide needs no full resolution
    spread_px = 0.002 * width
    near, weight = (
        cv2.GaussianBlur(cv2.resize(field, small, interpolation=cv2.INTER_AREA), (0, 0), spread_px)
        for field in (total, shown)
    )
    mean = cv2.resize(near / np.maximum(weight, 1e-3), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1.6 * (1 - np.exp(-mean / 3)), np.float32)


def agree_on_floating(surprises: Sequence[FloatMap]) -> FloatMap:
    """Return (H, W) >= 0: floating or sinking as far as all neighbours agree on."""
    stack = np.stack(surprises)
    agreed = (stack > 0).all(axis=0) | (stack < 0).all(axis=0)
    return np.where(agreed, np.abs(stack).min(axis=0), 0).astype(np.float32)


def motion_probability(surprise: FloatMap) -> FloatMap:
    """Return (H, W) in [0, 1]: m = 1 − exp(−(z/3)²/2), so m > 0.15 means more than 1.7 expected errors."""
    return np.asarray(1 - np.exp(-0.5 * np.square(surprise / 3)), np.float32)


def smooth(surprise: FloatMap, window_px: int) -> FloatMap:
    """Return the median over a window; it removes thin false motion along edges."""
    return np.asarray(cv2.medianBlur(surprise, window_px), np.float32) if window_px else surprise


def raise_floating(surprise: FloatMap, floating: FloatMap, config: MotionConfig) -> FloatMap:
    """Return the larger of both surprises."""
    return np.asarray(np.maximum(surprise, np.clip(floating - config.floating_from, 0, 20)), np.float32)


def around_moving(moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return (H, W): what moves and its surroundings, where parallax says nothing of depth."""
    rim = 2 * round(HALO_SHARE * moving.shape[1]) + 1
    near: NDArray[np.bool_] = cv2.dilate(moving.astype(np.uint8), np.ones((rim, rim), np.uint8)) > 0
    return near
