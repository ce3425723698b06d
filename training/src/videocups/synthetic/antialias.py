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

_ENOUGH = np.float32(0.012)
"""Colours that differ less need no blending."""


def soften(image: Floats, surface: NDArray[np.int32], edges: Array, inverse_depth: Floats) -> Floats:
    """Return ``image`` (H, W, 3) with the edges (Q, 4, 3) of its polygons blended."""
    if not len(edges):
        return image
    height, width = surface.shape
    flat_surface, flat_depth, flat = surface.reshape(-1), inverse_depth.reshape(-1), image.reshape(-1, 3)
    green = np.ascontiguousarray(image[:, :, 1])
    weight = np.zeros(len(flat), dtype=np.float32)
    change = np.zeros_like(flat)
    for axis, offset in ((1, 1), (0, width)):
        cut = surface[:, 1:] != surface[:, :-1] if axis else surface[1:] != surface[:-1]
        cut &= np.abs(green[:, 1:] - green[:, :-1] if axis else green[1:] - green[:-1]) > _ENOUGH
        first = np.flatnonzero(cut)
        if axis:
            first += first // (width - 1)  # the cut has one column less
        second = first + offset
        # An edge belongs to the nearer surface: inside lies the pixel that shows it, outside its neighbour.
        second_inside = _nearer(flat_surface, flat_depth, first, second)
        owner = flat_surface[np.where(second_inside, second, first)]
        drawn = owner >= BACKGROUND
        first, second, owner = first[drawn], second[drawn], owner[drawn] - BACKGROUND
        sign = np.where(second_inside[drawn], np.float32(-1.0), np.float32(1.0))
        form = _edge_distances(edges, owner)
        facing = form[:, 1 - axis] * sign < -0.35
        gap = flat[second] - flat[first]
        for here, toward, side in ((first, gap, sign), (second, -gap, -sign)):
            row, column = np.divmod(here, width)
            value = form[:, 0] * column.astype(np.float32) + form[:, 1] * row.astype(np.float32) + form[:, 2]
            distance = np.where(facing, value, np.float32(1e6)).min(axis=0)
            share = np.clip(0.5 - side * distance, 0.0, 0.5) * (np.abs(distance) < 1.0)
            weight[here] += share
            change[here] += share[:, None] * toward
    touched = np.flatnonzero(weight)
    result = flat.copy()
    result[touched] += change[touched] / np.maximum(weight[touched], 1.0)[:, None]
    return result.reshape(height, width, 3)


def _edge_distances(edges: Array, owner: NDArray[np.int32]) -> Floats:
    """Return forms (4, 3, S) whose values are px to the edges of polygons ``owner`` (S,), positive inside."""
    chosen, again = np.unique(owner, return_inverse=True)
    picked = edges[chosen]
    scale = np.hypot(picked[:, :, 0], picked[:, :, 1])[:, :, None]
    # A triangle's fourth edge is all zero and bounds nothing.
    distance = np.where(scale > 0, picked / np.maximum(scale, 1e-300), [0.0, 0.0, 1e6])
    return np.ascontiguousarray(distance.transpose(1, 2, 0), dtype=np.float32)[:, :, again.reshape(-1)]


def _nearer(
    surface: NDArray[np.int32], inverse_depth: Floats, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return where the second pixel's surface is the nearer one; polygons lie before the background."""
    nearer = inverse_depth[second] > inverse_depth[first]
    nearer = np.where(surface[first] < BACKGROUND, True, nearer)
    return np.where(surface[second] < BACKGROUND, False, nearer)
