"""Cast one ray through every pixel centre against all polygons at once.

A convex polygon is seen through a pixel exactly where the ray lies inside the cone of its edges. Along one image row
the edges bound an interval in closed form, so only rays that hit are ever made. The inverse depth of a plane is affine
in the pixel, so a hit costs one multiplication; the nearest hit wins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.mesh import Array
from videocups.synthetic.scene import Scene
from videocups_core.types import CameraModel

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

NEAR_M = 0.1
FAR_M = 900.0


@dataclass(frozen=True)
class Projected:
    """Q polygons as the camera sees them, in px.

    ``edges`` (Q, 4, 3): a·x + b·y + c >= 0 inside. ``plane`` (Q, 3): 1/z = a·x + b·y + c.
    ``rows`` (Q, 2): first and last image row they may touch.
    """

    edges: Array
    plane: Array
    rows: Ints


@dataclass(frozen=True)
class Hits:
    """Spans of pixels: polygon ``owner``, ``row`` and first column, ``length``, all (S,)."""

    owner: Ints
    row: Ints
    start: Ints
    length: Ints

    def pixels(self, width: int) -> tuple[Ints, Ints, Ints]:
        """Return the flat pixel index, the span and the step along it for every pixel of every span."""
        span, step = expand(self.length)
        return (self.row * width + self.start)[span] + step, span, step


def expand(counts: Ints) -> tuple[Ints, Ints]:
    """Return for groups of ``counts`` items which group each item is of, and its number in the group."""
    group = np.repeat(np.arange(len(counts)), counts)
    first = np.cumsum(counts) - counts
    return group, np.arange(len(group)) - first[group]


def _centers(scene: Scene, camera_from_part: Array, parts: Ints) -> Array:
    turn, shift = camera_from_part[parts, :, :3], camera_from_part[parts, :, 3]
    return np.asarray(np.einsum("nij,nj->ni", turn, scene.center[parts]) + shift)


def distances(scene: Scene, camera_from_part: Array, parts: Ints) -> Array:
    """Return how far away the nearest point of each part's sphere is along the optical axis."""
    return np.asarray(_centers(scene, camera_from_part, parts)[:, 2] - scene.radius[parts])


def parts_in_view(scene: Scene, camera_from_part: Array, camera: CameraModel, stretch: float = 1.0) -> Ints:
    """Return the parts whose sphere, ``stretch`` times as large, reaches into the view."""
    center = _centers(scene, camera_from_part, np.arange(len(scene.count)))
    radius = scene.radius * stretch
    inside = (center[:, 2] > NEAR_M - radius) & (center[:, 2] < FAR_M)
    for normal in _view_sides(camera):
        inside &= center @ normal > -radius
    return np.flatnonzero(inside)


def hidden(scene: Scene, camera_from_part: Array, camera: CameraModel, parts: Ints, drawn: Floats) -> NDArray[np.bool_]:
    """Return which parts lie behind what is drawn already, (H, W) inverse depth; in doubt they do not."""
    center, radius = _centers(scene, camera_from_part, parts), scene.radius[parts]
    front = center[:, 2] - radius
    clear = front > 1.0
    inverse = 1.0 / np.where(clear, front, 1.0)
    farthest = _farthest_pyramid(drawn)
    limits = []
    for axis, focal, middle in ((0, camera.fx, camera.cx), (1, camera.fy, camera.cy)):
        size = (camera.width, camera.height)[axis] - 1
        # The sphere lies within its projection taken at its nearest and its farthest depth.
        ends = [(center[:, axis] + sign * radius) for sign in (-1.0, 1.0)]
        far = 1.0 / np.maximum(center[:, 2] + radius, 1.0)
        low = np.minimum(ends[0] * inverse, ends[0] * far) * focal + middle
        high = np.maximum(ends[1] * inverse, ends[1] * far) * focal + middle
        limits.append((np.clip(low, 0, size).astype(np.int64), np.clip(np.ceil(high), 0, size).astype(np.int64)))
    (x0, x1), (y0, y1) = limits
    extent = np.maximum(np.maximum(x1 - x0, y1 - y0), 1)
    level = np.ceil(np.log2(extent)).astype(np.int64)
    wall = np.full(len(parts), np.inf)
    for number, grid in enumerate(farthest):
        at = np.flatnonzero(np.clip(level - _FINEST, 0, len(farthest) - 1) == number)
        shift = number + _FINEST
        for row in (y0[at] >> shift, y1[at] >> shift):
            for column in (x0[at] >> shift, x1[at] >> shift):
                wall[at] = np.minimum(wall[at], grid[row, column])
    return np.asarray(clear & (inverse < wall))


