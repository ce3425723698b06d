"""Cars, vans, trucks and buses from lofted bodies, panes and wheels. x is forward, y left, z up from the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videocups.synthetic.classes import WorldClass
from videocups.synthetic.mesh import (
    Array,
    Color,
    Material,
    Mesh,
    box,
    cap,
    chamfered,
    circle,
    closed_loft,
    join,
    loft,
    pane,
    polygons,
)

RUBBER: Color = (0.022, 0.022, 0.024)
RIM: Color = (0.42, 0.42, 0.44)
TRIM: Color = (0.03, 0.03, 0.033)
GLASS: Color = (0.018, 0.022, 0.028)
HEADLIGHT: Color = (0.85, 0.85, 0.80)
TAILLIGHT: Color = (0.50, 0.015, 0.01)
PLATE: Color = (0.75, 0.75, 0.70)

PAINTS: tuple[Color, ...] = (
    (0.62, 0.62, 0.60),
    (0.33, 0.34, 0.35),
    (0.13, 0.135, 0.14),
    (0.03, 0.03, 0.035),
    (0.36, 0.025, 0.022),
    (0.022, 0.075, 0.26),
    (0.05, 0.16, 0.32),
    (0.03, 0.12, 0.07),
    (0.55, 0.36, 0.05),
    (0.28, 0.20, 0.13),
    (0.50, 0.14, 0.03),
)


@dataclass(frozen=True)
class Vehicle:
    """A vehicle's mesh, class and outer size in m."""

    mesh: Mesh
    class_id: WorldClass
    length_m: float
    width_m: float


@dataclass(frozen=True)
class _Shape:
    """Side view of a car: lengths in m, positions as shares of the length from the rear end."""

    length: float
    width: float
    height: float
    belt: float
    nose: float
    tail: float
    screen: float
    rear: float
    screen_run: float
    rear_run: float


_SHAPES: dict[str, _Shape] = {
    "sedan": _Shape(4.6, 1.82, 1.45, 0.93, 0.72, 0.90, 0.70, 0.20, 0.85, 0.62),
    "hatch": _Shape(3.95, 1.72, 1.49, 0.93, 0.76, 0.93, 0.74, 0.035, 0.78, 0.38),
    "wagon": _Shape(4.65, 1.82, 1.50, 0.94, 0.73, 0.94, 0.71, 0.03, 0.85, 0.40),
    "suv": _Shape(4.6, 1.90, 1.72, 1.08, 0.95, 1.08, 0.73, 0.03, 0.70, 0.32),
    "van": _Shape(4.9, 1.93, 1.95, 1.10, 0.95, 1.10, 0.84, 0.015, 0.72, 0.12),
}
CAR_KINDS = tuple(_SHAPES)


def make_car(kind: str, paint: Color, rng: np.random.Generator) -> Vehicle:
    """Build one passenger car; its size varies a little with ``rng``."""
    shape = _SHAPES[kind]
    scale = rng.uniform(0.96, 1.05)
    length, half = shape.length * scale, shape.width / 2
    front, back = length / 2, -length / 2
    screen, rear = back + shape.screen * length, back + shape.rear * length
    body = _car_body(shape, front, back, screen, rear)
    cabin, roof = _cabin(shape, screen, rear, half)
    wheel_radius = 0.31 if shape.height < 1.6 else 0.36
    axles = (front - 0.19 * length, back + 0.18 * length)
    low = np.stack([chamfered(back, front, -half, half, z, 0.16) for z in (0.30, 0.52)])
    trim = polygons(_grow(loft(low), 0.012), TRIM)
    meshes = [
        polygons(body, paint, Material.PAINT),
        polygons(cabin, paint, Material.PAINT),
        polygons(cap(roof), paint, Material.PAINT),
        polygons(_car_windows(cabin), GLASS, Material.GLASS),
        trim,
        *_lights(back, front, half, shape),
    ]
    meshes += [wheel(x, side * half, wheel_radius, side) for x in axles for side in (-1, 1)]
    return Vehicle(join(meshes), WorldClass.CAR, length, shape.width)


