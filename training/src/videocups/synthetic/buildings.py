"""Houses: flats and offices with flat roofs, family houses with gables."""

from __future__ import annotations

import numpy as np

from videocups.synthetic.layout import KERB_M
from videocups.synthetic.mesh import Color, Material, Mesh, box, join, loft, polygons, rectangle, scale_color

WALLS: tuple[Color, ...] = (
    (0.42, 0.36, 0.28),
    (0.30, 0.13, 0.085),
    (0.36, 0.19, 0.13),
    (0.50, 0.47, 0.42),
    (0.33, 0.33, 0.34),
    (0.48, 0.38, 0.20),
    (0.25, 0.28, 0.30),
    (0.42, 0.28, 0.22),
    (0.40, 0.42, 0.36),
)
ROOFS: tuple[Color, ...] = ((0.24, 0.075, 0.045), (0.13, 0.10, 0.09), (0.09, 0.09, 0.10), (0.18, 0.09, 0.06))


def city_building(width: float, depth: float, rng: np.random.Generator) -> Mesh:
    """Build a house of flats or offices with a flat roof; its front wall is y = 0."""
    height = float(rng.uniform(8.0, 21.0))
    wall = WALLS[int(rng.integers(len(WALLS)))]
    body = _walls(0.0, width, 0.0, depth, height, wall, rng)
    rim = polygons(
        box((-0.12, -0.12, height - 0.05), (width + 0.12, depth + 0.12, height + 0.45)), scale_color(wall, 0.8)
    )
    return join([body, rim])


def house_mesh(width: float, depth: float, rng: np.random.Generator) -> Mesh:
    """Build a house with a gable roof; its front wall is y = 0."""
    height, rise, over = float(rng.uniform(3.4, 6.0)), float(rng.uniform(2.4, 3.6)), 0.45
    wall, roof = WALLS[int(rng.integers(len(WALLS)))], ROOFS[int(rng.integers(len(ROOFS)))]
    body = _walls(0.0, width, 0.0, depth, height, wall, rng)
    if rng.random() < 0.5:  # the ridge runs along the street
        ridge0, ridge1 = (-over, depth / 2, height + rise), (width + over, depth / 2, height + rise)
        low = rectangle(-over, width + over, -over, depth + over, height - 0.1)
        slopes = [[low[0], low[1], ridge1, ridge0], [low[2], low[3], ridge0, ridge1]]
        gables = [[(width, 0, height), (width, depth, height), (width, depth / 2, height + rise - 0.2)]]
        gables += [[(0, depth, height), (0, 0, height), (0, depth / 2, height + rise - 0.2)]]
    else:
        ridge0, ridge1 = (width / 2, -over, height + rise), (width / 2, depth + over, height + rise)
        low = rectangle(-over, width + over, -over, depth + over, height - 0.1)
        slopes = [[low[1], low[2], ridge1, ridge0], [low[3], low[0], ridge0, ridge1]]
        gables = [[(0, 0, height), (width, 0, height), (width / 2, 0, height + rise - 0.2)]]
        gables += [[(width, depth, height), (0, depth, height), (width / 2, depth, height + rise - 0.2)]]
    triangles = np.array([[*gable, gable[2]] for gable in gables], dtype=np.float64)
    chimney = box((width * 0.3, depth * 0.6, height), (width * 0.3 + 0.7, depth * 0.6 + 0.7, height + rise + 0.3))
    under = low[::-1][None]
    return join(
        [
            body,
            polygons(np.array(slopes), roof, Material.ROOF),
            polygons(under, scale_color(wall, 0.7)),
            polygons(triangles, wall),
            polygons(chimney, (0.25, 0.12, 0.09)),
        ]
    )


def _walls(x0: float, x1: float, y0: float, y1: float, height: float, wall: Color, rng: np.random.Generator) -> Mesh:
    number, glass = float(rng.random()), float(rng.choice([0.2, 0.45, 0.9]))
    sides = loft(np.stack([rectangle(x0, x1, y0, y1, -KERB_M), rectangle(x0, x1, y0, y1, height)]))
    meshes = []
    for quad in sides:
        width = float(np.linalg.norm(quad[1] - quad[0]))
        mesh = polygons(quad[None], wall, Material.FACADE, (width, height, number, glass))
        mesh.origin[:] = quad[0] + np.array([0.0, 0.0, KERB_M])
        meshes.append(mesh)
    return join(meshes)
