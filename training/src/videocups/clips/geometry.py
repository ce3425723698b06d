"""What happens to every image on its way into a clip: nothing, undistortion, or rectification of a stereo pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.clips.calibration import Calibration, CalibrationError, stereo_baseline_m
from videocups.clips.frames import FrameSource
from videocups_core.camera import undistort as undistort_image
from videocups_core.camera import undistortion_maps
from videocups_core.types import CameraModel

Warp = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


@dataclass(frozen=True)
class Geometry:
    """The camera of a clip's images and how they are made from the source's; one warp for each image of a frame."""

    size_px: tuple[int, int]
    camera: CameraModel | None
    baseline_m: float | None = None
    warps: tuple[Warp, ...] = ()

    @property
    def is_identity(self) -> bool:
        """Whether images stay as they are."""
        return not self.warps

    def apply(self, images: tuple[NDArray[np.uint8], ...]) -> tuple[NDArray[np.uint8], ...]:
        """Return the images of one frame as the clip holds them."""
        return tuple(warp(image) for warp, image in zip(self.warps, images, strict=True)) if self.warps else images


def geometry_of(source: FrameSource, sizes: tuple[tuple[int, int], ...], *, undistort: bool) -> Geometry:
    """Match the calibration of a source with the size of its first images (width, height)."""
    width, height = sizes[0]
    if any(size != sizes[0] for size in sizes):
        raise CalibrationError(
            f"the left image is {width}×{height} px and the right one {sizes[1][0]}×{sizes[1][1]}; "
            "a stereo pair needs two cameras of one size"
        )
    left, right = source.calibration, source.right_calibration
    camera = left.camera(width, height) if left else None
    if right:
        right.camera(width, height)  # a wrong size is an error here, not a wrong baseline later
    baseline = (right.baseline_m if right else None) or (stereo_baseline_m(left, right) if len(sizes) > 1 else None)
    if not undistort:
        return Geometry((width, height), camera, baseline)
    if camera is None or left is None:
        raise CalibrationError(
            "--undistort needs a calibration; give --calibration FILE or --camera-info-topic with a calibrated camera"
        )
    if len(sizes) > 1:
        return _rectified(left, right, (width, height), baseline)
    if camera.distortion_model != "equidistant" and not any(camera.distortion):
        return Geometry((width, height), camera, baseline)
    pinhole = undistortion_maps(camera)[2]
    return Geometry((width, height), pinhole, baseline, (lambda image: undistort_image(image, camera)[0],))


def _rectified(left: Calibration, right: Calibration | None, size: tuple[int, int], baseline: float | None) -> Geometry:
    """Warp both images so that their rows match, with R and P as the stereo calibration gives them."""
    for side, calibration in (("left", left), ("right", right)):
        if calibration is None or calibration.rotation is None or not any(calibration.projection or ()):
            raise CalibrationError(
                f"--undistort of a stereo pair needs R and P of the {side} camera; "
                "give CameraInfo topics of a stereo calibration, or leave --undistort away for rectified images"
            )
    assert right is not None
    warps = tuple(_rectifying_warp(calibration, size) for calibration in (left, right))
    return Geometry(size, left.rectified().camera(*size), baseline, warps)


def _rectifying_warp(calibration: Calibration, size: tuple[int, int]) -> Warp:
    camera = calibration.camera(*size)
    if camera is None:
        raise CalibrationError(f"{calibration.origin} says that the camera is not calibrated; calibrate it")
    rotation = np.asarray(calibration.rotation, dtype=np.float64).reshape(3, 3)
    projection = np.asarray(calibration.projection, dtype=np.float64).reshape(3, 4)[:, :3]
    distortion = np.asarray(camera.distortion, dtype=np.float64)
    make: Any = cv2.initUndistortRectifyMap
    if camera.distortion_model == "equidistant":
        make = cv2.fisheye.initUndistortRectifyMap
    map_x, map_y = make(camera.matrix(), distortion, rotation, projection, size, cv2.CV_16SC2)
    return lambda image: np.asarray(cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR), dtype=np.uint8)