def _car_body(shape: _Shape, front: float, back: float, screen: float, rear: float) -> Array:
    """Loft a ring of twelve corners: the deck slopes from the screen to the nose."""
    half = shape.width / 2

    def ring(z_nose: float, z_mid: float, z_tail: float, inset: float, cut: float) -> Array:
        x1, x0, y = front - inset, back + inset, half - inset
        return np.array(
            [
                [x1, -y + cut, z_nose],
                [x1, y - cut, z_nose],
                [x1 - cut, y, z_nose],
                [screen, y, z_mid],
                [rear if rear > x0 + cut else x0 + cut + 0.01, y, z_mid],
                [x0 + cut, y, z_tail],
                [x0, y - cut, z_tail],
                [x0, -y + cut, z_tail],
                [x0 + cut, -y, z_tail],
                [rear if rear > x0 + cut else x0 + cut + 0.01, -y, z_mid],
                [screen, -y, z_mid],
                [x1 - cut, -y, z_nose],
            ]
        )

    nose, belt, tail = shape.nose, shape.belt, shape.tail
    rings = np.stack(
        [
            ring(0.20, 0.20, 0.20, 0.10, 0.16),
            ring(0.36, 0.36, 0.36, 0.0, 0.18),
            ring(0.62 * nose + 0.1, 0.66, 0.72 * tail, 0.0, 0.20),
            ring(nose, belt, tail, 0.07, 0.22),
        ]
    )
    top = rings[-1]
    deck = np.stack(
        [
            top[[0, 1, 2, 11]],
            top[[11, 2, 3, 10]],
            top[[10, 3, 4, 9]],
            top[[9, 4, 5, 8]],
            top[[8, 5, 6, 7]],
        ]
    )
    return np.concatenate([loft(rings), deck])


def _cabin(shape: _Shape, screen: float, rear: float, half: float) -> tuple[Array, Array]:
    """Return the eight sides of the cabin (front first) and its roof ring."""
    belt = shape.belt - 0.03
    low = chamfered(rear, screen, -half + 0.09, half - 0.09, belt, 0.10)
    slope_in = 0.22 if shape.height < 1.6 else 0.15
    roof_z = shape.height
    high = chamfered(
        rear + shape.rear_run, screen - shape.screen_run, -half + 0.09 + slope_in, half - 0.09 - slope_in, roof_z, 0.12
    )
    return loft(np.stack([low, high])), high


def _car_windows(cabin: Array) -> Array:
    front, left, back, right = cabin[0], cabin[2], cabin[4], cabin[6]
    up = (0.14, 0.86)
    panes = [pane(front, (0.05, 0.95), (0.10, 0.90)), pane(back, (0.08, 0.92), (0.22, 0.86))]
    for side in (left, right):
        panes += [pane(side, (0.04, 0.47), up), pane(side, (0.53, 0.96), up)]
    return np.stack(panes)


def _grow(quads: Array, by_m: float) -> Array:
    """Push quads outwards, away from the z axis."""
    outward = quads.mean(axis=1, keepdims=True) * [1.0, 1.0, 0.0]
    return np.asarray(quads + by_m * np.sign(outward) * (np.abs(outward) > 0.3))


def _lights(back: float, front: float, half: float, shape: _Shape) -> list[Mesh]:
    def front_quad(y0: float, y1: float, z0: float, z1: float) -> Array:
        x = front + 0.02
        return np.array([[x, y0, z0], [x, y1, z0], [x - 0.05, y1, z1], [x - 0.05, y0, z1]])

    def back_quad(y0: float, y1: float, z0: float, z1: float) -> Array:
        x = back - 0.02
        return np.array([[x, y1, z0], [x, y0, z0], [x + 0.03, y0, z1], [x + 0.03, y1, z1]])

    top = 0.62 * shape.nose + 0.12
    lamps = [front_quad(y, y + 0.36, top - 0.12, top) for y in (-half + 0.20, half - 0.56)]
    tail = 0.72 * shape.tail + 0.08
    reds = [back_quad(y, y + 0.30, tail - 0.16, tail) for y in (-half + 0.19, half - 0.49)]
    grille = [front_quad(-0.42, 0.42, 0.40, top - 0.06)]
    plates = [front_quad(-0.26, 0.26, 0.34, 0.45), back_quad(-0.26, 0.26, 0.46, 0.58)]
    plates = [plate + np.array([np.sign(plate[0, 0]) * 0.03, 0, 0]) for plate in plates]
    return [
        polygons(lamps, HEADLIGHT),
        polygons(reds, TAILLIGHT),
        polygons(grille, TRIM),
        polygons(plates, PLATE),
    ]


def wheel(x: float, y: float, radius: float, side: int, width: float = 0.22) -> Mesh:
    """Build one wheel; it is round and does not turn in place, so its flow is the body's."""
    # Turn a level ring so that its axis points to +y.
    to_side = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    right, left = (-width, 0.02) if side > 0 else (-0.02, width)
    at = np.array([x, y, radius])
    tyre = closed_loft(np.stack([circle(radius, level, 12) @ to_side for level in (right, left)])) + at
    hub = circle(0.62 * radius, side * 0.032, 12) @ to_side + at
    face = cap(hub if side > 0 else hub[::-1])
    return join([polygons(tyre, RUBBER), polygons(face, RIM, Material.MATTE)])


