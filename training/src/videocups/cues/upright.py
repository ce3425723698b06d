"""A world that stands upright: what parallax does not tell, the ground below it does.

Parallax is silent or wrong where things move, and in a jam that is most of the image: a lorry that keeps pace with the
camera shows none at all, as if it were the sky. But what is not ground stands on it, at the place where the ground
beneath it in the image ends. So every column is read from below: ground has its own depth, a thing that agrees with its
parallax keeps that, and all else has the depth of the last ground below it, up to the height that things may have.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups.cues.depth import DepthConfig, Measured
from videocups.cues.flow import FloatMap

GROUND_SHARE, GROUND_ERROR = 0.15, 0.5
"""measured that near the ground's inverse depth, with an expected error below this share of it, is ground"""
GROUND_FROM = 1 / 40
"""in 1/camera heights: the ground is looked for where it is nearer"""
FARTHER, BELOW = 0.7, 0.8
"""apparent inverse depth below this share of the contact's is farther, below this of the ground's lies under it"""
KNOWN_SHARE, KNOWN_CONTACT = 0.3, 0.1
"""to a creeping camera inverse depth is known up to this share of itself, or of the contact's"""
NOTHING_SEEN = 1e3
"""error from which on nothing was measured: driving, what is far and noisy is clear in the mean of its neighbours"""
STANDING_ERROR = 0.3
"""expected relative error of what the contact with the ground tells"""
NOTHING_SHARE = 0.01
"""where less of the image shows ground, nothing is known of what stands on it"""
ODD_PX, ODD_SHARE = 4, 0.1
"""a thing moves with so many px, and this share of them, that show nothing or lie under the ground"""
GROUND, STANDS, HIGH, KEPT = range(4)


def upright(measured: Measured | None, ground: FloatMap, config: DepthConfig, *, creeps: bool) -> Measured:
    """Return ``measured`` with the depth of what stands on the ground wherever parallax is missing or impossible.

    ``ground`` (H, W): inverse depth in 1/camera heights, 0 above its horizon. What seems farther than the ground at its
    foot is the background, unless enough below it lies under the ground or, where the camera ``creeps``, shows nothing:
    then it moves along with the camera.
    """
    slope = _beyond_horizon(ground)
    if measured is None:
        measured = Measured(np.zeros_like(ground), np.zeros_like(ground))
    seen, error = measured.inverse_depth, (1 / np.sqrt(measured.weight + 1e-12)).astype(np.float32)
    is_ground = _ground(seen, error, slope)
    if is_ground.mean() < NOTHING_SHARE:
        return _usual(measured, error, ground, config)
    far = np.float32(1 / config.max_heights)
    inverse, kind = _stand(seen, error, is_ground, slope, (config.max_thing_heights, float(far)), creeps)
    told = 1 / np.square(np.float32(STANDING_ERROR) * np.maximum(inverse, far))
    # what is too high is far only where nothing around it was measured
    weight = np.where(kind == STANDS, told, np.where(kind == HIGH, np.float32(1e-3), measured.weight))
    return Measured(inverse, weight.astype(np.float32))


def _usual(measured: Measured, error: FloatMap, ground: FloatMap, config: DepthConfig) -> Measured:
    """Fill with the ground, and beyond its near part with what is usually there."""
    usual = np.maximum(ground, np.float32(1 / config.usual_heights))
    known = error < KNOWN_SHARE * np.maximum(measured.inverse_depth, usual)
    weight = np.where(known, measured.weight, 1 / np.square(np.float32(STANDING_ERROR) * usual))
    return Measured(np.where(known, measured.inverse_depth, usual), weight.astype(np.float32))


def _beyond_horizon(ground: FloatMap) -> FloatMap:
    """Return (H, W) the plane's linear function, < 0 above the horizon: it is linear in every column."""
    rows = np.arange(len(ground), dtype=np.float32)[:, None] - np.float32(len(ground) - 1)
    return np.asarray(ground[-1] + rows * (ground[-1] - ground[-2]), np.float32)


def _ground(seen: FloatMap, error: FloatMap, slope: FloatMap) -> NDArray[np.bool_]:
    near = np.abs(seen - slope) < np.maximum(2 * error, GROUND_SHARE * slope)
    shown = near & (slope > GROUND_FROM) & (error < GROUND_ERROR * slope)
    whole: NDArray[np.bool_] = cv2.medianBlur(shown.astype(np.uint8), 9) > 0
    return whole


@njit(cache=True)
def _stand(
    seen: FloatMap,
    error: FloatMap,
    is_ground: NDArray[np.bool_],
    slope: FloatMap,
    limits: tuple[float, float],
    creeps: bool,
) -> Any:
    """Read the columns from below; returns inverse depth and what it comes from."""
    height, width = seen.shape
    inverse, kind = np.empty((height, width), np.float32), np.empty((height, width), np.uint8)
    max_thing, far = limits
    contact = np.maximum(slope[height - 1], np.float32(far))
    odd, seen_px = np.zeros(width, np.int32), np.zeros(width, np.int32)
    for row in range(height - 1, -1, -1):
        for column in range(width):
            rho, noise, below, base = seen[row, column], error[row, column], slope[row, column], contact[column]
            inverse[row, column], kind[row, column] = rho, KEPT
            if is_ground[row, column]:
                contact[column], kind[row, column], odd[column], seen_px[column] = below, GROUND, 0, 0
                continue
            unknown = noise > (max(KNOWN_SHARE * rho, KNOWN_CONTACT * base) if creeps else NOTHING_SEEN)
            if below > 0:
                seen_px[column] += 1
                odd[column] += creeps if unknown else rho < BELOW * below - 2 * noise
            is_thing = 1 - below / base < max_thing  # its height over the ground, in camera heights
            if unknown:
                inverse[row, column] = base if is_thing else far
                kind[row, column] = STANDS if is_thing else HIGH
            elif rho < FARTHER * base - 2 * noise:
                moves = odd[column] >= ODD_PX and odd[column] > ODD_SHARE * seen_px[column]
                if is_thing and moves:
                    inverse[row, column], kind[row, column] = base, STANDS
    return inverse, kind
