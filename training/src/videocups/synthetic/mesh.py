"""Shapes as lists of convex polygons: the one primitive of the world.

A polygon has four corners, counter-clockwise seen from outside; a triangle repeats its last corner.
Colours are linear albedo in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Color = tuple[float, float, float]


class Material(IntEnum):
    """How a polygon is painted."""

    MATTE = 0
    PAINT = 1
    GLASS = 2
    FOLIAGE = 3
    ROOF = 4
    FACADE = 5
    GLOW = 6
    BARK = 7


@dataclass(frozen=True)
class Mesh:
    """Polygons: ``corners`` (P, 4, 3) m, ``color`` (P, 3) albedo, ``material`` (P,), ``params`` (P, 4).

    ``params`` of a facade: width and height in m, a style number, the wall's share of glass; of glass: unused.
    ``origin`` (P, 3): where the texture coordinates start.
    """

    corners: Array
    color: Array
    material: NDArray[np.uint8]
    params: Array
    origin: Array

    def __len__(self) -> int:
        return len(self.corners)

    def moved(self, offset: Sequence[float], yaw_rad: float = 0.0) -> Mesh:
        """Return the mesh turned about z, then shifted."""
        turn = yaw_matrix(yaw_rad)
        shift = np.asarray(offset, dtype=np.float64)
        return replace(self, corners=self.corners @ turn.T + shift, origin=self.origin @ turn.T + shift)

    def scaled(self, factor: float) -> Mesh:
        """Return the mesh ``factor`` times as large."""
        return replace(self, corners=self.corners * factor, origin=self.origin * factor)


def scale_color(color: Color, factor: float) -> Color:
    """Return a brighter or darker colour."""
    return (color[0] * factor, color[1] * factor, color[2] * factor)


def yaw_matrix(yaw_rad: float) -> Array:
    """Return the 3×3 rotation about the upward z axis."""
    c, s = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def polygons(
    corners: Array | Sequence[Array],
    color: Color | Array,
    material: Material = Material.MATTE,
    params: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
) -> Mesh:
    """Make a mesh from (P, 4, 3) corners that share one look."""
    quads = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
    count = len(quads)
    return Mesh(
        quads,
        np.broadcast_to(np.asarray(color, dtype=np.float64), (count, 3)).copy(),
        np.full(count, material, dtype=np.uint8),
        np.tile(np.asarray(params, dtype=np.float64), (count, 1)),
        np.zeros((count, 3)),
    )


def join(meshes: Sequence[Mesh]) -> Mesh:
    """Concatenate meshes."""
    names = ("corners", "color", "material", "params", "origin")
    return Mesh(*(np.concatenate([getattr(mesh, name) for mesh in meshes]) for name in names))


def loft(rings: Array) -> Array:
    """Return the quads between successive rings (R, K, 3), rings counter-clockwise seen along −(ring to ring)."""
    low, high = rings[:-1], rings[1:]
    quads = np.stack([low, np.roll(low, -1, axis=1), np.roll(high, -1, axis=1), high], axis=2)
    return quads.reshape(-1, 4, 3)


def cap(ring: Array) -> Array:
    """Return quads that fill a convex ring (K, 3), K even."""
    count = len(ring)
    return np.stack([ring[[0, i, i + 1, i + 2]] for i in range(1, count - 1, 2)])


def closed_loft(rings: Array) -> Array:
    """Return the quads of a loft with both ends capped."""
    return np.concatenate([loft(rings), cap(rings[-1]), cap(rings[0][::-1])])


def box(low: Sequence[float], high: Sequence[float]) -> Array:
    """Return the six quads of an axis-aligned box."""
    return closed_loft(np.stack([rectangle(low[0], high[0], low[1], high[1], z) for z in (low[2], high[2])]))


def rectangle(x0: float, x1: float, y0: float, y1: float, z: float) -> Array:
    """Return the four corners of a level rectangle, counter-clockwise from above."""
    return np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]])


def chamfered(x0: float, x1: float, y0: float, y1: float, z: float, cut: float) -> Array:
    """Return the eight corners of a level rectangle with cut corners, counter-clockwise from above."""
    return np.array(
        [
            [x1, y0 + cut, z],
            [x1, y1 - cut, z],
            [x1 - cut, y1, z],
            [x0 + cut, y1, z],
            [x0, y1 - cut, z],
            [x0, y0 + cut, z],
            [x0 + cut, y0, z],
            [x1 - cut, y0, z],
        ]
    )


def circle(radius: float, z: float, sides: int) -> Array:
    """Return a level ring of ``sides`` corners about the z axis."""
    angle = 2 * np.pi * np.arange(sides) / sides
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.full(sides, z)], axis=1)


def tube(start: Sequence[float], end: Sequence[float], radii: tuple[float, float], sides: int = 6) -> Array:
    """Return a closed tapered tube from ``start`` to ``end``."""
    foot, tip = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    axis = (tip - foot) / np.linalg.norm(tip - foot)
    side = np.cross(axis, [1.0, 0.0, 0.0] if abs(axis[0]) < 0.8 else [0.0, 1.0, 0.0])
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(axis, side), axis])
    rings = [circle(radius, 0.0, sides) @ frame + at for radius, at in zip(radii, (foot, tip), strict=True)]
    return closed_loft(np.stack(rings))


def pane(quad: Array, u: tuple[float, float], v: tuple[float, float], lift_m: float = 0.012) -> Array:
    """Return a smaller quad that lies on ``quad``, lifted off it: corner 0→1 is u, 0→3 is v."""
    normal = np.cross(quad[2] - quad[0], quad[3] - quad[1])
    normal /= np.linalg.norm(normal)
    at = np.array([[u[0], v[0]], [u[1], v[0]], [u[1], v[1]], [u[0], v[1]]])
    left = quad[0] + (quad[3] - quad[0]) * at[:, 1:]
    right = quad[1] + (quad[2] - quad[1]) * at[:, 1:]
    return np.asarray(left + (right - left) * at[:, :1] + normal * lift_m)


def sphere(radii: Sequence[float] | Array, center: Sequence[float] | Array, detail: int = 1) -> Array:
    """Return an ellipsoid of triangles: 20 · 4^detail of them."""
    solid = _unit_sphere(detail) * np.asarray(radii) + np.asarray(center)
    return np.concatenate([solid, solid[:, 2:]], axis=1)


@lru_cache(maxsize=4)
def _unit_sphere(detail: int) -> Array:
    triangles = _icosahedron()
    for _ in range(detail):
        a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
        ab, bc, ca = _unit(a + b), _unit(b + c), _unit(c + a)
        parts = [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(part, axis=1) for part in parts])
    return triangles


def lumpy(triangles: Array, center: Sequence[float], amount: float, rng: np.random.Generator) -> Array:
    """Push the corners of a triangle solid in and out at random; shared corners move together."""
    flat = triangles.reshape(-1, 3)
    middle = np.asarray(center)
    keys, inverse = np.unique(np.round(flat, 6), axis=0, return_inverse=True)
    factor = 1.0 + amount * rng.uniform(-1.0, 1.0, len(keys))
    return np.asarray((middle + (flat - middle) * factor[inverse.reshape(-1), None]).reshape(triangles.shape))


def _icosahedron() -> Array:
    g = (1 + math.sqrt(5)) / 2
    points = _unit(
        np.array(
            [
                *([-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g]),
                *([0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]),
            ]
        )
    )
    faces = [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2]]
    faces += [[10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5]]
    faces += [[2, 4, 11], [6, 2, 10], [8, 6, 7], [9, 8, 1]]
    return np.asarray(points[np.array(faces)])


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
