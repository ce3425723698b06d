"""Exact optical flow and visibility: where each pixel's material point goes, and whether it is still seen there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.synthetic.scene import STATIC, Scene
from videocups.synthetic.view import SKY, View, invert_pose, pixel_rays
from videocups_core.types import CameraModel

Floats = NDArray[np.float32]

DEPTH_TOLERANCE = 0.01
"""A point is seen where the surface in its pixel lies at its depth, within this share."""
FARTHEST_PX = 1e5


def flow_between(scene: Scene, camera: CameraModel, here: View, there: View) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the flow (H, W, 2) in px from ``here`` to ``there`` and which pixels are not visible there.

    Each pixel follows its own rigid part; the sky is infinitely far. A point that falls behind the camera has flow NaN
    and counts as occluded.
    """
    rays = pixel_rays(camera)
    move = (invert_pose(there.camera_to_world) @ here.camera_to_world)[:3]
    inverse = here.inverse_depth
    moved = [_moved(move[i].astype(np.float32), rays.x, rays.y, inverse) for i in range(3)]
    part = here.part[here.surface]
    dynamic = np.flatnonzero((part >= 0) & (scene.pose_slot[part] != STATIC))
    if len(dynamic):
        table = _part_moves(here, there)[part.reshape(-1)[dynamic]]
        row, column = np.divmod(dynamic, camera.width)
        x, y, near = rays.x[0, column], rays.y[row, 0], inverse.reshape(-1)[dynamic]
        for i in range(3):
            moved[i].reshape(-1)[dynamic] = (
                table[:, i, 0] * x + table[:, i, 1] * y + table[:, i, 2] + table[:, i, 3] * near
            )
    ahead = moved[2] > 1e-3
    scale = np.asarray(1.0 / np.where(ahead, moved[2], 1.0), dtype=np.float32)
    target_x = np.float32(camera.fx) * (moved[0] * scale) + np.float32(camera.cx)
    target_y = np.float32(camera.fy) * (moved[1] * scale) + np.float32(camera.cy)
    ahead &= (np.abs(target_x) < FARTHEST_PX) & (np.abs(target_y) < FARTHEST_PX)
    seen = _seen(there, target_x, target_y, inverse * scale, ahead, here.surface == SKY)
    start_x, start_y = np.arange(camera.width, dtype=np.float32), np.arange(camera.height, dtype=np.float32)[:, None]
    flow = np.stack([target_x - start_x, target_y - start_y], axis=2)
    flow[~ahead] = np.nan
    return np.asarray(flow, dtype=np.float32), ~seen


def _moved(row: Floats, x: Floats, y: Floats, inverse: Floats) -> Floats:
    """Return one coordinate of the moved points, divided by their old depth."""
    return np.asarray((row[0] * x + (row[1] * y + row[2])) + row[3] * inverse)


def _part_moves(here: View, there: View) -> Floats:
    """Return camera-to-camera transforms (N, 3, 4) of all parts."""
    turn = np.matmul(there.camera_from_part[:, :, :3], here.camera_from_part[:, :, :3].transpose(0, 2, 1))
    shift = there.camera_from_part[:, :, 3:] - np.matmul(turn, here.camera_from_part[:, :, 3:])
    return np.concatenate([turn, shift], axis=2).astype(np.float32)


def _seen(
    there: View, x: Floats, y: Floats, inverse: Floats, ahead: NDArray[np.bool_], sky: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Compare the moved points' depth with the surface drawn in the pixel they fall into, on its exact plane."""
    height, width = there.surface.shape
    column, row = np.rint(x), np.rint(y)
    inside = ahead & (column >= 0) & (column < width) & (row >= 0) & (row < height)
    target = (np.where(inside, row, 0) * width + np.where(inside, column, 0)).astype(np.int64)
    surface = there.surface.reshape(-1)[target]
    plane = there.plane.astype(np.float32)
    drawn = there.inverse_depth.reshape(-1)[target]
    drawn = drawn + plane[:, 0][surface] * (x - column) + plane[:, 1][surface] * (y - row)
    same = np.abs(drawn - inverse) <= DEPTH_TOLERANCE * inverse
    return np.asarray(inside & np.where(sky, surface == SKY, same & (surface != SKY)))


def depth_of(view: View) -> Floats:
    """Return depth along the optical axis in m, 0 in the sky."""
    inverse = view.inverse_depth
    return np.asarray(np.where(inverse > 0, 1.0 / np.maximum(inverse, 1e-6), 0.0), dtype=np.float32)
