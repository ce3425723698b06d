"""A scene whose flow is known by hand: a level road, a wall behind it, a camera 1.5 m above the road."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from videocups.cues.flow import FlowPair, visible
from videocups_core.types import CameraModel

HEIGHT, WIDTH, FOCAL = 96, 160, 120.0


def make_camera() -> CameraModel:
    return CameraModel(WIDTH, HEIGHT, (FOCAL, 0.0, 79.5, 0.0, FOCAL, 40.0, 0.0, 0.0, 1.0))


def scene_depth(camera_height: float = 1.5, wall_m: float = 30.0) -> np.ndarray:
    """Return (H, W) depth of a level road and a wall across it."""
    slope = (np.arange(HEIGHT) - 40.0)[:, None] / FOCAL
    with np.errstate(divide="ignore"):
        road = np.where(slope > 0, camera_height / slope, np.inf)
    return np.broadcast_to(np.minimum(road, wall_m), (HEIGHT, WIDTH)).copy()


def exact_flow(depth: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Return the flow of a static scene, point by point."""
    flow = np.zeros((HEIGHT, WIDTH, 2))
    for row in range(HEIGHT):
        for column in range(WIDTH):
            point = depth[row, column] * np.array([(column - 79.5) / FOCAL, (row - 40.0) / FOCAL, 1.0])
            there = rotation @ point + translation
            flow[row, column] = (
                there[0] / there[2] * FOCAL + 79.5 - column,
                there[1] / there[2] * FOCAL + 40.0 - row,
            )
    return flow.astype(np.float32)


def exact_pair(rotation: np.ndarray, translation: np.ndarray, noise_px: float = 0.0) -> FlowPair:
    """Return the flow both ways; the backward flow is found by looking up the forward one."""
    depth = scene_depth()
    forward = exact_flow(depth, rotation, translation)
    wall = 30.0 + translation[2]
    backward = exact_flow(scene_depth(wall_m=wall), rotation.T, -rotation.T @ translation)
    rng = np.random.default_rng(0)
    forward, backward = (
        (flow + rng.normal(0, noise_px, flow.shape)).astype(np.float32) for flow in (forward, backward)
    )
    return FlowPair(forward, backward, visible(forward, backward), visible(backward, forward))


@pytest.fixture(scope="session")
def road() -> SimpleNamespace:
    return SimpleNamespace(
        camera=make_camera(),
        depth=scene_depth(),
        exact_flow=exact_flow,
        exact_pair=exact_pair,
        turn=lambda *degrees: Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(),
    )
