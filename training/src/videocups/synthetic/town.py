"""What stands still: buildings, trees, hedges, fences, poles, signs, signals, kerbs and far hills."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from videocups.synthetic import layout
from videocups.synthetic.buildings import city_building, house_mesh
from videocups.synthetic.classes import WorldClass
from videocups.synthetic.layout import KERB_M, Town
from videocups.synthetic.mesh import Array, Color, Material, Mesh, box, circle, join, loft, polygons, tube
from videocups.synthetic.plants import Nursery, hedge, make_nursery
from videocups.synthetic.scene import SceneBuilder

STEEL: Color = (0.17, 0.18, 0.185)
HOUSING: Color = (0.025, 0.03, 0.025)
LAMPS: tuple[Color, ...] = ((0.9, 0.03, 0.02), (0.9, 0.5, 0.02), (0.05, 0.75, 0.25))
LAMP_OFF = 0.06
HILL_DISTANCE_M = 330.0


@dataclass
class Signals:
    """Lamps that change: part of the scene, crossing (i, j), approach 0..3 and colour 0 red, 1 amber, 2 green."""

    parts: list[int] = field(default_factory=list)
    crossings: list[tuple[int, int]] = field(default_factory=list)
    approaches: list[int] = field(default_factory=list)
    lamps: list[int] = field(default_factory=list)


def build_town(builder: SceneBuilder, town: Town, vegetation: float, rng: np.random.Generator) -> Signals:
    """Add everything that stands still."""
    nursery = make_nursery(rng)
    for i in range(-1, town.blocks + 1):
        for j in range(-1, town.blocks + 1):
            _Block(builder, town, i, j, vegetation, nursery, rng).build()
    signals = Signals()
    for i in range(town.blocks + 1):
        for j in range(town.blocks + 1):
            _crossing(builder, town, i, j, signals)
    _kerbs(builder, town)
    _hills(builder, town, rng)
    return signals


class _Block:
    """One block: lots along its four kerbs and street furniture on the sidewalk; outer blocks only face inwards."""

    def __init__(
        self,
        builder: SceneBuilder,
        town: Town,
        i: int,
        j: int,
        vegetation: float,
        nursery: Nursery,
        rng: np.random.Generator,
    ) -> None:
        self.builder, self.town, self.rng, self.vegetation = builder, town, rng, vegetation
        self.nursery, self.street_light = nursery, street_light()
        self.inner = 0 <= i < town.blocks and 0 <= j < town.blocks
        self.x, self.y = town.block_bounds(i), town.block_bounds(j)
        # Sides in the order south, east, north, west; each faces a street only inside the grid of streets.
        inside_x, inside_y = 0 <= i < town.blocks, 0 <= j < town.blocks
        faces = (inside_x and j >= 0, inside_y and i < town.blocks, inside_x and j < town.blocks, inside_y and i >= 0)
        self.sides = [side for side, open_street in enumerate(faces) if open_street]

    def build(self) -> None:
        for side in self.sides:
            self._lots(side)
            self._furniture(side)

    def _frame(self, side: int) -> tuple[Array, Array, Array, float]:
        """Return the kerb's start, its direction, the direction into the block and its length."""
        (x0, x1), (y0, y1) = self.x, self.y
        starts = ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
        along = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[side]
        inward = (-along[1], along[0])
        length = x1 - x0 if side % 2 == 0 else y1 - y0
        return np.array(starts[side]), np.array(along), np.array(inward), length

    def _at(self, side: int, way: float, depth: float) -> tuple[float, float, float]:
        start, along, inward, _ = self._frame(side)
        spot = start + along * way + inward * depth
        return float(spot[0]), float(spot[1]), KERB_M

    def _place(self, mesh: Mesh, side: int, way: float, depth: float, class_id: WorldClass, *, shadow: bool) -> None:
        """Add a mesh whose x runs along the kerb and y into the block."""
        yaw = (0.0, 0.5 * np.pi, np.pi, -0.5 * np.pi)[side]
        moved = mesh.moved(self._at(side, way, depth), yaw)
        self.builder.add(moved, class_id, shadow_height_m=KERB_M if shadow else float("nan"))

    def _lots(self, side: int) -> None:
        rng, town = self.rng, self.town
        _, _, _, length = self._frame(side)
        # South and north sides own the corners of a block.
        depth = 13.0 if not town.suburb else 16.0
        corner = layout.SIDEWALK_M + (
            0.0 if side % 2 == 0 or not self.inner else depth + (0.0 if not town.suburb else 3.0)
        )
        way = corner
        while way < length - corner - 6.0:
            width = float(rng.uniform(9.0, 19.0) if not town.suburb else rng.uniform(12.0, 18.0))
            width = min(width, length - corner - way)
            if width > 6.0:
                self._lot(side, way, width, depth)
            way += width

    def _lot(self, side: int, way: float, width: float, depth: float) -> None:
        rng, town = self.rng, self.town
        if rng.random() < (0.10 if not town.suburb else 0.06):
            self._green(side, way, width, depth)
        elif town.suburb:
            self._house_lot(side, way, width)
        else:
            setback = layout.SIDEWALK_M + float(rng.choice([0.0, 0.0, 0.4]))
            mesh = city_building(width - float(rng.choice([0.0, 0.0, 1.2])), depth - 2.0, rng)
            self._place(mesh, side, way, setback, WorldClass.BUILDING, shadow=True)

    def _house_lot(self, side: int, way: float, width: float) -> None:
        rng = self.rng
        house = float(min(rng.uniform(8.0, 11.0), width - 2.5))
        setback = layout.SIDEWALK_M + float(rng.uniform(3.5, 5.5))
        offset = way + float(rng.uniform(0.5, width - house - 0.5))
        self._place(house_mesh(house, 8.0, rng), side, offset, setback, WorldClass.BUILDING, shadow=True)
        edge = layout.SIDEWALK_M + 0.25
        kind = rng.random()
        if kind < 0.45:
            self._place(fence(width - 0.3, rng), side, way, edge, WorldClass.FENCE, shadow=True)
        elif kind < 0.8:
            self._place(hedge(width - 1.5, rng), side, way + 0.3, edge + 0.4, WorldClass.VEGETATION, shadow=True)
        if rng.random() < 0.7 * self.vegetation:
            spot = (way + float(rng.uniform(0.8, width - 0.8)), layout.SIDEWALK_M + float(rng.uniform(1.6, 3.0)))
            mesh = self.nursery.tree(0.62) if rng.random() < 0.5 else self.nursery.bush()
            self._place(mesh, side, *spot, WorldClass.VEGETATION, shadow=True)

    def _green(self, side: int, way: float, width: float, depth: float) -> None:
        rng = self.rng
        for _ in range(int(rng.poisson(0.28 * width * self.vegetation))):
            spot = (way + float(rng.uniform(1.0, width - 1.0)), layout.SIDEWALK_M + float(rng.uniform(1.5, depth - 2)))
            size = float(rng.uniform(0.8, 1.3))
            mesh = self.nursery.tree(size) if rng.random() < 0.6 else self.nursery.bush()
            self._place(mesh, side, *spot, WorldClass.VEGETATION, shadow=True)

    def _furniture(self, side: int) -> None:
        """Set lights, trees and signs in a row 0.6 m behind the kerb."""
        rng = self.rng
        _, _, _, length = self._frame(side)
        way, number = 9.0 + float(rng.uniform(0, 3)), int(rng.integers(0, 3))
        while way < length - 9.0:
            if number % 3 == 0:
                self._place(self.street_light, side, way, 0.55, WorldClass.POLE, shadow=True)
            elif rng.random() < 0.75 * self.vegetation:
                mesh = self.nursery.tree(float(rng.uniform(0.7, 1.0)))
                self._place(mesh, side, way, 0.75, WorldClass.VEGETATION, shadow=True)
            elif rng.random() < 0.5:
                post, plate = sign(rng)
                self._place(post, side, way, 0.5, WorldClass.POLE, shadow=True)
                self._place(plate, side, way, 0.5, WorldClass.TRAFFIC_SIGN, shadow=False)
            way += float(rng.uniform(6.5, 10.0))
            number += 1


