"""Could a static world look like this? Flow that says no is believed only where the images say no as well.

Errors of flow are the main source of false motion. So the neighbour is warped as if the pixel stood still, under three
guesses of where it stands: at the depth its own flow gives it (never below the ground), on the ground, or as deep as
the reliable static pixels around it. Where the best of these matches the image nearly as well as the free flow does,
nothing needs to have moved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups.cues.epipolar import Parallax, parallax, static_flow_px
from videocups.cues.flow import FloatMap
from videocups.cues.frame_pair import View
from videocups.cues.photometric import match_cost
from videocups_core.config import setting
from videocups_core.types import CameraModel


@dataclass(frozen=True)
class StaticTestConfig:
    """When a pixel is in doubt about being static."""

    # expected error of flow: at rest, and per px of flow
    noise_px: float = setting(0.25, "expected error of flow at rest", minimum=0.01)
    noise_share: float = setting(0.02, "expected error per px of flow", minimum=0.0)
    # flow error within which a pixel with the ground's parallax is ground
    flow_noise_px: float = setting(0.35, "flow error within which a pixel is still ground", minimum=0.01)
    # expected error of flow before a standing camera
    standing_noise_px: float = setting(0.35, "expected error of flow before a standing camera", minimum=0.01)
    # nearer than this share of the ground's inverse depth is below the ground
    ground_share: float = setting(0.95, "inverse depth below this share of the ground's is below it", minimum=0.0)
    # compare images in windows of this side
    window_px: int = setting(7, "side of the window in which images are compared", minimum=1)
    # images are compared at this scale; half of it is four times as fast and blind to the smallest things
    scale: float = setting(1.0, "images are compared at this scale", minimum=0.1, maximum=1.0)
    # grey levels added to both costs: two good matches are equally good
    cost_floor: float = setting(3.0, "grey levels added to the costs that are compared", minimum=0.01)
    # static matches worse than free flow by this factor: the doubt begins, and is complete ``doubt_width`` above
    doubt_from: float = setting(1.15, "a static match worse by this factor raises doubt", minimum=1.0)
    doubt_width: float = setting(0.5, "width of the ramp from no doubt to full doubt", minimum=0.01)


@dataclass(frozen=True)
class StaticTest:
    """What one neighbour says of a frame's pixels, (H, W) each.

    ``surprise``: residual motion over its expected noise as far as the images agree, NaN where the neighbour does not
    show the pixel; ``raw_surprise``: of the flow alone. ``parallax``: None where the camera stands.
    ``ground``: its inverse depth in 1/translation, 0 where there is none. ``is_ground``: looks like the ground itself.
    ``static_flow_px`` (H, W, 2): what the pixel would show if it stood still among the static pixels around it.
    """

    surprise: FloatMap
    raw_surprise: FloatMap
    parallax: Parallax | None
    ground: FloatMap
    is_ground: NDArray[np.bool_]
    static_flow_px: FloatMap


def static_surprise(
    view: View,
    looks: FloatMap,
    neighbour_looks: FloatMap,
    rays: FloatMap,
    camera: CameraModel,
    config: StaticTestConfig | None = None,
) -> StaticTest:
    """Ask one neighbour which pixels moved; ``looks``: ``appearance`` of both images at ``config.scale``."""
    config = config or StaticTestConfig()
    if view.motion.kind == "standing":
        return _before_standing_camera(view, looks, neighbour_looks, camera, config)
    rotation, direction = view.motion.rotation, view.motion.direction
    seen = parallax(view.flow_px, rotation, direction, camera)
    ground = np.zeros(seen.noise.shape, np.float32) if view.ground is None else view.ground.inverse_depth(rays)
    least = np.float32(config.ground_share) * ground
    surprise, is_ground = _against_static(
        view.flow_px,
        seen.inverse_depth,
        seen.noise,
        seen.across_px,
        ground,
        (config.ground_share, config.noise_px, config.noise_share, config.flow_noise_px),
    )
    around = fill_inverse_depth(seen, (surprise < 1.5) & view.visible, least)
    guesses = (np.maximum(seen.inverse_depth, least), ground, around)
    flows = [static_flow_px(guess, rotation, direction, camera) for guess in guesses]
    doubt = image_doubt(view, looks, neighbour_looks, flows, config)
    return StaticTest(_seen(surprise, doubt, view), surprise, seen, ground, is_ground, flows[2])


@njit(cache=True)
def _against_static(
    flow_px: FloatMap,
    inverse_depth: FloatMap,
    noise: FloatMap,
    across_px: FloatMap,
    ground: FloatMap,
    settings: tuple[float, float, float, float],
) -> Any:
    """Return the residual motion over its expected noise, and what has the ground's own parallax."""
    height, width = ground.shape
    surprise, is_ground = np.empty((height, width), np.float32), np.zeros((height, width), np.bool_)
    ground_share, noise_px, noise_share, flow_noise_px = settings
    for row in range(height):
        for column in range(width):
            rho, error, below = inverse_depth[row, column], noise[row, column], ground[row, column]
            u, v, across = flow_px[row, column, 0], flow_px[row, column, 1], across_px[row, column]
            short = min(max(ground_share * below - rho, 0.0) / error, 50.0)
            expected = noise_px + noise_share * np.sqrt(u * u + v * v)
            surprise[row, column] = np.sqrt(across * across + short * short) / expected
            near = abs(rho - below) < max(flow_noise_px * error, 0.03 * below)
            is_ground[row, column] = near and below > 0 and abs(across) < 0.8
    return surprise, is_ground


