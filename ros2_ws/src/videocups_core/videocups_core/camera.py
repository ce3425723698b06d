"""Cameras under image operations: scaled, cropped, turned, undistorted; and from what a CameraInfo carries.

Pixel (0, 0) is the centre of the first pixel, as in OpenCV, so scaling moves the principal point by half a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups_core.types import CameraModel

_MODEL_NAMES = {"fisheye": "equidistant", "radtan": "plumb_bob", "": "plumb_bob", "none": "plumb_bob"}
_ZOOM_STEPS = np.geomspace(8.0, 0.5, 279)  # 1 % apart
_FISHEYE_ZOOM = 1.0  # a fisheye always has more to show at its border; its centre keeps its resolution


def camera_from_ros(
    *,
    width: int,
    height: int,
    k: Sequence[float],
    d: Sequence[float] = (),
    distortion_model: str = "",
    binning: tuple[int, int] = (1, 1),
    roi_xywh: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> CameraModel | None:
    """Return the camera of the fields of a sensor_msgs/CameraInfo; None where it says "uncalibrated" (K all zero).

    ``roi_xywh`` is in full-resolution pixels, all zero for the whole image; ``binning`` 0 means 1. NaN, negative
    focal lengths and distortion models nobody here can undo raise ValueError.
    """
    if len(k) != 9:
        raise ValueError(f"K of a CameraInfo must hold 9 values, got {len(k)}")
    if not any(value != 0 for value in k):
        return None
    model, values = _known_distortion(distortion_model, tuple(float(value) for value in d))
    matrix = [float(value) for value in k]
    camera = CameraModel(int(width), int(height), _nine(matrix), model, values)
    x, y, roi_width, roi_height = roi_xywh
    if roi_width and roi_height:
        camera = crop_camera(camera, x, y, roi_width, roi_height)
    step_x, step_y = max(int(binning[0]), 1), max(int(binning[1]), 1)
    return scale_camera(camera, camera.width // step_x, camera.height // step_y) if step_x * step_y > 1 else camera


def scale_camera(camera: CameraModel, width: int, height: int) -> CameraModel:
    """Return the camera of the same image resized to ``width`` × ``height`` px; distortion does not change."""
    if width < 1 or height < 1:
        raise ValueError(f"the new size must be at least 1×1 px, got {width}×{height}")
    sx, sy = width / camera.width, height / camera.height
    fx, skew, cx, _, fy, cy, *_ = camera.k
    k = (fx * sx, skew * sx, (cx + 0.5) * sx - 0.5, 0.0, fy * sy, (cy + 0.5) * sy - 0.5, 0.0, 0.0, 1.0)
    return replace(camera, width=width, height=height, k=k)


def crop_camera(camera: CameraModel, x: int, y: int, width: int, height: int) -> CameraModel:
    """Return the camera of the part whose upper left pixel is (x, y)."""
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > camera.width or y + height > camera.height:
        raise ValueError(
            f"the crop {width}×{height} at ({x}, {y}) must lie inside the {camera.width}×{camera.height} image"
        )
    fx, skew, cx, _, fy, cy, *_ = camera.k
    return replace(camera, width=width, height=height, k=(fx, skew, cx - x, 0.0, fy, cy - y, 0.0, 0.0, 1.0))


def rotate_camera(camera: CameraModel, clockwise_deg: int) -> CameraModel:
    """Return the camera of the image turned clockwise by 0, 90, 180 or 270 degrees (tangential distortion too)."""
    for _ in range(_quarter_turns(clockwise_deg)):
        camera = _quarter_turn(camera)
    return camera


def rotate_image(image: NDArray[Any], clockwise_deg: int) -> NDArray[Any]:
    """Return a (H, W, …) image turned clockwise by 0, 90, 180 or 270 degrees, contiguous."""
    return np.ascontiguousarray(np.rot90(image, -_quarter_turns(clockwise_deg)))


def undistort(rgb: NDArray[np.uint8], camera: CameraModel) -> tuple[NDArray[np.uint8], CameraModel]:
    """Return the image as a pinhole camera of the same size sees it, and that camera.

    The new focal length is the shortest that leaves no pixel without content, so nothing black is ever added.
    An undistorted camera comes back as it is. Maps are cached per camera.
    """
    if rgb.shape[:2] != (camera.height, camera.width):
        raise ValueError(
            f"the calibration is for {camera.width}×{camera.height} px, the image is {rgb.shape[1]}×{rgb.shape[0]}; "
            "use the calibration of this stream"
        )
    if camera.distortion_model != "equidistant" and not any(camera.distortion):
        return rgb, replace(camera, distortion_model="none", distortion=())
    map_x, map_y, pinhole = undistortion_maps(camera)
    straight = cv2.remap(rgb, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(straight, dtype=np.uint8), pinhole


@lru_cache(maxsize=8)
def undistortion_maps(camera: CameraModel) -> tuple[NDArray[Any], NDArray[Any], CameraModel]:
    """Return OpenCV's fixed-point remap maps and the pinhole camera they lead to."""
    pinhole = pinhole_of(camera)
    size = (camera.width, camera.height)
    values = np.asarray(camera.distortion, dtype=np.float64)
    make = cv2.fisheye.initUndistortRectifyMap if camera.distortion_model == "equidistant" else _perspective_maps
    map_x, map_y = make(camera.matrix(), values, np.eye(3), pinhole.matrix(), size, cv2.CV_16SC2)
    return map_x, map_y, pinhole