_FINEST = 2
"""The finest tiles of the pyramid measure 2^2 px."""


def _farthest_pyramid(drawn: Floats) -> list[Floats]:
    """Return the smallest inverse depth in tiles of 4, 8, 16 … px; the last level is one tile."""
    grids: list[Floats] = []
    grid = drawn
    while not grids or grid.size > 1:
        steps = _FINEST if not grids else 1
        for _ in range(steps):
            grid = _halved(_halved(grid).T).T
        grids.append(grid)
    return grids


def _halved(grid: Floats) -> Floats:
    """Return the smaller of every two neighbouring columns; an odd last column stands alone."""
    half = grid[:, ::2].copy()
    pairs = grid.shape[1] // 2
    np.minimum(half[:, :pairs], grid[:, 1::2], out=half[:, :pairs])
    return half


def _view_sides(camera: CameraModel) -> list[Array]:
    left, right = (-0.5 - camera.cx) / camera.fx, (camera.width - 0.5 - camera.cx) / camera.fx
    top, bottom = (-0.5 - camera.cy) / camera.fy, (camera.height - 0.5 - camera.cy) / camera.fy
    sides = ([1.0, 0.0, -left], [-1.0, 0.0, right], [0.0, 1.0, -top], [0.0, -1.0, bottom])
    return [np.asarray(side) / np.linalg.norm(side) for side in sides]


def polygons_of(scene: Scene, parts: Ints) -> Ints:
    """Return the polygons of ``parts``."""
    group, step = expand(scene.count[parts])
    return scene.first[parts][group] + step


def place(scene: Scene, polygon: Ints, transform: Array) -> Array:
    """Return the corners (3, 4, Q) of polygons moved by the transforms (N, 3, 4) of their parts."""
    x, y, z = scene.corners[:, :, polygon]
    # Gathered row by row, the parts' table stays in the cache and the result lies as it is read.
    rows = np.ascontiguousarray(transform.transpose(1, 2, 0))[:, :, scene.part[polygon]]
    return np.stack([row[0] * x + row[1] * y + row[2] * z + row[3] for row in rows])


def project(corners: Array, camera: CameraModel) -> tuple[Projected, NDArray[np.int64]]:
    """Project polygons that face the camera, corners (3, 4, Q); also return which of them may hold a pixel centre.

    No clipping is needed: a ray hits exactly where all edge functions agree, whatever lies behind the camera.
    """
    near, bounds = _bounds(corners, camera)
    hold = (bounds[0] <= bounds[1]) & (bounds[2] <= bounds[3])
    hold[near] = _reaches_in(corners[:, :, near], camera)
    keep = np.flatnonzero(hold)
    corners, bounds, near = corners[:, :, keep], bounds[:, keep], near[keep]
    ahead = np.roll(corners, -1, axis=1)
    cross = _cross(ahead, corners)
    normal = _cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    distance = (normal * corners.mean(axis=1)).sum(axis=0)
    valid = np.flatnonzero(distance < 0.0)
    plane = normal[:, valid] / distance[valid]
    first = np.where(near, 0.0, bounds[2])[valid]
    last = np.where(near, camera.height - 1.0, bounds[3])[valid]
    rows = np.stack([first, last], axis=1).astype(np.int64)
    return Projected(_in_pixels(cross[:, :, valid].T, camera), _in_pixels(plane.T, camera), rows), keep[valid]