def _before_standing_camera(
    view: View, looks: FloatMap, neighbour_looks: FloatMap, camera: CameraModel, config: StaticTestConfig
) -> StaticTest:
    nothing = np.zeros(view.visible.shape, np.float32)
    turned = static_flow_px(nothing, view.motion.rotation, view.motion.direction, camera)
    rest = view.flow_px - turned
    length = np.hypot(rest[..., 0], rest[..., 1])
    surprise = length / np.float32(config.standing_noise_px)
    doubt = image_doubt(view, looks, neighbour_looks, [turned], config)
    return StaticTest(_seen(surprise, doubt, view), surprise, None, nothing, length < config.standing_noise_px, turned)


def image_doubt(
    view: View, looks: FloatMap, neighbour_looks: FloatMap, static: list[FloatMap], config: StaticTestConfig
) -> FloatMap:
    """Return (H, W) in [0, 1]: how much worse the best static guess matches than the free flow."""

    def cost(flow_px: FloatMap) -> FloatMap:
        small = flow_px
        if config.scale != 1:
            size = looks.shape[1], looks.shape[0]
            small = np.asarray(cv2.resize(flow_px, size, interpolation=cv2.INTER_NEAREST)) * np.float32(config.scale)
        return match_cost(looks, neighbour_looks, small, max(3, round(config.window_px * config.scale)))

    best = np.minimum.reduce([cost(flow) for flow in static])
    worse = (best + config.cost_floor) / (cost(view.flow_px) + config.cost_floor)
    doubt = np.clip((worse - config.doubt_from) / config.doubt_width, 0, 1).astype(np.float32)
    if config.scale != 1:
        height, width = view.visible.shape
        doubt = np.asarray(cv2.resize(doubt, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    return np.asarray(doubt, np.float32)


def _seen(surprise: FloatMap, doubt: FloatMap, view: View) -> FloatMap:
    return np.where(view.visible, surprise * doubt, np.nan).astype(np.float32)


def fill_inverse_depth(
    seen: Parallax, reliable: NDArray[np.bool_], least: FloatMap, windows_px: tuple[int, ...] = (7, 19, 55, 163)
) -> FloatMap:
    """Return (H, W) inverse depth averaged over reliable pixels in the smallest window that holds enough of them."""
    height, width = least.shape
    size = max(1, width // 2), max(1, height // 2)  # neighbourhoods need no full resolution
    precision = np.where(reliable, 1 / (np.square(seen.noise) + np.square(0.02 * seen.inverse_depth) + 1e-8), 0)
    precision = (precision / max(float(precision.max(initial=0)), 1e-9)).astype(np.float32)
    fields = precision, precision * seen.inverse_depth, reliable.astype(np.float32)
    weight, carried, share = (cv2.resize(field, size, interpolation=cv2.INTER_AREA) for field in fields)
    filled, done = np.zeros(weight.shape, np.float32), np.zeros(weight.shape, bool)
    for window in windows_px:
        side = (window // 2 | 1, window // 2 | 1)
        mean = cv2.blur(carried, side) / (cv2.blur(weight, side) + 1e-12)
        filled = np.where(done, filled, mean)
        done |= cv2.blur(share, side) > 0.15
    return np.maximum(np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR)), least)
