"""Pedestrians and cyclists: rigid parts hung on a walking or riding figure. x is forward, y left, z up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.mesh import (
    Array,
    Color,
    Material,
    Mesh,
    chamfered,
    circle,
    closed_loft,
    join,
    polygons,
    sphere,
    tube,
)

SKIN: tuple[Color, ...] = ((0.55, 0.33, 0.22), (0.38, 0.21, 0.13), (0.20, 0.10, 0.06), (0.62, 0.42, 0.30))
HAIR: tuple[Color, ...] = ((0.02, 0.015, 0.012), (0.10, 0.05, 0.025), (0.35, 0.24, 0.10), (0.30, 0.30, 0.30))
SHIRTS: tuple[Color, ...] = (
    (0.45, 0.05, 0.04),
    (0.05, 0.13, 0.35),
    (0.60, 0.58, 0.52),
    (0.04, 0.05, 0.06),
    (0.07, 0.26, 0.14),
    (0.55, 0.38, 0.06),
    (0.26, 0.10, 0.28),
    (0.20, 0.33, 0.42),
)
TROUSERS: tuple[Color, ...] = ((0.03, 0.05, 0.12), (0.03, 0.03, 0.035), (0.22, 0.18, 0.12), (0.10, 0.10, 0.11))
SHOE: Color = (0.03, 0.025, 0.02)
HIP_M, KNEE_M = 0.88, 0.46
SHOULDER_M = 1.38
STRIDE_M = 1.45
"""Way walked in one whole cycle, left and right step."""
CRANK_M, GEAR_M = 0.16, 5.2
SEAT = np.array([-0.20, 0.0, 0.95])
CRANK = np.array([0.0, 0.0, 0.30])

# Joints of a walker's parts: body, thighs, shins, arms; the same order everywhere.
WALKER_PARTS = 7
RIDER_PARTS = 5


@dataclass(frozen=True)
class Figure:
    """Meshes of the parts in their own joint coordinates, and the figure's size against a 1.75 m adult."""

    meshes: tuple[Mesh, ...]
    scale: float


def draw_walker(rng: np.random.Generator) -> Figure:
    """Draw an adult or a child with clothes."""
    scale = float(rng.uniform(0.66, 0.8)) if rng.random() < 0.12 else float(rng.uniform(0.93, 1.07))
    look = _Look(rng)
    body = join([*_torso(look, lean=0.0), *_head(look, np.array([0.02, 0.0, 1.62]))])
    if rng.random() < 0.3:
        pack = closed_loft(np.stack([chamfered(-0.32, -0.12, -0.15, 0.15, z, 0.04) for z in (1.02, 1.42)]))
        body = join([body, polygons(pack, SHIRTS[int(rng.integers(len(SHIRTS)))])])
    thigh, shin = _leg(look)
    arm = join(
        [
            polygons(tube((0, 0, 0), (0.02, 0, -0.46), (0.058, 0.042)), look.shirt),
            polygons(sphere((0.045, 0.04, 0.06), (0.03, 0, -0.50), 0), look.skin),
        ]
    )
    meshes = (body, thigh, thigh, shin, shin, arm, arm)
    return Figure(tuple(mesh.scaled(scale) for mesh in meshes), scale)


