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
LITTLE, NOTHING = 1e-3, 1e-12
"""weights of what is hardly known, and of what is not"""


def upright(measured: Measured | None, ground: FloatMap, config: DepthConfig, *, creeps: bool) -> Measured:
    """Return ``measured`` with the depth of what stands on the ground wherever parallax is missing or impossible.

    ``ground`` (H, W): inverse depth in 1/camera heights, 0 above its horizon. What seems farther than the ground at its
    foot is the background, unless enough below it lies under the ground or, where the camera ``creeps``, shows nothing:
    then it moves along with the camera.
    """
    if measured is None:
        measured = Measured(np.zeros_like(ground), np.zeros_like(ground))
    seen, weight, slope = measured.inverse_depth, measured.weight, _beyond_horizon(ground)
    # the median of what is ground or not is what most of the window is
    around = cv2.boxFilter(_ground(seen, weight, slope), -1, (9, 9), normalize=False, borderType=cv2.BORDER_REPLICATE)
    is_ground = np.asarray(around) > 40
    if is_ground.mean() < NOTHING_SHARE:
        return _usual(measured, ground, config)
    limits = config.max_thing_heights, 1 / config.max_heights
    return Measured(*_stand(seen, weight, is_ground, slope, limits, creeps))


def _usual(measured: Measured, ground: FloatMap, config: DepthConfig) -> Measured:
    """Fill with the ground, and beyond its near part with what is usually there."""
    error = (1 / np.sqrt(measured.weight + 1e-12)).astype(np.float32)
    usual = np.maximum(ground, np.float32(1 / config.usual_heights))
    known = error < KNOWN_SHARE * np.maximum(measured.inverse_depth, usual)
    weight = np.where(known, measured.weight, 1 / np.square(np.float32(STANDING_ERROR) * usual))
    return Measured(np.where(known, measured.inverse_depth, usual), weight.astype(np.float32))


def _beyond_horizon(ground: FloatMap) -> FloatMap:
    """Return (H, W) the plane's linear function, < 0 above the horizon: it is linear in every column."""
    rows = np.arange(len(ground), dtype=np.float32)[:, None] - np.float32(len(ground) - 1)
    return np.asarray(ground[-1] + rows * (ground[-1] - ground[-2]), np.float32)


@njit(cache=True)
def _ground(seen: FloatMap, weight: FloatMap, slope: FloatMap) -> Any:
    """Return (H, W) 1 where what was measured is the ground's."""
    shown = np.zeros(seen.shape, np.uint8)
    for row in range(len(seen)):
        for column in range(seen.shape[1]):
            below = slope[row, column]
            if below > GROUND_FROM:
                error = 1 / np.sqrt(weight[row, column] + NOTHING)
                near = abs(seen[row, column] - below) < max(2 * error, GROUND_SHARE * below)
                shown[row, column] = near and error < GROUND_ERROR * below
    return shown


@njit(cache=True)
def _moves(odd: int, seen_px: int) -> bool:
    return odd >= ODD_PX and odd > ODD_SHARE * seen_px


@njit(cache=True)
def _stand(
    seen: FloatMap,
    weight: FloatMap,
    is_ground: NDArray[np.bool_],
    slope: FloatMap,
    limits: tuple[float, float],
    creeps: bool,
) -> Any:
    """Read the columns from below; returns inverse depth and weight."""
    height, width = seen.shape
    inverse, trust = seen.copy(), weight.copy()
    max_thing, far = limits
    contact = np.maximum(slope[height - 1], np.float32(far))
    odd, seen_px = np.zeros(width, np.int32), np.zeros(width, np.int32)
    for row in range(height - 1, -1, -1):
        for column in range(width):
            rho, below, base = seen[row, column], slope[row, column], contact[column]
            if is_ground[row, column]:
                contact[column], odd[column], seen_px[column] = below, 0, 0
                continue
            noise = 1 / np.sqrt(weight[row, column] + NOTHING)
            unknown = noise > (max(KNOWN_SHARE * rho, KNOWN_CONTACT * base) if creeps else NOTHING_SEEN)
            if below > 0:
                seen_px[column] += 1
                odd[column] += creeps if unknown else rho < BELOW * below - 2 * noise
            is_thing = 1 - below / base < max_thing  # its height over the ground, in camera heights
            if unknown and not is_thing:
                # what is too high is far only where nothing around it was measured
                inverse[row, column], trust[row, column] = far, LITTLE
            elif unknown or (is_thing and rho < FARTHER * base - 2 * noise and _moves(odd[column], seen_px[column])):
                inverse[row, column], trust[row, column] = base, 1 / (STANDING_ERROR * max(base, far)) ** 2
    return inverse, trust
