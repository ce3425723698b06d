"""Region growing over moving pixels, VideoCUPS Eq. 1, exact and compiled.

Two moving pixels x, y within a Chebyshev distance r are joined when their depth and flow differ little *relative to x*
(or to y: the paper's relation is directed, "merged until convergence" makes the union undirected). The regions are the
connected components of that graph. Most pairs are already joined through a shorter path when they come up, so pairs
of direct neighbours go first and every other pair is skipped by one comparison of labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups_core.config import setting

SETTLE_AFTER_RING = (1, 2, 3, 5)
"""after these rings, pixels that see one region only are put aside."""


@dataclass(frozen=True)
class RegionGrowingConfig:
    """The thresholds of Eq. 1; defaults are the paper's."""

    # a pixel takes part when its motion probability is above this (the paper's alpha)
    motion_threshold: float = setting(
        0.15, "a pixel takes part above this motion probability", minimum=0.0, maximum=1.0
    )
    # Chebyshev radius in px within which pixels may be joined
    radius_px: int = setting(8, "Chebyshev radius within which pixels may be joined", minimum=1, maximum=64)
    # relative depth difference; 0 leaves depth out (right where the depth of moving things cannot be trusted)
    depth_tolerance: float = setting(0.02, "relative depth difference; 0 leaves depth out", minimum=0.0)
    # relative flow difference
    flow_tolerance: float = setting(0.04, "relative flow difference", minimum=0.0)
    # flows shorter than this count as this long: a car ahead at our own speed has flow near zero and would fall apart
    flow_floor_px: float = setting(1.0, "shorter flows count as this long in the relative difference", minimum=0.0)


def grow_regions(
    motion: NDArray[np.float32],
    depth: NDArray[np.float32],
    flow_px: NDArray[np.float32],
    config: RegionGrowingConfig | None = None,
) -> NDArray[np.int32]:
    """Group moving pixels into regions.

    ``motion``: (H, W) in [0, 1]; ``depth``: (H, W), any scale; ``flow_px``: (H, W, 2). A pixel whose cues are
    not finite takes no part. Returns (H, W) int32, 0 = no region, else 1..N in the order of each region's first pixel.
    """
    config = config or RegionGrowingConfig()
    check_shapes(motion, depth, flow_px)
    pad = config.radius_px  # a frame of inactive pixels around the image spares the inner loop every bounds check
    cues = _pad_cues(motion, depth, flow_px, config.motion_threshold, config.flow_floor_px, pad)
    active = cues[0]
    flat: list[Any] = [cue.ravel() for cue in cues]
    flat += [np.float32(config.depth_tolerance), np.float32(config.flow_tolerance)]
    parent = np.arange(active.size, dtype=np.int32)
    pixels = np.flatnonzero(active)
    for ring in range(1, config.radius_px + 1):
        _unite(pixels, ring_deltas(ring, active.shape[1]), parent, *flat)
        if ring in SETTLE_AFTER_RING:
            pixels = np.flatnonzero(unsettled(active, parent, pad))
    regions = _number_regions(np.flatnonzero(active), parent).reshape(active.shape)
    return np.ascontiguousarray(regions[pad:-pad, pad:-pad])


def ring_deltas(ring_px: int, width: int) -> NDArray[np.int64]:
    """Return steps in a flat image to half the pixels at Chebyshev distance ``ring_px``: each pair once."""
    steps = range(-ring_px, ring_px + 1)
    half = [(row, column) for row in range(ring_px + 1) for column in steps if row > 0 or column > 0]
    return np.asarray([row * width + column for row, column in half if max(row, abs(column)) == ring_px])


def unsettled(active: NDArray[np.bool_], parent: NDArray[np.int32], radius_px: int) -> NDArray[np.bool_]:
    """Return which active pixels see another region within the radius; the others need no more comparisons."""
    # OpenCV filters floats; float32 counts exactly to 2^24
    exact = np.float32 if parent.size < 2**24 else np.float64
    labels = parent.reshape(active.shape).astype(exact)
    window = np.ones((2 * radius_px + 1, 2 * radius_px + 1), np.uint8)
    lowest = cv2.erode(np.where(active, labels, exact(np.inf)), window)
    highest = cv2.dilate(np.where(active, labels, exact(-1)), window)
    sees_another: NDArray[np.bool_] = active & (lowest != highest)
    return sees_another