def draw_rider(rng: np.random.Generator) -> Figure:
    """Draw a cyclist: the bicycle with the rider's body is one rigid part, thighs and shins move."""
    look = _Look(rng)
    frame: Color = SHIRTS[int(rng.integers(len(SHIRTS)))]
    tubes = [((-0.52, 0, 0.34), (0, 0, 0.30)), ((0, 0, 0.30), (-0.18, 0, 0.86)), ((-0.52, 0, 0.34), (-0.15, 0, 0.74))]
    tubes += [((0, 0, 0.30), (0.42, 0, 0.80)), ((-0.15, 0, 0.76), (0.40, 0, 0.82)), ((0.38, 0, 0.98), (0.56, 0, 0.34))]
    bars = [((0.36, -0.26, 1.0), (0.36, 0.26, 1.0))]
    meshes = [polygons(tube(a, b, (0.024, 0.024), 4), frame) for a, b in tubes]
    meshes += [polygons(tube(a, b, (0.018, 0.018), 4), SHOE) for a, b in bars]
    meshes += [_bicycle_wheel(-0.52), _bicycle_wheel(0.56)]
    meshes.append(
        polygons(closed_loft(np.stack([chamfered(-0.32, -0.06, -0.08, 0.08, z, 0.04) for z in (0.88, 0.94)])), SHOE)
    )
    meshes += [mesh.moved((SEAT[0], 0, SEAT[2] - HIP_M)) for mesh in _torso(look, lean=0.55)]
    meshes += _head(look, np.array([0.14, 0.0, 1.67]))
    for y in (-0.2, 0.2):
        meshes.append(polygons(tube((0.06, y, 1.42), (0.34, y * 1.1, 1.02), (0.052, 0.038)), look.shirt))
    thigh, shin = _leg(look)
    return Figure((join(meshes), thigh, thigh, shin, shin), 1.0)


