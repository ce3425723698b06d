"""The words everything speaks in: classes, segments, panoptic frames and cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

VOID_SEGMENT = 0
"""segment_id of pixels that belong to no segment."""
VOID_CLASS = 255
"""class id of unlabeled pixels in 8-bit class maps."""
MAX_SEGMENT_ID = 65_535
"""segment ids live in 16-bit images."""
MAX_TRACK_ID = 2**64 - 1
"""track ids are never reused and live in 64 bits."""


class SegmentState(IntEnum):
    """Life of a tracked segment, as published in videocups_msgs/PanopticSegment."""

    NEW = 0
    TRACKED = 1
    COASTED = 2
    LOST = 3


@dataclass(frozen=True)
class ClassInfo:
    """One class of the model: a pseudo-class, or a named class after mapping."""

    class_id: int
    name: str
    is_thing: bool
    color_rgb: tuple[int, int, int]

    def __post_init__(self) -> None:
        if not 0 <= self.class_id < VOID_CLASS:
            raise ValueError(f"class_id must be in 0..254 (255 is void), got {self.class_id}")
        if not self.name:
            raise ValueError(f"class {self.class_id} has an empty name; give it one, e.g. 'class_{self.class_id}'")
        if len(self.color_rgb) != 3 or not all(0 <= channel <= 255 for channel in self.color_rgb):
            raise ValueError(f"color_rgb of class {self.class_id} must be three values in 0..255, got {self.color_rgb}")


@dataclass(frozen=True)
class Segment:
    """One row of a panoptic frame's table: a stuff region or a tracked thing.

    ``ignore`` marks a region nobody can tell apart (a crowd, an unsure label): training and evaluation leave it
    out. Only such a thing may lack a track.
    """

    segment_id: int
    class_id: int
    is_thing: bool
    track_id: int = 0  # 0 for stuff
    score: float = 1.0
    state: SegmentState = SegmentState.TRACKED
    age: int = 0  # frames since the track was born
    area_px: int = 0
    bbox_xywh: tuple[int, int, int, int] = (0, 0, 0, 0)
    ignore: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.segment_id <= MAX_SEGMENT_ID:
            raise ValueError(f"segment_id must be in 1..{MAX_SEGMENT_ID} (0 is void), got {self.segment_id}")
        if not 0 <= self.class_id < VOID_CLASS:
            raise ValueError(f"class_id of segment {self.segment_id} must be in 0..254, got {self.class_id}")
        crowd = self.is_thing and self.ignore and self.track_id == 0
        if (self.is_thing != (self.track_id > 0) and not crowd) or not 0 <= self.track_id <= MAX_TRACK_ID:
            raise ValueError(
                f"segment {self.segment_id}: a thing needs a track_id in 1..2^64-1 and stuff has track_id 0, "
                f"got is_thing={self.is_thing}, track_id={self.track_id}"
            )
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"score of segment {self.segment_id} must be in 0..1, got {self.score}")


@dataclass(frozen=True)
class PanopticFrame:
    """What one camera frame holds: a segment id for every pixel and a row for every segment.

    ``segment_ids``: (H, W) uint16, 0 = void. Every id in the image has exactly one row in ``segments``;
    a row without pixels is allowed (a COASTED or LOST track).
    """

    stamp_ns: int
    segment_ids: NDArray[np.uint16]
    segments: tuple[Segment, ...]
    frame_index: int = 0
    track_epoch: int = 0
    _row_of: dict[int, Segment] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.segment_ids.ndim != 2 or self.segment_ids.dtype != np.uint16:
            raise ValueError(
                f"segment_ids must be a (H, W) uint16 array, got shape {self.segment_ids.shape} "
                f"and dtype {self.segment_ids.dtype}"
            )
        row_of = {segment.segment_id: segment for segment in self.segments}
        if len(row_of) != len(self.segments):
            raise ValueError("segments holds the same segment_id twice; every row needs its own")
        object.__setattr__(self, "_row_of", row_of)

    @property
    def height(self) -> int:
        """Image height in px."""
        return int(self.segment_ids.shape[0])

    @property
    def width(self) -> int:
        """Image width in px."""
        return int(self.segment_ids.shape[1])

    def segment(self, segment_id: int) -> Segment:
        """Return the row of ``segment_id``; KeyError where there is none."""
        return self._row_of[segment_id]

    def class_map(self) -> NDArray[np.uint8]:
        """(H, W) uint8 class per pixel, 255 where void."""
        table = np.full(MAX_SEGMENT_ID + 1, VOID_CLASS, dtype=np.uint8)
        for segment in self.segments:
            table[segment.segment_id] = segment.class_id
        return table.take(self.segment_ids)

    def track_map(self) -> NDArray[np.uint64]:
        """(H, W) uint64 track id per pixel, 0 for stuff and void."""
        table = np.zeros(MAX_SEGMENT_ID + 1, dtype=np.uint64)
        for segment in self.segments:
            table[segment.segment_id] = segment.track_id
        return table.take(self.segment_ids)


@dataclass(frozen=True)
class CameraModel:
    """A pinhole camera: image size in px, 3×3 intrinsics K (row-major) and distortion.

    ``distortion_model`` uses the ROS names: ``none``, ``plumb_bob`` (k1 k2 p1 p2 k3),
    ``rational_polynomial`` (8 values) or ``equidistant`` (fisheye, 4 values).
    """

    width: int
    height: int
    k: tuple[float, float, float, float, float, float, float, float, float]
    distortion_model: str = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"camera size must be at least 1×1 px, got {self.width}×{self.height}")
        if len(self.k) != 9:
            raise ValueError(f"K must hold 9 values (row-major 3×3), got {len(self.k)}")
        if not np.all(np.isfinite(self.k)) or not np.all(np.isfinite(self.distortion)):
            raise ValueError(f"K and distortion must be finite, got K={self.k}, distortion={self.distortion}")
        if (self.k[3], self.k[6], self.k[7], self.k[8]) != (0, 0, 0, 1):
            raise ValueError(f"K must be row-major (fx s cx, 0 fy cy, 0 0 1), got {self.k}")
        if self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"focal lengths must be positive, got fx={self.fx}, fy={self.fy}; is the camera calibrated?"
            )
        allowed = {"none": (0,), "plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,)}
        if self.distortion_model not in allowed:
            raise ValueError(f"distortion_model must be one of {sorted(allowed)}, got {self.distortion_model!r}")
        if len(self.distortion) not in allowed[self.distortion_model]:
            raise ValueError(
                f"{self.distortion_model} needs {' or '.join(map(str, allowed[self.distortion_model]))} "
                f"distortion values, got {len(self.distortion)}"
            )

    @property
    def fx(self) -> float:
        """Horizontal focal length in px."""
        return self.k[0]

    @property
    def fy(self) -> float:
        """Vertical focal length in px."""
        return self.k[4]

    @property
    def cx(self) -> float:
        """Principal point, column in px."""
        return self.k[2]

    @property
    def cy(self) -> float:
        """Principal point, row in px."""
        return self.k[5]

    def matrix(self) -> NDArray[np.float64]:
        """Return K as a 3×3 array."""
        return np.asarray(self.k, dtype=np.float64).reshape(3, 3)
