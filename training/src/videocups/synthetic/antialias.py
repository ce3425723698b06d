"""Soften polygon edges: a pixel that an edge cuts takes its share of the colour on the other side.

The edge functions are known exactly, so the share follows from the distance of the pixel centre to the edge and no
second ray is needed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.mesh import Array
from videocups.synthetic.view import BACKGROUND

Floats = NDArray[np.float32]

_NEIGHBOURS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def soften(image: Floats, surface: NDArray[np.int32], edges: Array, inverse_depth: Floats) -> Floats:
    """Return ``image`` (H, W, 3) with the edges (Q, 4, 3) of its polygons blended."""
    if not len(edges):
        return image
    scale = np.hypot(edges[:, :, 0], edges[:, :, 1])
    # A triangle's fourth edge is all zero and bounds nothing.
    normal = np.where(scale[:, :, None] > 0, edges / np.maximum(scale, 1e-300)[:, :, None], [0.0, 0.0, 1e6])
    forms = normal.astype(np.float32)
    result = image.copy()
    total = np.zeros(image.shape[:2], dtype=np.float32)
    blended = np.zeros_like(image)
    for step in _NEIGHBOURS:
        here, there = _slices(step, surface.shape)
        cut = np.argwhere(surface[here] != surface[there])
        row, column = cut[:, 0] + (here[0].start or 0), cut[:, 1] + (here[1].start or 0)
        share = _share(row, column, step, surface, forms, inverse_depth)
        touched = share > 0
        row, column, share = row[touched], column[touched], share[touched]
        blended[row, column] += share[:, None] * image[row + step[0], column + step[1]]
        total[row, column] += share
    row, column = np.nonzero(total)
    weight = total[row, column]
    limit = np.maximum(weight, 1.0)
    mixed = blended[row, column] / limit[:, None]
    result[row, column] = image[row, column] * (1.0 - weight / limit)[:, None] + mixed
    return result


def _slices(step: tuple[int, int], shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    def pair(shift: int, size: int) -> tuple[slice, slice]:
        here = slice(max(0, -shift), size - max(0, shift))
        return here, slice(here.start + shift, here.stop + shift)

    rows, columns = pair(step[0], shape[0]), pair(step[1], shape[1])
    return (rows[0], columns[0]), (rows[1], columns[1])


def _share(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    step: tuple[int, int],
    surface: NDArray[np.int32],
    forms: Floats,
    inverse_depth: Floats,
) -> Floats:
    """Return how much of each pixel the neighbour's surface covers, as seen from the nearer one's edge."""
    own, other = surface[row, column], surface[row + step[0], column + step[1]]
    own_nearer = inverse_depth[row, column] >= inverse_depth[row + step[0], column + step[1]]
    own_nearer = np.where(other < BACKGROUND, True, np.where(own < BACKGROUND, False, own_nearer))
    nearer = np.where(own_nearer, own, other) - BACKGROUND
    form = forms[np.maximum(nearer, 0)]
    value = form[:, :, 0] * column[:, None] + form[:, :, 1] * row[:, None] + form[:, :, 2]
    # Only edges that face the neighbour count; of those the one that cuts deepest.
    toward = form[:, :, 0] * step[1] + form[:, :, 1] * step[0]
    sign = np.where(own_nearer, -1.0, 1.0).astype(np.float32)[:, None]
    value = np.where(toward * sign > 0.35, value, np.float32(1e6))
    distance = value.min(axis=1)
    share = np.where(own_nearer, 0.5 - distance, np.where(distance < 0, 0.5 + distance, 0.0))
    return np.where(nearer >= 0, np.clip(share, 0.0, 0.5), 0.0).astype(np.float32)
