"""Trees, bushes and hedges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videocups.synthetic.mesh import Array, Color, Material, Mesh, box, join, lumpy, polygons, scale_color, sphere, tube

LEAVES: tuple[Color, ...] = ((0.075, 0.15, 0.03), (0.10, 0.18, 0.035), (0.06, 0.12, 0.035), (0.15, 0.18, 0.04))
BARK: Color = (0.10, 0.075, 0.055)
NEEDLES: Color = (0.035, 0.085, 0.03)
CONIFERS, BROADLEAVES, BUSHES = 5, 20, 10
"""How many kinds a town has."""
CROWN_M = 1.55


@dataclass(frozen=True)
class Nursery:
    """The kinds of trees and bushes of a town; every one planted is turned and of its own size."""

    trees: list[Mesh]
    bushes: list[Mesh]
    rng: np.random.Generator

    def tree(self, size: float) -> Mesh:
        """Return a tree."""
        return self._plant(self.trees, size)

    def bush(self) -> Mesh:
        """Return a bush."""
        return self._plant(self.bushes, float(self.rng.uniform(0.85, 1.15)))

    def _plant(self, kinds: list[Mesh], size: float) -> Mesh:
        kind = kinds[int(self.rng.integers(len(kinds)))]
        return kind.scaled(size).moved((0.0, 0.0, 0.0), float(self.rng.uniform(0, 2 * np.pi)))


def make_nursery(rng: np.random.Generator) -> Nursery:
    """Grow the kinds of plants of one town."""
    trees = [broadleaf(rng) for _ in range(BROADLEAVES)] + [conifer(rng) for _ in range(CONIFERS)]
    return Nursery(trees, [bush(rng) for _ in range(BUSHES)], rng)


def broadleaf(rng: np.random.Generator) -> Mesh:
    """Build a trunk under a crown of lumps."""
    trunk = float(rng.uniform(2.2, 3.0))
    leaf = LEAVES[int(rng.integers(len(LEAVES)))]
    meshes = [_trunk(trunk + 0.8)]
    for index in range(int(rng.integers(2, 4))):
        angle = rng.uniform(0, 2 * np.pi)
        shift = 0.0 if index == 0 else 0.75
        center = (shift * np.cos(angle), shift * np.sin(angle), trunk + CROWN_M * (0.95 + 0.28 * index))
        lump = sphere(CROWN_M * rng.uniform(0.75, 1.0, 3) * (1.0 if index == 0 else 0.8), center, 1)
        meshes.append(_foliage(lumpy(lump, center, 0.10, rng), scale_color(leaf, float(rng.uniform(0.85, 1.15)))))
    return join(meshes)


def conifer(rng: np.random.Generator) -> Mesh:
    """Build three cones on a trunk."""
    slim, base = float(rng.uniform(0.8, 1.1)), 0.6
    meshes = [_trunk(2.0)]
    for low, radius, high in ((0.5, 1.7, 3.0), (1.6, 1.35, 4.4), (3.0, 0.9, 6.0)):
        cone = tube((0, 0, low + base), (0, 0, high + base), (radius * slim, 0.05), 10)
        meshes.append(_foliage(cone, NEEDLES))
    return join(meshes)


def _trunk(height: float) -> Mesh:
    return polygons(tube((0, 0, -0.1), (0, 0, height), (0.17, 0.11)), BARK, Material.BARK)


def bush(rng: np.random.Generator) -> Mesh:
    """Build one or two low lumps."""
    meshes = []
    for _ in range(1 + int(rng.random() < 0.3)):
        radius = float(rng.uniform(0.45, 0.85))
        center = (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.3)), radius * 0.7)
        lump = sphere((radius, radius, radius * 0.85), center, 1)
        meshes.append(_foliage(lumpy(lump, center, 0.10, rng), LEAVES[int(rng.integers(len(LEAVES)))]))
    return join(meshes)


def hedge(length: float, rng: np.random.Generator) -> Mesh:
    """Build a clipped hedge along x."""
    height = float(rng.uniform(0.9, 1.4))
    return _foliage(box((0, -0.35, -0.05), (length, 0.35, height)), LEAVES[int(rng.integers(len(LEAVES)))])


def _foliage(quads: Array, color: Color) -> Mesh:
    return polygons(quads, color, Material.FOLIAGE)
