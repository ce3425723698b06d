"""Walls with rows of windows, doors and shop fronts, painted from texture coordinates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.lighting import Lighting

Floats = NDArray[np.float32]

BAY_M = 2.9
FLOOR_M = 3.15
FRAME = np.array([0.62, 0.60, 0.57], dtype=np.float32)
PANE = np.array([0.035, 0.045, 0.060], dtype=np.float32)
DOOR = np.array([[0.16, 0.08, 0.05], [0.05, 0.12, 0.09], [0.10, 0.10, 0.12], [0.25, 0.06, 0.05]], dtype=np.float32)


def paint_facade(
    wall: Floats, u: Floats, v: Floats, pixel: Floats, params: Floats, shaded: Floats, lighting: Lighting
) -> Floats:
    """Return the colour (P, 3) of wall pixels whose plain colour is ``wall``.

    ``u``, ``v`` in m from the wall's lower left corner; ``params`` (P, 4): width, height, style number, share of
    glass; ``shaded`` (P, 3): the light on the wall.
    """
    width, height, number, glass = params.T
    bays = np.maximum(np.rint(width / BAY_M), 1.0)
    floors = np.maximum(np.rint(height / FLOOR_M), 1.0)
    bay_m, floor_m = width / bays, height / floors
    bay, floor = np.floor(u / bay_m), np.floor(v / floor_m)
    across, up = u - (bay + 0.5) * bay_m, v - floor * floor_m
    chance = _random(bay, floor, number)
    ground = floor < 1
    shop = ground & (glass > 0.5)
    door = ground & ~shop & (np.mod(bay + np.floor(number * 7.0), 3.0) < 1.0)
    half = np.where(shop, 0.44 * bay_m, np.where(door, 0.55, np.minimum(0.19 + 0.17 * glass, 0.36) * bay_m))
    low = np.where(shop, 0.45, np.where(door, 0.05, 0.30 * floor_m))
    high = np.where(door, 2.15, 0.80 * floor_m)
    opening = _cover(np.abs(across), half, pixel) * _between(up, low, high, pixel)
    inner = _cover(np.abs(across), half - 0.07, pixel) * _between(up, low + 0.07, high - 0.07, pixel)
    cross_bar = np.where(shop | door, 0.0, _cover(np.abs(across), np.float32(0.025), pixel))
    sill = _cover(np.abs(across), half + 0.12, pixel) * _between(up, low - 0.10, low, pixel) * ~door
    cornice = _between(v, height - 0.35, height, pixel) + _between(v, floor_m - 0.12, floor_m + 0.10, pixel)
    sky = lighting.horizon * (0.10 + 0.34 * chance * np.clip(up / floor_m, 0.0, 1.0))[:, None]
    fill = np.where(door[:, None], DOOR[(number * 13.0).astype(np.int64) % len(DOOR)] * shaded, PANE + sky)
    # Some windows have a light curtain.
    curtain = (chance > 0.78) & ~shop & ~door & (np.abs(across) > 0.45 * half)
    fill = np.where(curtain[:, None], np.float32(0.42) * shaded, fill)
    frame = FRAME * shaded
    color = wall + (0.28 * np.clip(cornice + sill, 0.0, 1.0))[:, None] * (frame - wall)
    color += opening[:, None] * (frame - color)
    color += (inner * (1.0 - cross_bar))[:, None] * (fill - color)
    plinth = 0.35 * _between(v, np.float32(-1.0), np.float32(0.4), pixel) * ~door
    return np.asarray(color * (1.0 - plinth)[:, None], dtype=np.float32)


def _cover(distance: NDArray[Any], half: NDArray[Any] | np.float32, pixel: Floats) -> NDArray[Any]:
    return np.asarray(np.clip((half - distance) / pixel + 0.5, 0.0, 1.0))


def _between(
    position: NDArray[Any], low: NDArray[Any] | np.float32, high: NDArray[Any] | np.float32, pixel: Floats
) -> NDArray[Any]:
    inside = np.clip((position - low) / pixel + 0.5, 0.0, 1.0) * np.clip((high - position) / pixel + 0.5, 0.0, 1.0)
    return np.asarray(inside)


def _random(bay: Floats, floor: Floats, number: Floats) -> Floats:
    """Return a value in 0..1 per window that never changes."""
    mixed = bay.astype(np.int64) * 374761393 + floor.astype(np.int64) * 668265263
    mixed += (number * 4096.0).astype(np.int64) * 2147483647
    mixed = (mixed ^ (mixed >> 13)) * 1274126177
    return (((mixed ^ (mixed >> 16)) & 1023) / np.float32(1023)).astype(np.float32)