class _Look:
    """Colours of one person."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.skin = SKIN[int(rng.integers(len(SKIN)))]
        self.hair = HAIR[int(rng.integers(len(HAIR)))]
        self.shirt = SHIRTS[int(rng.integers(len(SHIRTS)))]
        self.trousers = TROUSERS[int(rng.integers(len(TROUSERS)))]


def _torso(look: _Look, lean: float) -> list[Mesh]:
    levels = ((0.82, 0.10, 0.15), (0.98, 0.115, 0.165), (1.22, 0.12, 0.185), (1.38, 0.105, 0.20), (1.45, 0.06, 0.09))
    rings = np.stack([chamfered(-dx, dx, -dy, dy, z, 0.4 * dx) for z, dx, dy in levels])
    turn = np.array([[np.cos(lean), 0, np.sin(lean)], [0, 1, 0], [-np.sin(lean), 0, np.cos(lean)]])
    pivot = np.array([0.0, 0.0, HIP_M])
    rings = (rings - pivot) @ turn.T + pivot
    hips, chest = loft_color(rings[:2], look.trousers), loft_color(rings[1:], look.shirt)
    return [hips, chest]


def loft_color(rings: Array, color: Color) -> Mesh:
    """Return a closed loft in one colour."""
    return polygons(closed_loft(rings), color)


def _head(look: _Look, center: Array) -> list[Mesh]:
    x, y, z = center
    neck = tube((x - 0.01, y, z - 0.2), (x - 0.005, y, z - 0.06), (0.05, 0.05))
    face = sphere((0.095, 0.082, 0.12), center, 1)
    hair = sphere((0.105, 0.094, 0.10), (x - 0.02, y, z + 0.045), 1)
    return [polygons(neck, look.skin), polygons(face, look.skin), polygons(hair, look.hair)]


def _leg(look: _Look) -> tuple[Mesh, Mesh]:
    """Return thigh and shin, hanging from their joints."""
    thigh = polygons(tube((0, 0, 0.04), (0, 0, -(HIP_M - KNEE_M) - 0.02), (0.085, 0.06), 6), look.trousers)
    lower = polygons(tube((0, 0, 0.02), (0, 0, -KNEE_M + 0.07), (0.06, 0.045), 6), look.trousers)
    foot = closed_loft(
        np.stack(
            [
                chamfered(-0.07, 0.19 - i, -0.045 + i / 2, 0.045 - i / 2, z, 0.03)
                for z, i in ((-KNEE_M, 0.0), (-KNEE_M + 0.085, 0.05))
            ]
        )
    )
    return thigh, join([lower, polygons(foot, SHOE)])


def _bicycle_wheel(x: float) -> Mesh:
    sides = 14
    to_side = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    rings = []
    for radius, level in ((0.345, -0.02), (0.345, 0.02), (0.30, 0.015), (0.30, -0.015), (0.345, -0.02)):
        rings.append(circle(radius, level, sides) @ to_side + np.array([x, 0.0, 0.345]))
    low, high = np.stack(rings[:-1]), np.stack(rings[1:])
    quads = np.stack([low, np.roll(low, -1, axis=1), np.roll(high, -1, axis=1), high], axis=2).reshape(-1, 4, 3)
    return polygons(quads, (0.03, 0.03, 0.03), Material.MATTE)


def walker_joints(way_m: NDArray[np.float64], vigor: NDArray[np.float64], scale: NDArray[np.float64]) -> Array:
    """Return the poses (M, 7, 3, 4) of the parts of M walkers in their own frame.

    ``way_m`` walked so far, ``vigor`` 0 standing .. 1 walking.
    """
    phase = 2 * np.pi * way_m / (STRIDE_M * scale)
    poses = np.zeros((len(way_m), WALKER_PARTS, 3, 4))
    poses[:, 0, :, :3] = np.eye(3)
    poses[:, 0, 2, 3] = scale * 0.018 * vigor * (np.cos(2 * phase) - 1.0)
    for side, (sign, shift) in enumerate(((1, 0.0), (-1, np.pi))):
        swing = vigor * 0.46 * np.sin(phase + shift)
        knee = vigor * (0.12 + 0.75 * np.clip(np.cos(phase + shift), 0.0, 1.0) ** 2)
        hip = np.stack([0 * scale, sign * 0.085 * scale, HIP_M * scale + poses[:, 0, 2, 3]], axis=1)
        _hang(poses[:, 1 + side], hip, swing)
        joint = hip + (HIP_M - KNEE_M) * scale[:, None] * _down(swing)
        _hang(poses[:, 3 + side], joint, swing - knee)
        shoulder = np.stack([0 * scale, sign * 0.235 * scale, SHOULDER_M * scale + poses[:, 0, 2, 3]], axis=1)
        _hang(poses[:, 5 + side], shoulder, -0.8 * swing)
    return poses


def rider_joints(way_m: NDArray[np.float64]) -> Array:
    """Return the poses (M, 5, 3, 4) of the parts of M cyclists in their own frame."""
    poses = np.zeros((len(way_m), RIDER_PARTS, 3, 4))
    poses[:, 0, :, :3] = np.eye(3)
    upper, lower = HIP_M - KNEE_M, KNEE_M - 0.05
    for side, (sign, shift) in enumerate(((1, 0.0), (-1, np.pi))):
        turn = 2 * np.pi * way_m / GEAR_M + shift
        pedal = np.stack([CRANK_M * np.cos(turn), 0 * turn, -CRANK_M * np.sin(turn)], axis=1) + CRANK
        reach = pedal - SEAT
        distance = np.clip(np.hypot(reach[:, 0], reach[:, 2]), 0.1, upper + lower - 1e-3)
        toward = np.arctan2(reach[:, 0], -reach[:, 2])
        bend = np.arccos((upper**2 + distance**2 - lower**2) / (2 * upper * distance))
        fold = np.arccos((upper**2 + lower**2 - distance**2) / (2 * upper * lower))
        swing = toward + bend
        hip = np.tile(SEAT + np.array([0, sign * 0.09, 0]), (len(way_m), 1))
        _hang(poses[:, 1 + side], hip, swing)
        _hang(poses[:, 3 + side], hip + upper * _down(swing), swing - (np.pi - fold))
    return poses


def _down(swing: NDArray[np.float64]) -> Array:
    """Return where a limb that swings forward by ``swing`` points."""
    return np.stack([np.sin(swing), 0 * swing, -np.cos(swing)], axis=1)


def _hang(pose: Array, joint: Array, swing: NDArray[np.float64]) -> None:
    """Fill (M, 3, 4) with limbs that hang from ``joint``, swung forward about y."""
    c, s = np.cos(swing), np.sin(swing)
    pose[:, 0, 0], pose[:, 0, 2] = c, -s
    pose[:, 1, 1] = 1.0
    pose[:, 2, 0], pose[:, 2, 2] = s, c
    pose[:, :, 3] = joint