def _reaches_in(corners: Array, camera: CameraModel) -> NDArray[np.bool_]:
    """Return which polygons are not wholly outside one side of the view or behind it."""
    reaches = corners[2].max(axis=0) > NEAR_M
    for x, y, z in _view_sides(camera):
        reaches &= (x * corners[0] + y * corners[1] + z * corners[2]).max(axis=0) > 0.0
    return np.asarray(reaches)


def _cross(a: Array, b: Array) -> Array:
    return np.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]])


def _in_pixels(forms: Array, camera: CameraModel) -> Array:
    """Turn linear forms on rays (x, y, 1) into affine forms on pixels."""
    a, b = forms[..., 0] / camera.fx, forms[..., 1] / camera.fy
    return np.stack([a, b, forms[..., 2] - a * camera.cx - b * camera.cy], axis=-1)


def _bounds(corners: Array, camera: CameraModel) -> tuple[NDArray[np.bool_], Array]:
    """Return which polygons reach the camera's plane, and for the others first and last column and row (4, Q)."""
    near = corners[2].min(axis=0) <= NEAR_M
    inverse = 1.0 / np.maximum(corners[2], NEAR_M)
    x = camera.fx * corners[0] * inverse + camera.cx
    y = camera.fy * corners[1] * inverse + camera.cy
    limits = [
        np.maximum(np.ceil(x.min(axis=0)), 0.0),
        np.minimum(np.floor(x.max(axis=0)), camera.width - 1.0),
        np.maximum(np.ceil(y.min(axis=0)), 0.0),
        np.minimum(np.floor(y.max(axis=0)), camera.height - 1.0),
    ]
    return near, np.stack(limits)


def spans(polygons: Projected, width: int) -> Hits:
    """Return every run of pixel centres inside each polygon."""
    count = np.maximum(polygons.rows[:, 1] - polygons.rows[:, 0] + 1, 0)
    owner, step = expand(count)
    row = polygons.rows[owner, 0] + step
    low, high = np.full(len(owner), -0.25), np.full(len(owner), width - 0.75)
    for edge in range(4):
        a = polygons.edges[:, edge, 0][owner]
        rest = polygons.edges[:, edge, 1][owner] * row + polygons.edges[:, edge, 2][owner]
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = -rest / a
        low = np.where(a > 0, np.maximum(low, bound), low)
        high = np.where(a < 0, np.minimum(high, bound), high)
        high = np.where((a == 0) & (rest < 0), -1.0, high)
    start = np.ceil(low).astype(np.int64)
    length = np.floor(high).astype(np.int64) - start + 1
    hit = length > 0
    return Hits(owner[hit], row[hit], start[hit], length[hit])


def nearest(
    polygons: Projected, inverse_depth: Floats, surface: NDArray[np.int32], first_number: int = 0
) -> tuple[Floats, NDArray[np.int32]]:
    """Draw polygons over what is there, (H, W) both; return inverse depth and the number of what is seen."""
    width = inverse_depth.shape[1]
    hits = spans(polygons, width)
    pixel, span, step = hits.pixels(width)
    plane = polygons.plane[hits.owner]
    base = (plane[:, 0] * hits.start + plane[:, 1] * hits.row + plane[:, 2]).astype(np.float32)
    slope = plane[:, 0].astype(np.float32)
    value = base[span] + slope[span] * step.astype(np.float32)
    best = inverse_depth.reshape(-1).copy()
    np.maximum.at(best, pixel, value)
    won = (value == best[pixel]) & (value > inverse_depth.reshape(-1)[pixel])
    winner = surface.reshape(-1).copy()
    winner[pixel[won]] = hits.owner[span[won]] + first_number
    return best.reshape(inverse_depth.shape), winner.reshape(surface.shape)
