"""A video file as a source of frames."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.clips.cutting import NS
from videocups.clips.frames import FrameImage, SourceError, SourceFrame
from videocups.clips.image_folder import FolderOptions, folder_calibrations, notes_on
from videocups.clips.source_hash import source_sha256

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v")
MS = 1_000_000


class Video:
    """See ``FrameSource``. Stamps are the video's own times, from 0; or ``fps`` where it is given."""

    is_stereo = False
    topic = ""
    unit = "frames"

    def __init__(self, path: Path, options: FolderOptions) -> None:
        if options.right_folder is not None or options.stamps is not None:
            raise SourceError(f"{path} is a video: --stereo-folder and --stamps are for folders of images")
        if options.fps is not None and options.fps <= 0:
            raise SourceError(f"--fps must be above 0, got {options.fps}")
        self.path = path
        self.name = options.name or path.stem
        self.camera_name = path.stem
        self._options = options
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise SourceError(f"cannot open video {path}; it is damaged or its codec is unknown, convert it to H.264")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # intrinsics are those of the sensor
        self._count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._fps = options.fps or float(self._capture.get(cv2.CAP_PROP_FPS))
        self.total: float | None = self._count if self._count > 0 else None
        self.calibration, self.right_calibration = folder_calibrations("", options, stereo=False)
        self.sha256 = source_sha256([path, *([options.calibration] if options.calibration else ())])
        self.identity: dict[str, Any] = {"fps": options.fps, "window_s": [options.start_s, options.end_s]}
        self.skipped: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.damage: list[str] = []
        self.notes = notes_on(options)

    def frames(self) -> Iterator[SourceFrame]:
        """Decode the video from its beginning: seeking is not exact in every container."""
        start_ns = round((self._options.start_s or 0.0) * NS)
        end_ns = None if self._options.end_s is None else round(self._options.end_s * NS)
        index = 0
        while self._capture.grab():
            stamp_ns = self._stamp_ns(index)
            index += 1
            if end_ns is not None and stamp_ns >= end_ns:
                return
            if stamp_ns < start_ns:
                continue
            done, image_bgr = self._capture.retrieve()
            if not done:
                self.broken["frame that cannot be decoded"] += 1
                continue
            yield SourceFrame(stamp_ns, FrameImage(partial(_rgb, image_bgr)), index)
        if is_cut_mp4(self.path):
            self.damage.append(f"{self.path.name} ends early, after {index} of {self._count} frames")
        elif index < self._count:  # an edit list may leave frames out on purpose
            self.notes.append(f"{self.path.name} announces {self._count} frames and shows {index}")

    def speeds_at(self, stamps_ns: Sequence[int]) -> tuple[float, ...]:
        """Return nothing: a video knows no speed."""
        return ()

    def close(self) -> None:
        """Close the file."""
        self._capture.release()

    def _stamp_ns(self, index: int) -> int:
        own_ms = float(self._capture.get(cv2.CAP_PROP_POS_MSEC))
        if self._options.fps is None and (own_ms > 0 or index == 0 or self._fps <= 0):
            return round(own_ms * MS)
        return round(index * NS / self._fps)


def is_cut_mp4(path: Path) -> bool:
    """Tell whether the boxes of an MP4 or MOV file reach beyond its end; False for other containers."""
    size, position = path.stat().st_size, 0
    with path.open("rb") as file:
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            if position == 0 and name != b"ftyp":
                return False
            if length == 1 and position + 16 <= size:  # a 64-bit length follows
                (length,) = struct.unpack(">Q", file.read(8))
            elif length == 0:  # up to the end of the file
                return False
            if length < 8:
                return True
            position += length
    return position > size


def _rgb(image_bgr: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
