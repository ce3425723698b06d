"""Camera image to network input, and label maps back to the camera's resolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.engine.base import InputSpec


@dataclass(frozen=True)
class Placement:
    """Where the camera image lies inside the network input: its top-left ``content_hw`` pixels."""

    image_hw: tuple[int, int]
    network_hw: tuple[int, int]
    content_hw: tuple[int, int]

    @property
    def is_identity(self) -> bool:
        """True where network pixels are camera pixels."""
        return self.image_hw == self.content_hw


def place(image_hw: tuple[int, int], spec: InputSpec) -> Placement:
    """Return how an image of ``image_hw`` px is fitted into the network input."""
    if min(image_hw) < 1:
        raise ValueError(f"the image is empty: {image_hw[0]}×{image_hw[1]} px")
    network_hw = (spec.height, spec.width)
    if spec.resize == "stretch":
        return Placement(image_hw, network_hw, network_hw)
    scale = min(spec.height / image_hw[0], spec.width / image_hw[1])
    content = (
        min(max(round(image_hw[0] * scale), 1), spec.height),
        min(max(round(image_hw[1] * scale), 1), spec.width),
    )
    return Placement(image_hw, network_hw, content)


def to_network(image_rgb: NDArray[np.uint8], placement: Placement, spec: InputSpec) -> NDArray[np.uint8]:
    """Resize and pad an (H, W, 3) uint8 RGB image to (1, H', W', 3); no copy where the size is right already."""
    content = _resize(image_rgb, placement.content_hw)
    if placement.content_hw == placement.network_hw:
        return np.ascontiguousarray(content)[None]
    network = np.empty((1, *placement.network_hw, 3), dtype=np.uint8)
    rows, columns = placement.content_hw
    network[0, :rows, :columns] = content
    network[0, rows:] = spec.pad_rgb
    network[0, :rows, columns:] = spec.pad_rgb
    return network


def _resize(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    if image.shape[:2] == size_hw:
        return image
    factor = int(min(image.shape[0] / size_hw[0], image.shape[1] / size_hw[1]))
    if factor >= 2:
        # A whole-numbered area average is several times faster than a fractional one and does the anti-aliasing;
        # the rest, less than a factor of two, is left to the bilinear resize below.
        image = _average(image, factor)
    if image.shape[:2] == size_hw:
        return image
    return np.asarray(cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _average(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    if (rows * factor, columns * factor) != image.shape[:2]:
        # Border pixels are repeated, not cut, so that the geometry stays within half a network pixel.
        bottom, right = -image.shape[0] % factor, -image.shape[1] % factor
        image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE), dtype=np.uint8)
        rows, columns = image.shape[0] // factor, image.shape[1] // factor
    return np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def to_image(label_map: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Bring a (content_h, content_w) label map to the camera's resolution by nearest neighbour."""
    if placement.is_identity:
        return label_map
    size = (placement.image_hw[1], placement.image_hw[0])
    return np.asarray(cv2.resize(label_map, size, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)


@lru_cache(maxsize=8)
def repetitions(placement: Placement) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often ``to_image`` repeats each content row and each content column; 0 where it leaves one out."""
    rows, columns = (
        _repeats(source, target) for source, target in zip(placement.content_hw, placement.image_hw, strict=True)
    )
    return rows, columns


def _repeats(source: int, target: int) -> NDArray[np.int64]:
    # The resize is asked itself, so that its rounding cannot be guessed wrong.
    ramp = np.arange(source, dtype=np.float32)[None]
    taken = cv2.resize(ramp, (target, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0]
    return np.bincount(taken.astype(np.int64), minlength=source)
