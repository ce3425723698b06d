"""A tileable fractal noise picture with its mip levels: the grain of every surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIZE = 512
LEVELS = 8
_SCALES = (0.5 ** np.arange(LEVELS + 1)).astype(np.float32)
_MASKS = (SIZE // 2 ** np.arange(LEVELS + 1) - 1).astype(np.int32)


@dataclass(frozen=True)
class Noise:
    """All mip levels behind one another in ``texels``, every level half as wide as the one before.

    Each level repeats its first row and column at its end.
    """

    texels: Floats
    starts: NDArray[np.int32]

    def sample(self, u: Floats, v: Floats, footprint: Floats) -> Floats:
        """Return noise in about −1..1 at texel coordinates ``u, v``, averaged over ``footprint`` texels."""
        level = np.clip(np.log2(np.maximum(footprint, 1.0)), 0, LEVELS - 1.001).astype(np.float32)
        floor = np.floor(level)
        fine, blend = floor.astype(np.int32), level - floor
        value = self._bilinear(u, v, fine)
        blurred = np.flatnonzero(level)
        if len(blurred):
            coarse = self._bilinear(u[blurred], v[blurred], fine[blurred] + 1)
            value[blurred] += blend[blurred] * (coarse - value[blurred])
        return value

    def _bilinear(self, u: Floats, v: Floats, level: NDArray[np.int32]) -> Floats:
        scale = _SCALES[level]
        # Texel centres of coarser levels lie between those of the finer ones.
        x, y = (u + 0.5) * scale - 0.5, (v + 0.5) * scale - 0.5
        x0, y0 = np.floor(x), np.floor(y)
        fx, fy = x - x0, y - y0
        mask = _MASKS[level]
        stride = mask + 2
        at = self.starts[level] + (y0.astype(np.int32) & mask) * stride + (x0.astype(np.int32) & mask)
        upper = self.texels.take(at)
        upper += fx * (self.texels.take(at + 1) - upper)
        at += stride
        lower = self.texels.take(at)
        lower += fx * (self.texels.take(at + 1) - lower)
        return np.asarray(upper + fy * (lower - upper))


def make_noise(rng: np.random.Generator) -> Noise:
    """Draw octaves of smooth random grids, each half as coarse as the one before."""
    picture = np.zeros((SIZE, SIZE), dtype=np.float64)
    for cells, weight in ((4, 0.5), (8, 0.6), (16, 0.7), (32, 0.8), (64, 0.9), (128, 0.8), (256, 0.5)):
        picture += weight * _smooth_grid(rng.standard_normal((cells, cells)))
    picture /= 2.5 * picture.std()
    levels = [picture]
    while len(levels) <= LEVELS:
        last = levels[-1]
        levels.append(0.25 * (last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2]))
    wrapped = [np.pad(level, ((0, 1), (0, 1)), mode="wrap") for level in levels]
    sizes = np.array([level.size for level in wrapped])
    flat = np.concatenate([level.reshape(-1) for level in wrapped]).astype(np.float32)
    return Noise(flat, (np.cumsum(sizes) - sizes).astype(np.int32))


def _smooth_grid(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blow a small wrapped grid up to SIZE with quintic interpolation."""
    count = len(cells)
    position = np.arange(SIZE) * count / SIZE
    low = position.astype(int)
    t = position - low
    t = t**3 * (t * (t * 6 - 15) + 10)
    columns = cells[:, low] * (1 - t) + cells[:, (low + 1) % count] * t
    return np.asarray(columns[low] * (1 - t[:, None]) + columns[(low + 1) % count] * t[:, None])
