"""Camera calibrations from files people have: KITTI, ROS camera_calibration, plain K."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from videocups_core.camera import camera_from_ros
from videocups_core.types import CameraModel


class CalibrationError(ValueError):
    """A calibration cannot be read or does not fit; the message names the fix."""


@dataclass(frozen=True)
class Calibration:
    """What is known of one camera before its images are seen.

    ``size_px``: (width, height), None where the file gives none. ``rotation`` and ``projection``: the rectification
    R (9 values) and the projection matrix P (12 values) of a stereo camera. ``baseline_m``: to the left camera.
    """

    origin: str
    k: tuple[float, ...]
    distortion_model: str = ""
    distortion: tuple[float, ...] = ()
    size_px: tuple[int, int] | None = None
    rotation: tuple[float, ...] | None = None
    projection: tuple[float, ...] | None = None
    baseline_m: float | None = None
    binning: tuple[int, int] = (1, 1)
    roi_xywh: tuple[int, int, int, int] = (0, 0, 0, 0)

    def camera(self, width: int, height: int) -> CameraModel | None:
        """Return the camera of images of this size; None where the calibration says "uncalibrated"."""
        full_width, full_height = self.size_px or (width, height)
        try:
            camera = camera_from_ros(
                width=full_width,
                height=full_height,
                k=self.k,
                d=self.distortion,
                distortion_model=self.distortion_model,
                binning=self.binning,
                roi_xywh=self.roi_xywh,
            )
        except ValueError as error:
            raise CalibrationError(f"{self.origin}: {error}") from None
        if camera is None:
            return None
        if (camera.width, camera.height) != (width, height):
            raise CalibrationError(
                f"{self.origin} is for {camera.width}×{camera.height} px but the images are {width}×{height}; "
                "give the calibration of these images with --calibration FILE or --camera-info-topic"
            )
        if not (0 < camera.cx < width and 0 < camera.cy < height):
            raise CalibrationError(
                f"{self.origin} has its principal point at ({camera.cx:g}, {camera.cy:g}), outside the "
                f"{width}×{height} images; give the calibration of these images"
            )
        return camera

    def rectified(self) -> Calibration:
        """Return the calibration of images that were rectified with this one: K from P, no distortion."""
        if self.projection is None or not any(self.projection):
            return replace(self, distortion_model="none", distortion=())
        k = tuple(np.asarray(self.projection).reshape(3, 4)[:, :3].ravel().tolist())
        return replace(self, k=k, distortion_model="none", distortion=(), rotation=None)


def stereo_baseline_m(left: Calibration | None, right: Calibration | None) -> float | None:
    """Return the distance between two rectified cameras from their projection matrices, None where not given."""
    offsets = [0.0 if calibration is None else _offset_m(calibration) for calibration in (left, right)]
    baseline = offsets[1] - offsets[0]
    if baseline < 0:
        raise CalibrationError(
            f"the right camera lies {-baseline:g} m left of the left one; exchange the two image sources"
        )
    return baseline or None


def read_calibration(path: Path, *, camera: str = "", right: bool = False) -> Calibration:
    """Read a calibration file.

    Understood are KITTI odometry ``calib.txt`` (projection matrices, one a line), KITTI raw ``calib_cam_to_cam.txt``,
    JSON or YAML with ``P_rect`` or ``fx fy cx cy``, ROS ``camera_calibration`` YAML, and a text file with four or more
    numbers ``fx fy cx cy [distortion…]``. ``camera`` is the name of the image folder: it chooses among several
    matrices (``image_2`` takes P2). ``right`` takes the next matrix.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"cannot read calibration {path}: {getattr(error, 'strerror', error)}") from None
    origin = f"calibration {path}"
    try:
        if path.suffix.lower() in (".json", ".yaml", ".yml"):
            content = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
            return _from_mapping(content, origin)
        return _from_text(text, origin, camera, right=right)
    except CalibrationError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:100]
        raise CalibrationError(
            f"{origin} is in no known layout ({type(error).__name__}: {reason}); "
            "give KITTI projection matrices, a ROS camera_calibration file, or 'fx fy cx cy'"
        ) from None


