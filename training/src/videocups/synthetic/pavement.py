"""The ground's paint and classes: asphalt, marks, crosswalks, kerbs, slabs and grass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic import layout
from videocups.synthetic.classes import WorldClass
from videocups.synthetic.layout import Town
from videocups.synthetic.lighting import Lighting
from videocups.synthetic.noise import Noise
from videocups.synthetic.view import View

Floats = NDArray[np.float32]

ASPHALT = np.array([0.105, 0.105, 0.112], dtype=np.float32)
MARK = np.array([0.72, 0.72, 0.68], dtype=np.float32)
SLAB = np.array([0.33, 0.315, 0.29], dtype=np.float32)
KERBSTONE = np.array([0.42, 0.41, 0.39], dtype=np.float32)
GRASS = np.array([0.105, 0.185, 0.045], dtype=np.float32)
DRY_GRASS = np.array([0.24, 0.225, 0.09], dtype=np.float32)
KERBSTONE_M = 0.22
SLAB_M = 1.2
TEXELS_PER_M = 28.0
UNDER_BODY = 0.55
"""How much of the sky's light a vehicle keeps from the ground beneath it."""


@dataclass(frozen=True)
class _Spot:
    """Ground pixels of one kind: position, signed kerb distance, and the size of a pixel there along x and y."""

    x: Floats
    y: Floats
    kerb: Floats
    size_x: Floats
    size_y: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> _Spot:
        return _Spot(self.x[chosen], self.y[chosen], self.kerb[chosen], self.size_x[chosen], self.size_y[chosen])


def paint_ground(
    view: View, town: Town, lighting: Lighting, noise: Noise, focal_px: float
) -> tuple[Floats, NDArray[np.uint8]]:
    """Return the colour (G, 3) and class (G,) of the pixels in ``view.ground``."""
    spot = _spots(view, focal_px)
    footprint = np.asarray(0.5 * TEXELS_PER_M * np.maximum(spot.size_x, spot.size_y), dtype=np.float32)
    fine = noise.sample(spot.x * TEXELS_PER_M, spot.y * TEXELS_PER_M, footprint)
    coarse = noise.sample(spot.x * 2.1 + 77.0, spot.y * 2.1, footprint * np.float32(2.1 / TEXELS_PER_M))
    color = np.empty((len(spot.x), 3), dtype=np.float32)
    classes = np.empty(len(spot.x), dtype=np.uint8)
    street = spot.kerb >= 0
    color[street], classes[street] = _street(spot[street], town, fine[street], coarse[street])
    block = ~street
    color[block], classes[block] = _block(spot[block], fine[block], coarse[block])
    up = lighting.shade(np.array([[0.0, 0.0, 1.0]]))[0]
    dark = view.shadow.reshape(-1)[view.ground, None]
    color *= up + dark * (lighting.ambient * np.float32(0.92) - up)
    color *= 1.0 - np.float32(UNDER_BODY) * view.contact.reshape(-1)[view.ground, None]
    return color, classes


def _spots(view: View, focal_px: float) -> _Spot:
    x, y = view.ground_xy
    to_x, to_y = x - np.float32(view.camera_to_world[0, 3]), y - np.float32(view.camera_to_world[1, 3])
    distance = np.hypot(to_x, to_y)
    across = distance / np.float32(focal_px)
    along = across * np.maximum(distance / np.float32(view.camera_to_world[2, 3]), 1.0)
    along_x, along_y = np.abs(to_x) / distance, np.abs(to_y) / distance
    return _Spot(x, y, view.kerb, across * along_y + along * along_x, across * along_x + along * along_y)


def _stripe(offset: Floats, half_width: float, pixel: Floats) -> Floats:
    """Return how much of a pixel lies within ``half_width`` of a line."""
    inside = np.clip((half_width - np.abs(offset)) / pixel + 0.5, 0.0, 1.0)
    return np.asarray(np.minimum(inside, 2 * half_width / pixel))


def _band(position: Floats, low: float, high: float, pixel: Floats) -> Floats:
    return _stripe(position - np.float32((low + high) / 2), (high - low) / 2, pixel)


def _cycle(position: Floats, period: float) -> Floats:
    """Return the distance to the nearest multiple of ``period``, signed."""
    return np.asarray(position - np.float32(period) * np.rint(position / np.float32(period)))