def fence(length: float, rng: np.random.Generator) -> Mesh:
    """Build a picket fence along x."""
    color = ((0.62, 0.60, 0.56), (0.20, 0.12, 0.07), (0.30, 0.29, 0.27))[int(rng.integers(3))]
    quads = [box((0, -0.02, z), (length, 0.02, z + 0.09)) for z in (0.28, 0.78)]
    count = max(int(length / 0.24), 1)
    for x in np.arange(count) * length / count:
        front = np.array([[x, -0.03, 0.03], [x + 0.11, -0.03, 0.03], [x + 0.11, -0.03, 1.0], [x, -0.03, 1.0]])
        quads.append(np.stack([front, (front + np.array([0, 0.06, 0]))[::-1]]))
    return polygons(np.concatenate(quads), color)


def street_light() -> Mesh:
    """Build a mast with an arm over the street (−y)."""
    lamp = box((-0.12, -1.75, 6.88), (0.12, -1.15, 7.0))
    parts = [tube((0, 0, -0.1), (0, 0, 6.4), (0.085, 0.055)), tube((0, 0, 6.4), (0, -1.2, 6.95), (0.05, 0.04)), lamp]
    return polygons(np.concatenate(parts), STEEL)


def sign(rng: np.random.Generator) -> tuple[Mesh, Mesh]:
    """Build a post and its plate; the plate faces along the kerb, both ways."""
    post = polygons(tube((0, 0, -0.1), (0, 0, 2.75), (0.035, 0.035)), STEEL)
    kind = int(rng.integers(4))
    disc = circle(0.36, 0.0, 4 if kind == 3 else 12)[:, [2, 0, 1]]  # in the y–z plane, facing +x
    ring = disc + np.array([0.05, 0.0, 2.35])
    rim, face = ((0.5, 0.02, 0.02), (0.75, 0.75, 0.73)), (0.03, 0.12, 0.45)
    outer: Color = rim[0] if kind in (0, 1) else (0.75, 0.75, 0.73)
    inner: Color = rim[1] if kind in (0, 1) else (face if kind == 2 else (0.75, 0.48, 0.03))
    inset = (disc * 0.76) + np.array([0.06, 0.0, 2.35])
    quads = [polygons(_fan(ring), outer), polygons(_fan(inset), inner)]
    back = ring.copy()
    back[:, 0] = -0.05
    quads.append(polygons(_fan(back[::-1]), STEEL))
    sides = polygons(loft(np.stack([back, ring])), STEEL)
    return post, join([*quads, sides])


