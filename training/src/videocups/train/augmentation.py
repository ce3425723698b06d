"""Changes of a pair: both frames are cut, mirrored and coloured alike, labels with them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.train.pair import FrameLabels
from videocups.train.panoptic_config import AugmentConfig, PairConfig
from videocups.train.resizing import Number, resized, resized_ids

STEP_PX = 32
"""sizes of images are multiples of the network's largest stride"""


@dataclass(frozen=True)
class View:
    """What is seen of a frame: a part of it in px, mirrored or not."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool


@dataclass(frozen=True)
class Colors:
    """How colours change; 1 and 0 change nothing. ``blur_sigma_px`` 0 = sharp."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    blur_sigma_px: float = 0.0


def batch_size_px(data: PairConfig, augment: AugmentConfig, rng: np.random.Generator) -> tuple[int, int]:
    """Draw (height, width) of a batch's images: the input's shape, smaller or larger, in steps of 32 px."""
    scale = float(rng.uniform(*augment.scales))
    height, width = (max(round(size * scale / STEP_PX), 1) * STEP_PX for size in (data.height, data.width))
    return height, width


def working_height(data: PairConfig, augment: AugmentConfig) -> int:
    """Return the height that frames are kept at: enough for the smallest part in the largest batch."""
    return math.ceil(data.height * augment.scales[1] / math.sqrt(augment.crop_area[0]))


def draw_view(
    image_hw: tuple[int, int], target_hw: tuple[int, int], config: AugmentConfig, rng: np.random.Generator
) -> View:
    """Draw the part to see: of the target's shape, a share of the largest such part."""
    scale = min(image_hw[0] / target_hw[0], image_hw[1] / target_hw[1]) * math.sqrt(rng.uniform(*config.crop_area))
    height, width = (max(min(round(size * scale), limit), 1) for size, limit in zip(target_hw, image_hw, strict=True))
    top = int(rng.integers(image_hw[0] - height + 1))
    left = int(rng.integers(image_hw[1] - width + 1))
    return View(left, top, width, height, bool(rng.random() < config.flip))


def draw_colors(config: AugmentConfig, rng: np.random.Generator) -> Colors:
    """Draw a change of colours."""
    blur = float(rng.uniform(*config.blur_sigma_px)) if rng.random() < config.blur else 0.0
    factors = [1.0, 1.0, 1.0, 0.0]
    if rng.random() < config.jitter:
        factors = [at + float(rng.uniform(-size, size)) for at, size in zip(factors, config.jitter_size, strict=True)]
    if rng.random() < config.grey:
        factors[2] = 0.0
    return Colors(factors[0], factors[1], factors[2], factors[3], blur)


def seen_image(image: NDArray[np.uint8], view: View, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the part of an image at the wanted size."""
    part = resized(image[view.top : view.top + view.height, view.left : view.left + view.width], size_wh)
    return np.ascontiguousarray(part[:, ::-1] if view.mirrored else part)


def seen_labels(labels: FrameLabels, view: View, size_wh: tuple[int, int]) -> FrameLabels:
    """Return the labels of that part, by the nearest pixel."""

    def seen(ids: NDArray[Number]) -> NDArray[Number]:
        part = resized_ids(ids[view.top : view.top + view.height, view.left : view.left + view.width], size_wh)
        return np.ascontiguousarray(part[:, ::-1] if view.mirrored else part)

    return FrameLabels(seen(labels.semantic), seen(labels.objects), labels.tracks, labels.classes)


def recolored(images: NDArray[np.uint8], colors: Colors) -> NDArray[np.uint8]:
    """Change the colours of (N, H, W, 3) images alike: one mean for all, or a frame would flicker against the next."""
    changed = images.astype(np.float32)
    if colors.brightness != 1 or colors.contrast != 1:
        changed *= colors.brightness
        mean = float(changed.mean())
        changed = (changed - mean) * colors.contrast + mean
    if colors.hue:
        changed = np.stack([_turned_hue(image, colors.hue) for image in np.clip(changed, 0, 255)])
    if colors.saturation != 1:
        grey = changed @ np.array([0.299, 0.587, 0.114], np.float32)
        changed = grey[..., None] + (changed - grey[..., None]) * np.float32(colors.saturation)
    if colors.blur_sigma_px > 0:
        changed = np.stack([cv2.GaussianBlur(image, (0, 0), colors.blur_sigma_px) for image in changed])
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def _turned_hue(image: NDArray[np.float32], turn: float) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(image / 255, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255, dtype=np.float32)