def _from_mapping(content: dict[str, Any], origin: str) -> Calibration:
    size = _size(content)
    if "camera_matrix" in content:  # ROS camera_calibration
        projection = content.get("projection_matrix", {}).get("data")
        rotation = content.get("rectification_matrix", {}).get("data")
        return Calibration(
            origin,
            _numbers(content["camera_matrix"]["data"], 9),
            str(content.get("distortion_model", "")),
            _numbers(content.get("distortion_coefficients", {}).get("data", ())),
            size,
            _numbers(rotation, 9) if rotation else None,
            _numbers(projection, 12) if projection else None,
        )
    for name in ("P_rect", "P"):
        if name in content:
            return replace(_from_projection(_numbers(np.ravel(content[name]), 12), origin), size_px=size)
    k = _numbers(np.ravel(content["K"]), 9) if "K" in content else _k(*(float(content[key]) for key in _K_KEYS))
    distortion = _numbers(content.get("distortion", ()))
    return Calibration(origin, k, str(content.get("distortion_model", "")), distortion, size)


_K_KEYS = ("fx", "fy", "cx", "cy")


def _from_text(text: str, origin: str, camera: str, *, right: bool) -> Calibration:
    rows: dict[str, tuple[float, ...]] = {}
    plain: list[float] = []
    for number, line in enumerate(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        name, colon, values = line.rpartition(":")
        if not re.fullmatch(r"[\s\d.eE+-]+", values):
            continue  # KITTI raw files also hold dates
        row = tuple(float(value) for value in values.split())
        rows[name.strip() if colon else str(number)] = row
        plain += row
    raw = {name: rows[name] for name in sorted(rows) if re.fullmatch(r"P_rect_\d+", name)}
    matrices = raw or {name: row for name, row in rows.items() if len(row) == 12}
    if matrices:
        return _chosen_projection(matrices, rows, origin, camera, right=right)
    if len(plain) < 4:
        raise CalibrationError(f"{origin} holds {len(plain)} numbers; it needs at least 'fx fy cx cy'")
    return Calibration(origin, _k(*plain[:4]), distortion=tuple(plain[4:]))


def _chosen_projection(
    matrices: dict[str, tuple[float, ...]], rows: dict[str, tuple[float, ...]], origin: str, camera: str, *, right: bool
) -> Calibration:
    """Take the matrix of the camera that the image folder names, else the first; its right neighbour on request."""
    wanted = re.search(r"(\d+)$", camera)
    names = list(matrices)
    numbers = [int(re.sub(r"\D", "", name) or 0) for name in names]
    index = numbers.index(int(wanted.group(1))) if wanted and int(wanted.group(1)) in numbers else 0
    index += 1 if right else 0
    if index >= len(names):
        raise CalibrationError(f"{origin} has no projection matrix after {names[-1]!r} for the right camera")
    size = rows.get(names[index].replace("P_rect", "S_rect"))
    calibration = _from_projection(matrices[names[index]], origin)
    return replace(calibration, size_px=(round(size[0]), round(size[1]))) if size and len(size) == 2 else calibration


def _from_projection(projection: tuple[float, ...], origin: str) -> Calibration:
    return Calibration(origin, (), projection=projection).rectified()


def _offset_m(calibration: Calibration) -> float:
    """Return where a rectified camera stands, in metres to the right, from P = K [I | −offset]."""
    if calibration.projection is None or not calibration.projection[0]:
        return 0.0
    return -calibration.projection[3] / calibration.projection[0]


def _size(content: dict[str, Any]) -> tuple[int, int] | None:
    width = content.get("image_width", content.get("width"))
    height = content.get("image_height", content.get("height"))
    return None if width is None or height is None else (int(width), int(height))


def _numbers(values: Any, count: int | None = None) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if count is not None and len(numbers) != count:
        raise ValueError(f"a matrix must hold {count} numbers, got {len(numbers)}")
    return numbers


def _k(fx: float, fy: float, cx: float, cy: float) -> tuple[float, ...]:
    return (fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0)
