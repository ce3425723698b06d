"""Objects that float above the ground or sink below it: traffic that moves along the camera's own way.

A car that comes towards the camera looks, pixel by pixel, like a nearer static thing, and one ahead like a farther one:
its flow lies on the epipolar line. But its wheels stand on the ground at a place that the image shows, and there the
ground has another depth. So pixels of like apparent depth are grouped, and each group is compared with the ground at
its base.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.cues.epipolar import Matrix, Parallax, pinhole
from videocups.cues.flow import FloatMap
from videocups.cues.ground_plane import Ground
from videocups.instances.boxes import label_boxes
from videocups.instances.region_growing import RegionGrowingConfig, grow_regions
from videocups_core.config import setting
from videocups_core.types import CameraModel

ENOUGH_PX = 640
"""objects on the road are looked for at this width at least; wider images are thinned"""


@dataclass(frozen=True)
class FloatingConfig:
    """Which groups count as objects on the ground, and how far off it they must seem."""

    # pixels this near (relative inverse depth) belong to one group
    depth_tolerance: float = setting(0.05, "pixels this near in relative inverse depth are one group", minimum=0.001)
    # apparent depth this near the ground's is ground
    ground_tolerance: float = setting(0.08, "relative inverse depth this near the ground's is ground", minimum=0.0)
    # sizes of objects in camera heights
    max_height: float = setting(2.5, "objects are at most this high, in camera heights", minimum=0.1)
    max_width: float = setting(6.0, "objects are at most this wide, in camera heights", minimum=0.1)
    # groups that fill less of the image are left out
    min_area_share: float = setting(0.00045, "groups that fill less of the image are left out", minimum=0.0)
    # an object fills at least this share of its box
    min_fill: float = setting(0.3, "an object fills this share of its box", minimum=0.0, maximum=1.0)
    # relative spread of depth within an object
    max_spread: float = setting(0.25, "relative spread of inverse depth within an object", minimum=0.0)
    # below an object's lower edge lies ground, at this share of its columns
    min_contact: float = setting(0.4, "share of the lower edge that has ground below it", minimum=0.0, maximum=1.0)
    # expected relative error of the ground, expected error of flow
    ground_noise: float = setting(0.06, "expected relative error of the ground's inverse depth", minimum=0.001)
    flow_noise_px: float = setting(0.35, "expected error of flow", minimum=0.01)


def floating_surprise(
    seen: Parallax,
    visible: NDArray[np.bool_],
    ground: Ground,
    ground_map: FloatMap,
    camera: CameraModel,
    config: FloatingConfig | None = None,
) -> FloatMap:
    """Return (H, W): how far groups of pixels seem above (> 0) or below (< 0) the ground, over the expected error."""
    config, shape = config or FloatingConfig(), visible.shape
    every = max(1, shape[1] // ENOUGH_PX)
    camera, part = _thinned(camera, every), (slice(None, None, every), slice(None, None, every))
    rho, noise, below = seen.inverse_depth[part], config.flow_noise_px * seen.noise[part], ground_map[part]
    is_ground = np.abs(rho - below) < np.maximum(2 * noise, config.ground_tolerance * below)
    is_ground &= (np.abs(seen.across_px[part]) < 0.8) & (below > 0)
    candidates = visible[part] & ~is_ground & (rho > -3 * noise)
    growing = RegionGrowingConfig(depth_tolerance=config.depth_tolerance, flow_tolerance=0.1, radius_px=2)
    depth = np.maximum(rho, 1e-5).astype(np.float32)
    groups = grow_regions(candidates.astype(np.float32), depth, np.ones((*rho.shape, 2), np.float32), growing)
    surprise = np.zeros(rho.shape, np.float32)
    for number, _, box in label_boxes(groups, round(config.min_area_share * groups.size)):
        inside = groups[box] == number
        surprise[box][inside] = _group_surprise(inside, box, rho, noise, is_ground, ground.normal, camera, config)
    if every > 1:
        surprise = surprise.repeat(every, axis=0).repeat(every, axis=1)[: shape[0], : shape[1]]
    return surprise


def _thinned(camera: CameraModel, every: int) -> CameraModel:
    """Return the camera of every so many pixels of every so many rows."""
    fx, fy, cx, cy = (value / every for value in pinhole(camera))
    k = (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
    return CameraModel(-(-camera.width // every), -(-camera.height // every), k)


def _group_surprise(
    inside: NDArray[np.bool_],
    box: tuple[slice, slice],
    rho: FloatMap,
    noise: FloatMap,
    is_ground: NDArray[np.bool_],
    normal: Matrix,
    camera: CameraModel,
    config: FloatingConfig,
) -> float:
    fx, fy, cx, cy = pinhole(camera)
    height, width = inside.shape
    if np.count_nonzero(inside) < config.min_fill * inside.size:
        return 0.0
    columns = np.flatnonzero(inside.any(axis=0))
    lowest = height - 1 - inside[::-1, columns].argmax(axis=0)
    base = float(np.percentile(lowest, 85)) + box[0].start
    if base > camera.height - 4:
        return 0.0
    edge = lowest >= np.percentile(lowest, 50)
    below = np.minimum(lowest + box[0].start + 3, camera.height - 1)
    if is_ground[below, columns + box[1].start][edge].mean() < config.min_contact:
        return 0.0
    depths, doubt = rho[box][inside], float(np.median(noise[box][inside]))
    low, median, high = np.percentile(depths, (15, 50, 85))
    apparent = max(float(median), 1e-4)
    in_heights = float(np.linalg.norm(normal)) / apparent  # of the camera, per unit of slope
    if (
        high - low > config.max_spread * apparent + 2 * doubt
        or height / fy * in_heights > config.max_height
        or width / fx * in_heights > config.max_width
    ):
        return 0.0
    middle = 0.5 * (box[1].start + box[1].stop)
    at_base = float(normal @ np.array([(middle - cx) / fx, (base - cy) / fy, 1.0]))
    if at_base <= 0:
        return 0.0
    group_noise = doubt / np.sqrt(max(1.0, min(len(depths), 200) / 40))
    error = np.hypot(group_noise, config.ground_noise * at_base + abs(normal[1]) * 1.5 / fy)
    return float((median - at_base) / error)