def check_shapes(motion: NDArray[np.float32], depth: NDArray[np.float32], flow_px: NDArray[np.float32]) -> None:
    """Raise where the three cues do not belong to one image."""
    if motion.ndim != 2 or depth.shape != motion.shape or flow_px.shape != (*motion.shape, 2):
        raise ValueError(
            "region growing needs motion (H, W), depth (H, W) and flow (H, W, 2) of one image, "
            f"got {motion.shape}, {depth.shape} and {flow_px.shape}"
        )


@njit(cache=True)
def _pad_cues(
    motion: NDArray[np.float32],
    depth: NDArray[np.float32],
    flow_px: NDArray[np.float32],
    threshold: float,
    floor_px: float,
    pad: int,
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    height, width = motion.shape
    shape = (height + 2 * pad, width + 2 * pad)
    active = np.zeros(shape, dtype=np.bool_)
    padded_depth = np.zeros(shape, dtype=np.float32)
    flow_u = np.zeros(shape, dtype=np.float32)
    flow_v = np.zeros(shape, dtype=np.float32)
    length = np.zeros(shape, dtype=np.float32)
    for row in range(height):
        for column in range(width):
            d, u, v = depth[row, column], flow_px[row, column, 0], flow_px[row, column, 1]
            if not (motion[row, column] > threshold and np.isfinite(d) and np.isfinite(u) and np.isfinite(v)):
                continue
            y, x = row + pad, column + pad
            active[y, x] = True
            padded_depth[y, x], flow_u[y, x], flow_v[y, x] = d, u, v
            length[y, x] = max(np.float32(np.sqrt(u * u + v * v)), floor_px)
    return active, padded_depth, flow_u, flow_v, length


@njit(cache=True)
def _root(parent: NDArray[np.int32], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


@njit(cache=True)
def _joined(
    depth_x: float, depth_y: float, flow_gap2: float, length_x: float, length_y: float, tau_d: float, tau_f: float
) -> bool:
    """Eq. 1 from x or from y; squared flow lengths; tau_d = 0 leaves depth out."""
    gap = abs(depth_x - depth_y)
    from_x = (tau_d == 0 or gap < tau_d * abs(depth_x)) and flow_gap2 < (tau_f * length_x) ** 2
    return from_x or ((tau_d == 0 or gap < tau_d * abs(depth_y)) and flow_gap2 < (tau_f * length_y) ** 2)


@njit(cache=True)
def _unite(
    pixels: NDArray[np.int64],
    deltas: NDArray[np.int64],
    parent: NDArray[np.int32],
    active: NDArray[np.bool_],
    depth: NDArray[np.float32],
    flow_u: NDArray[np.float32],
    flow_v: NDArray[np.float32],
    length: NDArray[np.float32],
    tau_d: float,
    tau_f: float,
) -> None:
    """Join each of ``pixels`` with its partners at ``deltas`` in a padded, flat image; ``parent`` is left flat."""
    for delta in deltas:
        for x in pixels:
            y = x + delta
            if not active[y] or parent[x] == parent[y]:
                continue
            flow_gap2 = (flow_u[x] - flow_u[y]) ** 2 + (flow_v[x] - flow_v[y]) ** 2
            if _joined(depth[x], depth[y], flow_gap2, length[x], length[y], tau_d, tau_f):
                root_x, root_y = _root(parent, x), _root(parent, y)
                parent[max(root_x, root_y)] = min(root_x, root_y)
        for x in pixels:  # flatten, so that the comparison of labels above mostly decides
            parent[x] = parent[parent[x]]
    for x in range(parent.size):
        parent[x] = _root(parent, x)


@njit(cache=True)
def _number_regions(pixels: NDArray[np.int64], parent: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give numbers to the regions, 1..N; a root is its region's first pixel, so numbers come out in raster order."""
    regions = np.zeros(parent.size, dtype=np.int32)
    count = 0
    for x in pixels:
        if parent[x] == x:
            count += 1
            regions[x] = count
        else:
            regions[x] = regions[parent[x]]
    return regions