def make_truck(paint: Color, rng: np.random.Generator) -> Vehicle:
    """Build a box truck: a cab in front of a tall load."""
    length, width, height = rng.uniform(6.6, 7.8), 2.35, rng.uniform(2.9, 3.3)
    front, back, half = length / 2, -length / 2, width / 2
    cab_back = front - 1.9
    cab = loft(
        np.stack(
            [
                chamfered(cab_back, front, -half + 0.08, half - 0.08, 0.45, 0.12),
                chamfered(cab_back, front, -half + 0.08, half - 0.08, 1.30, 0.12),
                chamfered(cab_back, front - 0.45, -half + 0.16, half - 0.16, 2.35, 0.12),
            ]
        )
    )
    roof = cap(chamfered(cab_back, front - 0.45, -half + 0.16, half - 0.16, 2.35, 0.12))
    upper = cab[8:]
    windows = [pane(upper[0], (0.04, 0.96), (0.08, 0.85))]
    windows += [pane(upper[i], (0.15, 0.85), (0.08, 0.80)) for i in (2, 6)]
    load_paint = np.asarray(PAINTS[0]) if rng.random() < 0.7 else np.asarray(PAINTS[int(rng.integers(len(PAINTS)))])
    load = box((back, -half, 0.85), (cab_back - 0.12, half, height))
    chassis = box((back + 0.2, -half + 0.35, 0.45), (front - 0.3, half - 0.35, 0.87))
    meshes = [
        polygons(np.concatenate([cab, roof]), paint, Material.PAINT),
        polygons(windows, GLASS, Material.GLASS),
        polygons(load, tuple(0.9 * load_paint), Material.PAINT),
        polygons(chassis, TRIM),
        *_lights(back, front, half, _Shape(length, width, height, 1.3, 0.75, 1.0, 0, 0, 0, 0)),
    ]
    meshes += [wheel(x, s * (half - 0.06), 0.45, s, 0.3) for x in (front - 1.0, back + 1.5) for s in (-1, 1)]
    return Vehicle(join(meshes), WorldClass.TRUCK, length, width)


def make_bus(paint: Color, rng: np.random.Generator) -> Vehicle:
    """Build a city bus with a band of windows."""
    length, width, height = rng.uniform(9.5, 11.5), 2.5, 3.0
    front, back, half = length / 2, -length / 2, width / 2
    levels = ((0.32, 0.0), (1.15, 0.0), (2.60, 0.04), (height, 0.14))
    rings = np.stack([chamfered(back + i, front - i, -half + i, half - i, z, 0.18) for z, i in levels])
    shell = np.concatenate([loft(rings), cap(rings[-1])])
    band = loft(rings)[8:16]
    windows = [pane(band[0], (0.03, 0.97), (-0.25, 0.92)), pane(band[4], (0.1, 0.9), (0.15, 0.85))]
    count = 7
    for side in (band[2], band[6]):
        windows += [pane(side, ((i + 0.06) / count, (i + 0.94) / count), (0.05, 0.90)) for i in range(count)]
    meshes = [
        polygons(shell, paint, Material.PAINT),
        polygons(windows, GLASS, Material.GLASS),
        polygons(
            _grow(loft(np.stack([chamfered(back, front, -half, half, z, 0.18) for z in (0.30, 0.55)])), 0.012), TRIM
        ),
        *_lights(back, front, half, _Shape(length, width, height, 1.3, 1.0, 1.2, 0, 0, 0, 0)),
    ]
    meshes += [wheel(x, s * half, 0.48, s, 0.3) for x in (front - 2.4, back + 2.6) for s in (-1, 1)]
    return Vehicle(join(meshes), WorldClass.BUS, length, width)


def draw_vehicle(rng: np.random.Generator, *, heavy: bool) -> Vehicle:
    """Draw a vehicle as they come in a street; trucks and buses only where ``heavy``."""
    paint = PAINTS[int(rng.choice(len(PAINTS), p=_PAINT_CHANCE))]
    kind = rng.random()
    if heavy and kind < 0.09:
        return make_truck(paint, rng)
    if heavy and kind < 0.16:
        return make_bus(PAINTS[int(rng.integers(4, len(PAINTS)))], rng)
    return make_car(CAR_KINDS[int(rng.choice(len(CAR_KINDS), p=(0.28, 0.28, 0.14, 0.20, 0.10)))], paint, rng)


_PAINT_CHANCE = np.array([0.20, 0.14, 0.12, 0.11, 0.11, 0.08, 0.07, 0.04, 0.04, 0.05, 0.04])
