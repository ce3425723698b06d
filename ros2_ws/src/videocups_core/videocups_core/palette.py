"""Colours that stay: per class (far apart, also for colour-blind eyes) and per track (from the id alone)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

_MAX_CLASSES = 255
_VOID_RGB = (0, 0, 0)
_LIGHTNESS = (22.0, 93.0)  # CIE L*: neither lost on void's black nor on white text
_MAX_CHROMA = 85.0  # beyond it colours glare, and the distances hardly grow
_GRID = 14  # candidates per RGB axis
# Dichromat vision, severity 1, on linear RGB (Machado, Oliveira, Fernandes 2009, table 1).
_PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
_DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
_GOLDEN_64 = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: multiples never come close to each other soon
# Saturation and value, taken in turn. Seven, since ids a Fibonacci number apart have near hues: 21 is the first
# of those that meets the same shade again.
_SHADES = np.array([[0.85, 0.98], [0.60, 0.80], [1.00, 0.74], [0.45, 1.00], [0.90, 0.58], [0.65, 0.95], [0.40, 0.78]])


def class_colors(count: int, *, seed: int = 0) -> NDArray[np.uint8]:
    """Return (count, 3) uint8 RGB, one colour a class.

    Each colour is the candidate farthest from all before it, by the smallest CIELAB distance that normal,
    protanope and deuteranope eyes see. A longer list begins with the shorter one; ``seed`` picks the first colour.
    """
    if not 0 <= count <= _MAX_CLASSES:
        raise ValueError(f"count must be in 0..{_MAX_CLASSES}, got {count}")
    colors: NDArray[np.uint8] = _all_class_colors(seed)[:count].copy()
    return colors


def track_colors(track_ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Return (..., 3) uint8 RGB for integer track ids of any shape; id 0 (no track) is black.

    The hue is the id times the golden ratio, so that neighbouring ids differ most; shade changes every id too.
    """
    ids = np.asarray(track_ids).astype(np.uint64)
    hue = (ids * _GOLDEN_64 >> np.uint64(40)).astype(np.float64) / 2**24
    saturation, value = np.moveaxis(_SHADES[(ids % np.uint64(len(_SHADES))).astype(np.int64)], -1, 0)
    colors: NDArray[np.uint8] = _hsv_to_rgb(hue, saturation, value)
    colors[ids == 0] = _VOID_RGB
    return colors


def simulate_dichromacy(rgb: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Return (..., 3) RGB as a ``protanope`` or ``deuteranope`` sees it."""
    matrix = {"protanope": _PROTANOPIA, "deuteranope": _DEUTERANOPIA}[kind]
    seen = np.clip(_linear(rgb) @ np.array(matrix).T, 0.0, 1.0)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(encoded * 255), dtype=np.uint8)


def to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return CIELAB (D65) of (..., 3) uint8 RGB; Euclidean distance in it is the colour difference ΔE."""
    flat = (rgb.reshape(1, -1, 3) / 255.0).astype(np.float32)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_RGB2Lab), dtype=np.float64).reshape(rgb.shape)


@lru_cache(maxsize=8)
def _all_class_colors(seed: int) -> NDArray[np.uint8]:
    axis = np.linspace(0, 255, _GRID).round().astype(np.uint8)
    candidates = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = to_lab(candidates).T
    usable = (lightness >= _LIGHTNESS[0]) & (lightness <= _LIGHTNESS[1]) & (np.hypot(a, b) <= _MAX_CHROMA)
    candidates = candidates[usable]
    views = np.stack(
        [to_lab(candidates), *(to_lab(simulate_dichromacy(candidates, eye)) for eye in ("protanope", "deuteranope"))]
    )
    vivid = np.flatnonzero(np.ptp(candidates.astype(np.int64), axis=1) > 150)
    chosen = [int(np.random.default_rng(seed).choice(vivid))]
    nearest = np.full(len(candidates), np.inf)
    for _ in range(_MAX_CLASSES):
        distance = np.linalg.norm(views - views[:, chosen[-1:]], axis=2).min(axis=0)
        nearest = np.minimum(nearest, distance)
        chosen.append(int(nearest.argmax()))
    colors: NDArray[np.uint8] = candidates[chosen[:_MAX_CLASSES]]
    return colors


def _linear(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    scaled = rgb / 255.0
    return np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)


def _hsv_to_rgb(
    hue: NDArray[np.float64], saturation: NDArray[np.float64], value: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """HSV, all in 0..1, to uint8 RGB."""
    offsets = np.array([5.0, 3.0, 1.0])
    position = (offsets + hue[..., None] * 6.0) % 6.0
    drop = np.clip(np.minimum(position, 4.0 - position), 0.0, 1.0)
    return np.asarray(np.rint(255.0 * value[..., None] * (1.0 - saturation[..., None] * drop)), dtype=np.uint8)
