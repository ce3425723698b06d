"""Depth from parallax, in camera heights: dense, and honest where nothing was measured.

One unit is the height of the camera over the ground, because that is what a driving camera can measure of itself:
it is the same in every frame of a recording. ``scale`` turns it into metres where height or speed are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.cues.epipolar import Matrix, Parallax
from videocups.cues.flow import FloatMap
from videocups.cues.ground_plane import Ground
from videocups.instances.boxes import label_boxes
from videocups_core.config import setting

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class DepthConfig:
    """How measured inverse depth becomes a dense map."""

    # nothing is nearer or farther than this, in camera heights
    min_heights: float = setting(0.5, "nothing is nearer than this, in camera heights", minimum=0.01)
    max_heights: float = setting(60.0, "nothing is farther than this, in camera heights", minimum=1.0)
    # expected error of flow
    flow_noise_px: float = setting(0.2, "expected error of flow", minimum=0.01)
    # windows of the smoothing, from what was measured to the far neighbourhood
    windows_px: tuple[int, ...] = setting((3, 9, 27, 81, 243), "windows from near to far", minimum=1)
    # a window is used when the measurements in it determine its mean up to this relative error
    wanted_error: float = setting(0.12, "relative error at which a window is small enough", minimum=0.001)
    # errors of the ego-motion do not average out: no window counts for more measurements than this
    max_independent: float = setting(30.0, "no window counts for more independent measurements", minimum=1.0)
    # a vehicle creeps whose camera's height is more translations than this: what it measures adds to what it knew ...
    max_camera_height: float = setting(
        5.0, "pairs with a smaller step (camera height in steps) only add to what was known", minimum=1.0
    )
    # ... and from here on it measures nothing
    standing_height: float = setting(
        60.0, "pairs with a smaller step (camera height in steps) measure nothing", minimum=1.0
    )
    # what a creeping vehicle knew counts this many times as much in the next frame
    fade: float = setting(0.9, "what was known counts this much in the next frame", minimum=0.0, maximum=1.0)
    # things that stand on the ground are at most that high, in camera heights
    max_thing_heights: float = setting(3.0, "things are at most this high, in camera heights", minimum=1.0)
    # depth of what stands beyond the near ground, where nothing was ever measured
    usual_heights: float = setting(12.0, "depth where nothing was ever measured, in camera heights", minimum=1.0)
    # metres, where the recording knows neither; 0 scales to ``typical_m`` instead
    camera_height_m: float = setting(0.0, "height of the camera over the ground in metres, 0: unknown", minimum=0.0)
    # median depth of a clip whose scale nothing tells
    typical_m: float = setting(15.0, "median depth of a clip whose scale nothing tells", minimum=0.1)


@dataclass(frozen=True)
class Measured:
    """Inverse depth in 1/camera heights and its weight (1/variance, 0 = not measured), (H, W) float32 each."""

    inverse_depth: FloatMap
    weight: FloatMap


def measure(seen: Parallax, ground: Ground, reliable: Mask, config: DepthConfig) -> Measured:
    """Bring the parallax of one neighbour into camera heights; ``reliable`` (H, W): visible, static."""
    height = ground.camera_height
    error = config.flow_noise_px * seen.noise * np.float32(height)
    weight = np.where(reliable, 1 / (np.square(error) + 1e-8), 0).astype(np.float32)
    return Measured((seen.inverse_depth * np.float32(height)).astype(np.float32), weight)


def fuse(measured: Sequence[Measured]) -> Measured:
    """Return the weighted mean of several measurements of one frame."""
    weight = np.asarray(np.sum([one.weight for one in measured], axis=0), dtype=np.float32)
    total = np.sum([one.weight * one.inverse_depth for one in measured], axis=0, dtype=np.float32)
    return Measured((total / np.maximum(weight, 1e-12)).astype(np.float32), weight)


def dense_inverse_depth(measured: Measured, ground: FloatMap, config: DepthConfig) -> FloatMap:
    """Fill and smooth; (H, W) in 1/camera heights.

    ``ground`` (H, W): inverse depth of the ground in 1/camera heights, 0 above its horizon: nothing lies below it.
    """
    least = np.maximum(ground, 1 / config.max_heights)
    filled = np.array(least, np.float32)
    for mean, weight in window_means(measured, ground, config.windows_px[::-1], config):
        mean = np.maximum(mean, least)
        filled = np.where(np.square(config.wanted_error * mean) * weight > 1, mean, filled)
    return np.clip(filled, 1 / config.max_heights, 1 / config.min_heights)


def window_means(
    measured: Measured, ground: FloatMap, windows_px: Iterable[int], config: DepthConfig
) -> Iterator[tuple[FloatMap, FloatMap]]:
    """Yield the mean of what was measured in windows of each size and its weight (1/variance), (H, W) each."""
    error = 1 / np.sqrt(measured.weight + 1e-12)
    # errors are symmetric: clipping before the mean would pull far things nearer
    weight = np.where(measured.inverse_depth > -3 * error, measured.weight, 0).astype(np.float32)
    # what is averaged is the parallax beyond the ground's: the near road must not lend its nearness to the far one
    carried = (weight * (np.minimum(measured.inverse_depth, 1 / config.min_heights) - ground)).astype(np.float32)
    for window in windows_px:
        size = (window, window)
        total = np.maximum(np.asarray(cv2.blur(weight, size), np.float32), np.float32(1e-12))
        # neighbouring flow vectors share their errors, and a share of all of them comes from the ego-motion
        independent = np.float32(min(max(1.0, window * window / 25), config.max_independent))
        mean = cv2.blur(carried, size) / total + ground
        yield np.asarray(mean, np.float32), np.asarray(total * independent, np.float32)


def ground_in_heights(normal: Matrix, rays: FloatMap) -> FloatMap:
    """Return (H, W) inverse depth of the ground in 1/camera heights from its unit normal, 0 above its horizon."""
    return np.maximum(rays @ normal.astype(np.float32), 0)


def stand_on_ground(inverse_depth: FloatMap, regions: NDArray[np.int32], ground: FloatMap) -> FloatMap:
    """Give each region the depth of the ground at its lower edge: parallax says nothing true of what moves."""
    corrected = inverse_depth.copy()
    for number, _, box in label_boxes(regions):
        inside = regions[box] == number
        base = box[0].stop - 1
        if base >= regions.shape[0] - 2:  # it stands outside the image
            continue
        columns = np.flatnonzero(inside[-1]) + box[1].start
        at_base = float(ground[base, int(columns.mean())])
        if at_base > 0:
            corrected[box][inside] = at_base
    return corrected


def metres_per_height(
    config: DepthConfig,
    speeds_mps: Sequence[float],
    steps_s: Sequence[float],
    camera_heights: Sequence[float],
    median_heights: float,
) -> tuple[float, str]:
    """Return metres per camera height and where the scale came from: "height", "speed" or "typical".

    ``camera_heights``: of each pair, in translations (NaN where unknown); ``speeds_mps`` of the pairs, or empty.
    """
    if config.camera_height_m > 0:
        return config.camera_height_m, "height"
    if len(speeds_mps):
        lengths = np.asarray(speeds_mps) * np.asarray(steps_s)
        heights = lengths * np.asarray(camera_heights)
        known = np.isfinite(heights) & (np.asarray(speeds_mps) > 1.0)
        if known.any():
            return float(np.median(heights[known])), "speed"
    return config.typical_m / max(median_heights, 1e-6), "typical"