def _street(spot: _Spot, town: Town, fine: Floats, coarse: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    from_x, from_y = town.from_street(spot.x), town.from_street(spot.y)
    north = np.abs(from_x) < np.abs(from_y)  # this street runs along y
    across, along = np.where(north, from_x, from_y), np.abs(np.where(north, from_y, from_x))
    pixel_across = np.where(north, spot.size_x, spot.size_y)
    pixel_along = np.where(north, spot.size_y, spot.size_x)
    # Traffic keeps right and runs towards the crossing on one side of the centre line only.
    sign = np.where(north, np.sign(from_y), -np.sign(from_x))
    incoming = across * -sign
    lines = _lane_lines(across, along, pixel_across, pixel_along)
    stop = _band(along, *layout.STOP_LINE_M, pixel_along) * _band(incoming, 0.1, layout.BIKE_LINE_M, pixel_across)
    lines = np.maximum(lines, stop)
    inside = np.abs(across) < layout.HALF_STREET_M - 0.3
    crosswalk = (along > layout.CROSSWALK_M[0]) & (along < layout.CROSSWALK_M[1]) & inside
    zebra = _stripe(_cycle(across, 1.1), 0.28, pixel_across) * _band(along, *layout.CROSSWALK_M, pixel_along) * inside
    worn = np.clip(0.88 + 0.25 * coarse, 0.0, 1.0)
    # Tyres polish the middle of the wheel tracks, oil darkens the middle of the lane.
    tracks = 0.05 * np.cos((np.abs(across) - layout.DRIVE_LANE_M) * np.float32(2 * np.pi / 1.5))
    gutter = -0.18 * np.clip(1.0 - spot.kerb / 0.5, 0.0, 1.0)
    grain = 1.0 + 0.20 * fine + 0.22 * coarse + gutter - np.where(along > layout.HALF_STREET_M, tracks, 0.0)
    color = ASPHALT * grain[:, None]
    paint = (np.maximum(lines, zebra) * worn)[:, None]
    color += paint * (MARK * (1.0 + 0.08 * fine[:, None]) - color)
    classes = np.where(lines > 0.5, WorldClass.LANE_LINE, WorldClass.ROAD)
    return color, np.where(crosswalk, WorldClass.CROSSWALK, classes).astype(np.uint8)


def _lane_lines(across: Floats, along: Floats, pixel_across: Floats, pixel_along: Floats) -> Floats:
    dash = _stripe(_cycle(along, 6.0), 1.5, pixel_along)
    center = _stripe(across, 0.08, pixel_across) * np.where(along < 24.0, 1.0, dash)
    bike = _stripe(np.abs(across) - np.float32(layout.BIKE_LINE_M), 0.07, pixel_across)
    short_dash = _stripe(_cycle(along, 2.0), 0.6, pixel_along)
    parking = _stripe(np.abs(across) - np.float32(layout.PARKING_LINE_M), 0.06, pixel_across) * short_dash
    open_road = np.clip((along - layout.STOP_LINE_M[0]) / pixel_along + 0.5, 0.0, 1.0)
    return np.asarray(np.maximum(np.maximum(center, bike), parking) * open_road)


def _block(spot: _Spot, fine: Floats, coarse: Floats) -> tuple[Floats, NDArray[np.uint8]]:
    inward = -spot.kerb
    pixel = np.maximum(spot.size_x, spot.size_y)
    joints = np.maximum(
        _stripe(_cycle(spot.x, SLAB_M), 0.02, spot.size_x), _stripe(_cycle(spot.y, SLAB_M), 0.02, spot.size_y)
    )
    slab = SLAB * (1.0 + 0.16 * fine + 0.16 * coarse - 0.45 * joints)[:, None]
    dry = np.clip(0.35 + 0.9 * coarse, 0.0, 1.0)[:, None]
    grass = (GRASS + dry * (DRY_GRASS - GRASS) * 0.6) * (1.0 + 0.55 * fine)[:, None]
    stone = KERBSTONE * (1.0 + 0.15 * fine)[:, None]
    on_stone = np.clip((KERBSTONE_M - inward) / pixel + 0.5, 0.0, 1.0)[:, None]
    on_grass = np.clip((inward - layout.SIDEWALK_M) / pixel + 0.5, 0.0, 1.0)[:, None]
    color = slab + on_stone * (stone - slab)
    painted = np.asarray(color + on_grass * (grass - color), dtype=np.float32)
    return painted, np.where(inward > layout.SIDEWALK_M, WorldClass.TERRAIN, WorldClass.SIDEWALK).astype(np.uint8)
