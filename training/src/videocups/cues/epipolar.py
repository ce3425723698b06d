"""What flow says of a pixel's place once the camera's own motion is known.

Lengths are in units of the camera's translation between the two frames: inverse depth 1 is a point one translation
away. Camera axes: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from videocups.cues.flow import FloatMap
from videocups_core.types import CameraModel

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Parallax:
    """Flow split by the epipolar geometry, (H, W) float32 each.

    ``inverse_depth``: of a static point with this flow, in 1/translation; negative behind infinity.
    ``noise``: error of the inverse depth per px of flow error. ``across_px``: flow across the epipolar line, signed.
    """

    inverse_depth: FloatMap
    noise: FloatMap
    across_px: FloatMap


def pinhole(camera: CameraModel) -> tuple[float, float, float, float]:
    """Return (fx, fy, cx, cy) of an undistorted camera; a distorted one is refused."""
    if any(camera.distortion):
        raise ValueError(
            f"ego-motion needs undistorted images, got a camera with {camera.distortion_model} distortion; "
            "make the clip with 'videocups ingest --undistort'"
        )
    return camera.k[0], camera.k[4], camera.k[2], camera.k[5]


def pixel_rays(camera: CameraModel) -> FloatMap:
    """Return (H, W, 3) float32 viewing rays with z = 1."""
    fx, fy, cx, cy = pinhole(camera)
    rays = np.ones((camera.height, camera.width, 3), np.float32)
    rays[..., 0] = (np.arange(camera.width, dtype=np.float32)[None, :] - np.float32(cx)) / np.float32(fx)
    rays[..., 1] = (np.arange(camera.height, dtype=np.float32)[:, None] - np.float32(cy)) / np.float32(fy)
    return rays


def parallax(
    flow_px: FloatMap, rotation: Matrix, direction: Matrix, camera: CameraModel, *, every: int = 1
) -> Parallax:
    """Split flow into inverse depth along the epipolar line and what lies across it.

    ``rotation`` (3, 3) and unit ``direction`` (3,): a static point X of the first camera is at R X + t in the second.
    ``every``: only of every so many pixels of every so many rows.
    """
    thin = np.ascontiguousarray(flow_px[::every, ::every])
    return Parallax(*_parallax(thin, *pinhole(camera), rotation, direction, every))


def static_flow_px(inverse_depth: FloatMap, rotation: Matrix, direction: Matrix, camera: CameraModel) -> FloatMap:
    """Return the (H, W, 2) flow of a static world with this inverse depth (H, W)."""
    flow: FloatMap = _static_flow(inverse_depth, *pinhole(camera), rotation, direction)
    return flow


def sampson_px(rotation: Matrix, direction: Matrix, first: Matrix, second: Matrix, focal_px: float) -> Matrix:
    """Return signed distances of correspondences from the epipolar geometry, about px; points (N, 3) with z = 1."""
    x, y, z = direction
    essential = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ rotation
    distance: Matrix = _sampson(np.ascontiguousarray(essential), first, second, focal_px * np.sqrt(2.0))
    return distance


@njit(cache=True)
def _sampson(e: Matrix, first: Matrix, second: Matrix, scale: float) -> Any:
    distance = np.empty(len(first), np.float64)
    for index in range(len(first)):
        x, y, u, v = first[index, 0], first[index, 1], second[index, 0], second[index, 1]
        a, b = e[0, 0] * x + e[0, 1] * y + e[0, 2], e[1, 0] * x + e[1, 1] * y + e[1, 2]
        c, d = e[0, 0] * u + e[1, 0] * v + e[2, 0], e[0, 1] * u + e[1, 1] * v + e[2, 1]
        error = u * a + v * b + e[2, 0] * x + e[2, 1] * y + e[2, 2]
        distance[index] = scale * error / np.sqrt(a * a + b * b + c * c + d * d + 1e-12)
    return distance


@njit(cache=True)
def _parallax(
    flow_px: FloatMap, fx: float, fy: float, cx: float, cy: float, rotation: Matrix, direction: Matrix, every: int
) -> Any:
    height, width = flow_px.shape[:2]
    inverse_depth = np.empty((height, width), np.float32)
    noise = np.empty((height, width), np.float32)
    across = np.empty((height, width), np.float32)
    tx, ty, tz = direction
    for row in range(height):
        y = (row * every - cy) / fy
        for column in range(width):
            x = (column * every - cx) / fx
            px = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2]
            py = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2]
            pz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2]
            seen_x, seen_y = x + flow_px[row, column, 0] / fx, y + flow_px[row, column, 1] / fy
            # the point is at (p + rho t) / z: two equations a·rho = b
            ax, ay = seen_x * tz - tx, seen_y * tz - ty
            bx, by = px - seen_x * pz, py - seen_y * pz
            length2 = ax * ax + ay * ay + 1e-12
            length = np.sqrt(length2)
            inverse_depth[row, column] = (ax * bx + ay * by) / length2
            noise[row, column] = 1.0 / (fx * length)
            across[row, column] = (ax * by - ay * bx) / length * fx
    return inverse_depth, noise, across


@njit(cache=True)
def _static_flow(
    inverse_depth: FloatMap, fx: float, fy: float, cx: float, cy: float, rotation: Matrix, direction: Matrix
) -> Any:
    height, width = inverse_depth.shape
    flow = np.empty((height, width, 2), np.float32)
    for row in range(height):
        y = (row - cy) / fy
        for column in range(width):
            x = (column - cx) / fx
            rho = inverse_depth[row, column]
            px = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] + rho * direction[0]
            py = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] + rho * direction[1]
            pz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] + rho * direction[2]
            pz = max(pz, 1e-2)  # at or behind the second camera: far out of the image
            flow[row, column, 0] = (px / pz - x) * fx
            flow[row, column, 1] = (py / pz - y) * fy
    return flow
