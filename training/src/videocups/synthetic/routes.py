"""Ways through the town: lanes along streets, arcs through crossings, straight walks on sidewalks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from videocups.synthetic import layout
from videocups.synthetic.layout import Town
from videocups.synthetic.mesh import Array

STEP_M = 0.5
HEADINGS: tuple[tuple[int, int], ...] = ((0, 1), (-1, 0), (0, -1), (1, 0))
"""North, west, south, east: an approach is the heading of those who come."""
SIDE_ACCELERATION = 1.9
BRAKING = 1.8
_SMOOTH_M = 4.0
_STRAIGHT, _LEFT, _RIGHT = 0, 1, 3


@dataclass(frozen=True)
class Stop:
    """A line to wait at: way in m, the crossing (i, j) and the approach whose green frees it."""

    way_m: float
    crossing: tuple[int, int]
    approach: int


@dataclass(frozen=True)
class Route:
    """Points (M, 2) every STEP_M, the heading and the speed limit there, and the lines to stop at."""

    points: Array
    heading_rad: Array
    limit_mps: Array
    stops: tuple[Stop, ...]


def lane_point(town: Town, crossing: tuple[int, int], approach: int, before_m: float, lane_m: float) -> Array:
    """Return the point on a lane ``before_m`` ahead of the middle of a crossing."""
    ahead = np.array(HEADINGS[approach], dtype=np.float64)
    right = np.array([ahead[1], -ahead[0]])
    return np.asarray(np.array(crossing) * town.spacing_m - ahead * before_m + right * lane_m)


def drive(
    town: Town,
    crossing: tuple[int, int],
    approach: int,
    before_m: float,
    length_m: float,
    lane_m: float,
    turns: list[int],
    rng: np.random.Generator,
) -> Route:
    """Follow a lane for ``length_m``; ``turns`` are taken first (0 straight, 1 left, 3 right), then chance decides."""
    points = [lane_point(town, crossing, approach, before_m, lane_m)]
    marks: list[tuple[Array, tuple[int, int], int]] = []
    planned = list(turns)
    length = 0.0
    while length < length_m:
        line = lane_point(town, crossing, approach, layout.STOP_LINE_M[1] + 0.4, lane_m)
        if not marks and np.dot(line - points[0], HEADINGS[approach]) < 0:
            pass  # it starts beyond the line
        else:
            marks.append((line, crossing, approach))
        turn = _choose(town, crossing, approach, planned.pop(0) if planned else None, lane_m, rng)
        points += _through(town, crossing, approach, turn, lane_m)
        approach = (approach + turn) % 4
        crossing = (crossing[0] + HEADINGS[approach][0], crossing[1] + HEADINGS[approach][1])
        points.append(lane_point(town, crossing, approach, town.spacing_m / 2, lane_m))
        length = float(np.linalg.norm(np.diff(np.array(points), axis=0), axis=1).sum())
    route_points = _even(np.array(points), length_m)
    stops = []
    for line, at, side in marks:
        nearest = np.linalg.norm(route_points - line, axis=1)
        if nearest.min() < 1.0:
            stops.append(Stop(float(np.argmin(nearest)) * STEP_M, at, side))
    return _route(route_points, tuple(stops))


def _choose(
    town: Town, crossing: tuple[int, int], approach: int, wish: int | None, lane_m: float, rng: np.random.Generator
) -> int:
    def open_way(turn: int) -> bool:
        step = HEADINGS[(approach + turn) % 4]
        return all(0 <= crossing[axis] + step[axis] <= town.blocks for axis in (0, 1))

    if wish is None:
        wish = _STRAIGHT if rng.random() < 0.72 else _RIGHT
    order = (wish, _STRAIGHT, _RIGHT, _LEFT)
    return next(turn for turn in order if open_way(turn))


def _through(town: Town, crossing: tuple[int, int], approach: int, turn: int, lane_m: float) -> list[Array]:
    """Return the points of a turn; nothing for going straight on."""
    if turn == _STRAIGHT:
        return []
    ahead = np.array(HEADINGS[approach], dtype=np.float64)
    left = np.array([-ahead[1], ahead[0]])
    sign = 1.0 if turn == _LEFT else -1.0
    radius = 9.5 if turn == _LEFT else 6.8
    before = radius - lane_m if turn == _LEFT else radius + lane_m
    middle = np.array(crossing) * town.spacing_m
    center = middle - ahead * before + left * (sign * radius - lane_m)
    angle = np.linspace(0.0, 0.5 * np.pi, 13)
    return [center + radius * (np.sin(a) * ahead - sign * np.cos(a) * left) for a in angle]


def walk(town: Town, start: Array, heading: int, length_m: float) -> Route:
    """Walk straight along a sidewalk and over every crosswalk on the way, waiting at each kerb."""
    ahead = np.array(HEADINGS[heading], dtype=np.float64)
    count = int(length_m / STEP_M) + 2
    points = start + ahead * (STEP_M * np.arange(count))[:, None]
    stops = []
    axis = 0 if heading % 2 else 1
    cross_axis = 1 - axis
    for index in range(town.blocks + 1):
        way = (index * town.spacing_m - start[axis]) * ahead[axis] - layout.HALF_STREET_M - 0.5
        if 0 < way < length_m:
            crossing = [0, 0]
            crossing[axis] = index
            crossing[cross_axis] = int(np.clip(np.rint(start[cross_axis] / town.spacing_m), 0, town.blocks))
            stops.append(Stop(float(way), (crossing[0], crossing[1]), heading))
    return _route(points, tuple(stops))


def _even(points: Array, length_m: float) -> Array:
    """Resample a polyline every STEP_M and round its corners."""
    dense = _resample(points, STEP_M)
    half = int(_SMOOTH_M / STEP_M / 2)
    for _ in range(2):
        padded = np.concatenate([2 * dense[:1] - dense[half:0:-1], dense, 2 * dense[-1:] - dense[-2 : -half - 2 : -1]])
        kernel = np.ones(2 * half + 1) / (2 * half + 1)
        dense = np.stack([np.convolve(padded[:, axis], kernel, mode="valid") for axis in (0, 1)], axis=1)
    dense = _resample(dense, STEP_M)
    return dense[: int(length_m / STEP_M) + 2]


def _resample(points: Array, step: float) -> Array:
    gaps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(gaps)])
    target = np.arange(0.0, way[-1], step)
    return np.stack([np.interp(target, way, points[:, axis]) for axis in (0, 1)], axis=1)


def _route(points: Array, stops: tuple[Stop, ...]) -> Route:
    tangent = np.gradient(points, axis=0)
    heading = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    curvature = np.abs(np.gradient(heading)) / STEP_M
    limit = np.sqrt(SIDE_ACCELERATION / np.maximum(curvature, 1e-4))
    for index in range(len(limit) - 2, -1, -1):
        limit[index] = min(limit[index], np.sqrt(limit[index + 1] ** 2 + 2 * BRAKING * STEP_M))
    return Route(points, heading, limit, stops)