def _perspective_maps(*arguments: Any) -> Any:
    return cv2.initUndistortRectifyMap(*arguments)


def pinhole_of(camera: CameraModel) -> CameraModel:
    """Return the undistorted camera of the same size with the widest view whose border still has content."""
    border = _border_px(camera.width, camera.height)
    best = None
    shortest = _FISHEYE_ZOOM if camera.distortion_model == "equidistant" else 0.0
    for zoom in _ZOOM_STEPS[shortest - 1e-9 < _ZOOM_STEPS]:
        fx, skew, cx, _, fy, cy, *_ = camera.k
        k = (fx * zoom, skew * zoom, cx, 0.0, fy * zoom, cy, 0.0, 0.0, 1.0)
        candidate = CameraModel(camera.width, camera.height, k)
        seen = distort_points(unproject(border, candidate), camera)
        inside = (seen >= 0) & (seen <= np.array([camera.width - 1, camera.height - 1]))
        if not inside.all():
            break
        best = candidate
    if best is None:
        raise ValueError(
            f"the {camera.distortion_model} distortion {camera.distortion} leaves no usable image; calibrate again"
        )
    return best


def unproject(points_px: NDArray[np.float64], pinhole: CameraModel) -> NDArray[np.float64]:
    """Return (N, 2) normalised image-plane coordinates (x/z, y/z) of (N, 2) pixels of an undistorted camera."""
    fx, skew, cx, _, fy, cy, *_ = pinhole.k
    y = (points_px[:, 1] - cy) / fy
    return np.stack([(points_px[:, 0] - cx - skew * y) / fx, y], axis=1)


def distort_points(points: NDArray[np.float64], camera: CameraModel) -> NDArray[np.float64]:
    """Return (N, 2) pixels where ``camera`` sees (N, 2) normalised coordinates (x/z, y/z)."""
    x, y = points.T
    r2 = x * x + y * y
    if camera.distortion_model == "equidistant":
        k1, k2, k3, k4 = camera.distortion
        radius = np.sqrt(r2)
        t = np.arctan(radius)
        bent = t * (1 + k1 * t**2 + k2 * t**4 + k3 * t**6 + k4 * t**8)
        factor = np.divide(bent, radius, out=np.ones_like(radius), where=radius > 1e-12)
        x, y = x * factor, y * factor
    elif camera.distortion:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.distortion, *(0.0,) * (8 - len(camera.distortion)))
        factor = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        x, y = (
            x * factor + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * factor + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    fx, skew, cx, _, fy, cy, *_ = camera.k
    return np.stack([fx * x + skew * y + cx, fy * y + cy], axis=1)


def _border_px(width: int, height: int) -> NDArray[np.float64]:
    across, down = np.linspace(0, width - 1, 65), np.linspace(0, height - 1, 65)
    rows = [np.stack([across, np.full(65, edge)], axis=1) for edge in (0.0, height - 1.0)]
    columns = [np.stack([np.full(65, edge), down], axis=1) for edge in (0.0, width - 1.0)]
    return np.concatenate(rows + columns)


def _known_distortion(model: str, values: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """Translate what drivers write into the models of CameraModel."""
    if not all(np.isfinite(values)):
        raise ValueError(f"distortion must be finite, got {values}; calibrate the camera again")
    name = _MODEL_NAMES.get(model, model)
    if not any(values) and name != "equidistant":  # an equidistant lens bends even with all four values zero
        return "none", ()
    if name == "plumb_bob" and len(values) > 5:
        name = "rational_polynomial"
    if name == "rational_polynomial" and len(values) > 8 and not any(values[8:]):
        values = values[:8]  # OpenCV's thin-prism and tilt terms, unused
    return name, values


def _quarter_turns(clockwise_deg: int) -> int:
    if clockwise_deg not in (0, 90, 180, 270):
        raise ValueError(f"an image can be turned by 0, 90, 180 or 270 degrees, got {clockwise_deg}")
    return clockwise_deg // 90


def _quarter_turn(camera: CameraModel) -> CameraModel:
    """Turn clockwise once: new column = H − 1 − row, new row = column; so x' = −y, y' = x on the image plane."""
    fx, skew, cx, _, fy, cy, *_ = camera.k
    if skew:
        raise ValueError(f"a camera with skew ({skew}) cannot be turned; rectify its images first")
    distortion = camera.distortion
    if camera.distortion_model in ("plumb_bob", "rational_polynomial"):
        k1, k2, p1, p2, *rest = distortion
        distortion = (k1, k2, p2, -p1, *rest)
    k = (fy, 0.0, camera.height - 1 - cy, 0.0, fx, cx, 0.0, 0.0, 1.0)
    return replace(camera, width=camera.height, height=camera.width, k=k, distortion=distortion)


def _nine(values: Sequence[float]) -> tuple[float, float, float, float, float, float, float, float, float]:
    a, b, c, d, e, f, g, h, i = values
    return a, b, c, d, e, f, g, h, i
