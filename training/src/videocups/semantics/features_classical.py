"""Features that need no training and no download: colour, texture on several scales and the row.

They can tell sky, road and other large stuff apart and claim nothing about small things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.semantics.features import FeatureMap
from videocups_core.config import setting

WINDOWS = (3, 7, 15)
"""Sizes, in cells, over which colour is averaged."""
OCTAVES = (1, 2, 4)
"""Scales of the Gabor filters: wavelengths of 4, 8 and 16 px."""
ORIENTATIONS = 4
NEIGHBOURS = ((2, 0), (0, 2), (2, 2), (-2, 2))
"""(right, down) offsets in px of the pixels that local contrast compares."""


@dataclass(frozen=True)
class ClassicalFeaturesConfig:
    """How much each group of features counts in a distance, after every single one was standardised."""

    stride: int = setting(4, "pixels from one feature vector to the next", minimum=1)
    color: float = setting(1.0, "weight of the cell's own colour (CIELAB)", minimum=0.0)
    mean: float = setting(0.3, "weight of the mean colour around, 3 scales", minimum=0.0)
    deviation: float = setting(0.25, "weight of the colour's deviation around, 3 scales", minimum=0.0)
    contrast: float = setting(0.25, "weight of how often neighbouring pixels differ, 4 directions", minimum=0.0)
    gabor: float = setting(0.15, "weight of the Gabor energy, 3 scales and 4 orientations", minimum=0.0)
    row: float = setting(0.8, "weight of the height in the image", minimum=0.0)
    # a step of lightness (0..100) between neighbours counts as an edge above this; smaller ones are noise
    contrast_step: float = setting(2.0, "lightness step that counts as an edge", minimum=0.0)


class ClassicalFeatures:
    """The embedded default: (H/stride, W/stride, 38) float32 in a few milliseconds.

    ``windowed`` is False: the row tells where in the image a cell lies, so that the image must not be cut up.
    """

    windowed = False

    def __init__(self, config: ClassicalFeaturesConfig | None = None) -> None:
        self.config = config or ClassicalFeaturesConfig()
        self.stride = self.config.stride
        self.name = "classical-1"
        sizes = {"color": 3, "mean": 9, "deviation": 9, "gabor": 12, "contrast": 4, "row": 1}
        self.dim = sum(sizes.values())
        # a group of n equally weighted features must not count n times
        self.weights: NDArray[np.float32] = np.concatenate(
            [np.full(n, getattr(self.config, group) / np.sqrt(n), np.float32) for group, n in sizes.items()]
        )

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (ceil(H / stride), ceil(W / stride), 38) float32, not yet standardised."""
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"features need an (H, W, 3) uint8 RGB image, got {rgb.shape} {rgb.dtype}")
        height, width = (-(-size // self.stride) for size in rgb.shape[:2])
        full = (height * self.stride, width * self.stride)
        if full != rgb.shape[:2]:
            padding = (0, full[0] - rgb.shape[0], 0, full[1] - rgb.shape[1])
            rgb = np.asarray(cv2.copyMakeBorder(rgb, *padding, cv2.BORDER_REPLICATE), dtype=np.uint8)
        lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)
        cells = (width, height)
        color = cv2.resize(lab, cells, interpolation=cv2.INTER_AREA)
        squares = cv2.resize(lab * lab, cells, interpolation=cv2.INTER_AREA)
        means = [_box(color, window) for window in WINDOWS]
        deviations = [
            np.log1p(np.sqrt(np.maximum(_box(squares, window) - mean**2, 0)))
            for window, mean in zip(WINDOWS, means, strict=True)
        ]
        lightness: FeatureMap = np.ascontiguousarray(lab[..., 0], dtype=np.float32)
        row = np.broadcast_to(((np.arange(height) + 0.5) / height)[:, None, None], (height, width, 1))
        groups = [color, *means, *deviations, _gabor_energy(lightness, cells)]
        groups += [_contrast(lightness, cells, self.config.contrast_step), row.astype(np.float32)]
        return np.asarray(np.concatenate(groups, axis=2), dtype=np.float32)


def _box(cells: Any, window: int) -> FeatureMap:
    return np.asarray(cv2.blur(cells, (window, window), borderType=cv2.BORDER_REFLECT), dtype=np.float32)


def _cell_means(plane: Any, cells: tuple[int, int]) -> FeatureMap:
    """Average a plane over cells, then over 5 × 5 of them."""
    return _box(np.asarray(cv2.resize(plane, cells, interpolation=cv2.INTER_AREA), dtype=np.float32), 5)


def _gabor_energy(lightness: FeatureMap, cells: tuple[int, int]) -> FeatureMap:
    """(h, w, scales × orientations): log of the local energy of even and odd Gabor filters."""
    planes = []
    for octave in OCTAVES:
        size = (max(lightness.shape[1] // octave, 1), max(lightness.shape[0] // octave, 1))
        image = cv2.resize(lightness, size, interpolation=cv2.INTER_AREA)
        for even, odd in _gabor_bank():
            energy = cv2.magnitude(cv2.filter2D(image, -1, even), cv2.filter2D(image, -1, odd))
            planes.append(np.log1p(_cell_means(energy, cells)))
    return np.stack(planes, axis=2)


def _gabor_bank(wavelength_px: float = 4.0) -> list[tuple[FeatureMap, FeatureMap]]:
    """Even and odd kernel of each orientation; even ones have no mean, both have even ones' absolute sum 1."""
    radius = int(wavelength_px)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    envelope = np.exp(-(x**2 + y**2) / (wavelength_px**2 / 2))
    bank = []
    for angle in np.arange(ORIENTATIONS) * np.pi / ORIENTATIONS:
        phase = 2 * np.pi / wavelength_px * (x * np.cos(angle) + y * np.sin(angle))
        even = envelope * np.cos(phase)
        even -= envelope * even.sum() / envelope.sum()
        size = np.abs(even).sum()
        bank.append(((even / size).astype(np.float32), (envelope * np.sin(phase) / size).astype(np.float32)))
    return bank


def _contrast(lightness: FeatureMap, cells: tuple[int, int], step: float) -> FeatureMap:
    """(h, w, directions): share of pixels around that differ clearly from a neighbour, as in local binary patterns."""
    height, width = lightness.shape
    padded = cv2.copyMakeBorder(lightness, 0, 2, 2, 2, cv2.BORDER_REFLECT_101)
    planes = []
    for right, down in NEIGHBOURS:
        neighbour = padded[down : down + height, 2 + right : 2 + right + width]
        differs = (np.abs(neighbour - lightness) > step).astype(np.float32)
        planes.append(_cell_means(differs, cells))
    return np.stack(planes, axis=2)