def _fan(ring: Array) -> Array:
    return np.stack([ring[[0, i, i + 1, i + 2]] for i in range(1, len(ring) - 1, 2)])


def _crossing(builder: SceneBuilder, town: Town, i: int, j: int, signals: Signals) -> None:
    """Put a signal at the near right corner of every approach that exists."""
    for approach, heading in enumerate(((0, 1), (-1, 0), (0, -1), (1, 0))):
        behind = (i - heading[0], j - heading[1])
        if not all(0 <= index <= town.blocks for index in behind):
            continue
        ahead, right = np.array(heading, dtype=float), np.array([heading[1], -heading[0]], dtype=float)
        middle = np.array([i, j]) * town.spacing_m
        foot = middle - ahead * (layout.STOP_LINE_M[0] - 0.6) + right * (layout.HALF_STREET_M + 0.5)
        yaw = float(np.arctan2(-ahead[1], -ahead[0]))  # faces the traffic that comes
        at = (float(foot[0]), float(foot[1]), KERB_M)
        mast = polygons(tube((0, 0, -0.1), (0, 0, 3.4), (0.07, 0.06)), STEEL)
        builder.add(mast.moved(at, yaw), WorldClass.POLE, shadow_height_m=KERB_M)
        case = polygons(box((0.02, -0.17, 2.5), (0.22, 0.17, 3.45)), HOUSING)
        builder.add(case.moved(at, yaw), WorldClass.TRAFFIC_LIGHT, shadow_height_m=KERB_M)
        for lamp, color in enumerate(LAMPS):
            disc = circle(0.115, 0.0, 8)[:, [2, 0, 1]] + np.array([0.235, 0.0, 3.28 - 0.3 * lamp])
            part = builder.add(polygons(_fan(disc), color, Material.GLOW).moved(at, yaw), WorldClass.TRAFFIC_LIGHT)
            signals.parts.append(part)
            signals.crossings.append((i, j))
            signals.approaches.append(approach)
            signals.lamps.append(lamp)


def _kerbs(builder: SceneBuilder, town: Town) -> None:
    """Add the upright face of every kerb: straight runs and corner arcs."""
    color: Color = (0.36, 0.35, 0.33)
    reach, arc = layout.CORNER_RADIUS_M, np.linspace(0, 0.5 * np.pi, 9)
    for i in range(-1, town.blocks + 1):
        for j in range(-1, town.blocks + 1):
            (x0, x1), (y0, y1) = (_clipped(town, index) for index in (i, j))
            corners = (
                (x1 - reach, y1 - reach),
                (x0 + reach, y1 - reach),
                (x0 + reach, y0 + reach),
                (x1 - reach, y0 + reach),
            )
            ring = [
                (cx + reach * np.cos(a), cy + reach * np.sin(a))
                for quarter, (cx, cy) in enumerate(corners)
                for a in arc + quarter * 0.5 * np.pi
            ]
            flat = np.concatenate([np.array(ring), np.zeros((len(ring), 1))], axis=1)
            faces = loft(np.stack([flat - np.array([0, 0, 0.02]), flat + np.array([0, 0, KERB_M])]))
            builder.add(polygons(faces, color), WorldClass.SIDEWALK)


def _clipped(town: Town, index: int) -> tuple[float, float]:
    low, high = town.block_bounds(index)
    far = 600.0
    return (low - far if index < 0 else low), (high + far if index >= town.blocks else high)


def _hills(builder: SceneBuilder, town: Town, rng: np.random.Generator) -> None:
    """Ring the town with two rows of wooded hills."""
    middle = town.extent_m / 2
    for distance, height, color in ((HILL_DISTANCE_M, 16.0, (0.05, 0.09, 0.03)), (560.0, 46.0, (0.06, 0.10, 0.05))):
        angle = np.linspace(0, 2 * np.pi, 73)[:-1]
        waves = sum(rng.uniform(0.3, 1.0) * np.sin(k * angle + rng.uniform(0, 6.3)) / k**0.5 for k in (2, 3, 5, 9, 14))
        top = height * (1.0 + 0.3 * np.asarray(waves))
        radius = distance + middle
        foot = np.stack([middle + radius * np.cos(angle), middle + radius * np.sin(angle), 0 * angle - 1.0], axis=1)
        crest = foot + np.stack([0 * angle, 0 * angle, np.maximum(top, 0.25 * height)], axis=1)
        inward = loft(np.stack([foot[::-1], crest[::-1]]))
        builder.add(polygons(inward, color, Material.FOLIAGE), WorldClass.VEGETATION)
