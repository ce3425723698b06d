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

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Projected:
        return Projected(self.edges[chosen], self.plane[chosen], self.rows[chosen])


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


def parts_in_view(scene: Scene, camera_from_part: Array, camera: CameraModel, margin_m: float = 0.0) -> Ints:
    """Return the parts whose sphere, widened by ``margin_m``, reaches into the view."""
    center = np.einsum("nij,nj->ni", camera_from_part[:, :, :3], scene.center) + camera_from_part[:, :, 3]
    radius = scene.radius + margin_m
    inside = (center[:, 2] > NEAR_M - radius) & (center[:, 2] < FAR_M)
    for normal in _view_sides(camera):
        inside &= center @ normal > -radius
    return np.flatnonzero(inside)


def _view_sides(camera: CameraModel) -> list[Array]:
    left, right = (-0.5 - camera.cx) / camera.fx, (camera.width - 0.5 - camera.cx) / camera.fx
    top, bottom = (-0.5 - camera.cy) / camera.fy, (camera.height - 0.5 - camera.cy) / camera.fy
    sides = ([1.0, 0.0, -left], [-1.0, 0.0, right], [0.0, 1.0, -top], [0.0, -1.0, bottom])
    return [np.asarray(side) / np.linalg.norm(side) for side in sides]


def polygons_of(scene: Scene, parts: Ints) -> Ints:
    """Return the polygons of ``parts``."""
    group, step = expand(scene.count[parts])
    return scene.first[parts][group] + step


def place(corners: Array, transform: Array) -> Array:
    """Move (P, 4, 3) corners by one 3×4 transform per polygon."""
    return np.asarray(np.matmul(corners, transform[:, :, :3].transpose(0, 2, 1)) + transform[:, None, :, 3])


def project(corners: Array, camera: CameraModel) -> tuple[Projected, NDArray[np.bool_]]:
    """Project polygons that face the camera; also return which of them may touch the image.

    No clipping is needed: a ray hits exactly where all edge functions agree, whatever lies behind the camera.
    """
    z = corners[:, :, 2]
    keep = (z > NEAR_M).any(axis=1)
    for side in _view_sides(camera):
        keep &= (corners @ side > 0.0).any(axis=1)
    corners = corners[keep]
    cross = np.cross(np.roll(corners, -1, axis=1), corners)
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    distance = np.einsum("pk,pk->p", normal, corners.mean(axis=1))
    valid = distance < 0.0
    keep[keep] = valid
    corners, cross = corners[valid], cross[valid]
    plane = normal[valid] / distance[valid, None]
    return Projected(_in_pixels(cross, camera), _in_pixels(plane, camera), _row_range(corners, camera)), keep


def _in_pixels(forms: Array, camera: CameraModel) -> Array:
    """Turn linear forms on rays (x, y, 1) into affine forms on pixels."""
    a, b = forms[..., 0] / camera.fx, forms[..., 1] / camera.fy
    return np.stack([a, b, forms[..., 2] - a * camera.cx - b * camera.cy], axis=-1)


def _row_range(corners: Array, camera: CameraModel) -> Ints:
    z = corners[:, :, 2]
    near = (z <= NEAR_M).any(axis=1)
    y = camera.fy * corners[:, :, 1] / np.maximum(z, NEAR_M) + camera.cy
    first = np.where(near, 0.0, np.ceil(y.min(axis=1)))
    last = np.where(near, camera.height - 1.0, np.floor(y.max(axis=1)))
    limits = np.clip(np.stack([first, last], axis=1), [0.0, -1.0], [camera.height, camera.height - 1.0])
    return limits.astype(np.int64)


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


def nearest(polygons: Projected, inverse_depth: Floats, surface: NDArray[np.int32]) -> tuple[Floats, NDArray[np.int32]]:
    """Draw polygons over a background (H, W); return inverse depth and surface: a polygon's number where it wins."""
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
    winner[pixel[won]] = hits.owner[span[won]]
    return best.reshape(inverse_depth.shape), winner.reshape(surface.shape)
