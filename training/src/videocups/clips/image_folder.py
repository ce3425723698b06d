"""A folder of images as a source of frames: KITTI's layouts, image sequences, stamped file names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videocups.clips.calibration import Calibration, read_calibration
from videocups.clips.cutting import NS
from videocups.clips.frames import FrameImage, SourceError, SourceFrame
from videocups.clips.source_hash import source_sha256
from videocups_core.compressed import decode_compressed

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
STAMP_FILES = ("timestamps.txt", "times.txt")
STAMP_DIGITS = 16  # a file name with so many digits is a stamp in nanoseconds


@dataclass(frozen=True)
class FolderOptions:
    """How a folder or a video is read; stamps come from ``stamps``, the files beside or in names, else ``fps``."""

    name: str = ""
    fps: float | None = None
    stamps: Path | None = None
    calibration: Path | None = None
    right_folder: Path | None = None
    baseline_m: float | None = None
    start_s: float | None = None
    end_s: float | None = None


class ImageFolder:
    """See ``FrameSource``."""

    is_stereo: bool
    topic = ""
    unit = "frames"

    def __init__(self, path: Path, options: FolderOptions) -> None:
        self.path = path
        folder = path / "data" if (path / "data").is_dir() else path  # KITTI raw: image_02/data
        files = image_files(folder)
        if not files:
            fix = "check the path; videos are given one by one, such as FOLDER/*.mp4"
            raise SourceError(f"{path} holds no image ({', '.join(IMAGE_SUFFIXES)}) and no bag; {fix}")
        self.camera_name = path.name
        self.name = options.name or f"{path.resolve().parent.name}_{path.resolve().name}"
        stamps = read_stamps(path, files, options)
        rights = self._right_files(files, options)
        self.is_stereo = rights is not None
        partners: Sequence[Path | None] = rights or [None] * len(files)
        pairs = zip(stamps, files, partners, strict=True)
        self._pairs = [pair for pair in pairs if _inside(pair[0] - stamps[0], options)]
        self.total: float | None = len(self._pairs)
        self.calibration, self.right_calibration = folder_calibrations(path.name, options, stereo=self.is_stereo)
        used = [*files, *(rights or ()), *([options.calibration] if options.calibration else ())]
        self.sha256 = source_sha256(used)
        self.identity: dict[str, Any] = {
            "stamps_ns": [stamps[0], stamps[-1]],
            "fps": options.fps,
            "stereo": str(options.right_folder or ""),
            "baseline_m": options.baseline_m,
            "window_s": [options.start_s, options.end_s],
            "stamp_file": source_sha256([options.stamps]) if options.stamps else "",
        }
        self.skipped: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.damage: list[str] = []
        self.notes = notes_on(options)

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the images in the order of their names."""
        for index, (stamp_ns, file, right) in enumerate(self._pairs):
            yield SourceFrame(stamp_ns, _image(file), index + 1, _image(right) if right else None)

    def speeds_at(self, stamps_ns: Sequence[int]) -> tuple[float, ...]:
        """Return nothing: images know no speed."""
        return ()

    def close(self) -> None:
        """Nothing stays open."""

    def _right_files(self, files: list[Path], options: FolderOptions) -> list[Path] | None:
        if options.right_folder is None:
            return None
        folder = options.right_folder
        found = {file.stem: file for file in image_files(folder / "data" if (folder / "data").is_dir() else folder)}
        missing = [file.name for file in files if file.stem not in found]
        if missing:
            raise SourceError(f"{folder} has no right image for {missing[0]} ({len(missing)} missing in all)")
        return [found[file.stem] for file in files]


def folder_calibrations(
    name: str, options: FolderOptions, *, stereo: bool
) -> tuple[Calibration | None, Calibration | None]:
    """Read the calibration of the left and, for a stereo pair, of the right camera."""
    if options.calibration is None:
        return None, None
    left = read_calibration(options.calibration, camera=name)
    if not stereo:
        return left, None
    if options.baseline_m is not None:
        return left, replace(left, baseline_m=options.baseline_m)
    return left, read_calibration(options.calibration, camera=name, right=True)


def notes_on(options: FolderOptions) -> list[str]:
    """Return what a user should know before he goes on with clips that were read this way."""
    return [] if options.calibration else ["clips have no intrinsics, which labels need; give --calibration FILE"]


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder in the order of the numbers in their names."""
    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; give the folder that holds the images")
    files = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    return sorted(files, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.stem)])


def read_stamps(path: Path, files: list[Path], options: FolderOptions) -> list[int]:
    """Return a stamp in ns for every file."""
    named = options.stamps or next((path / name for name in STAMP_FILES if (path / name).is_file()), None)
    if options.fps is not None and options.stamps is None:
        if options.fps <= 0:
            raise SourceError(f"--fps must be above 0, got {options.fps}")
        return [round(index * NS / options.fps) for index in range(len(files))]
    if named is not None:
        stamps = _stamps_from(named)
        if len(stamps) != len(files):
            raise SourceError(f"{named} holds {len(stamps)} stamps for {len(files)} images; they must be as many")
        return stamps
    if all(file.stem.isdigit() and len(file.stem) >= STAMP_DIGITS for file in files):
        return [int(file.stem) for file in files]
    raise SourceError(f"the images in {path} have no stamps; give --fps RATE or --stamps FILE")


def _stamps_from(path: Path) -> list[int]:
    """Read seconds, whole nanoseconds or KITTI's dates, one a line."""
    try:
        return [_stamp(line.strip()) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise SourceError(f"cannot read stamps from {path}: {error}; give one per line, in seconds or ns") from None


def _stamp(text: str) -> int:
    if re.fullmatch(r"\d{12,}", text):
        return int(text)
    if re.match(r"\d{4}-\d\d-\d\d ", text):
        whole, _, fraction = text.partition(".")
        moment = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=timezone.utc)
        return int(moment.timestamp()) * NS + int(fraction[:9].ljust(9, "0") or 0)
    return round(float(text) * NS)


def _inside(offset_ns: int, options: FolderOptions) -> bool:
    early = options.start_s is not None and offset_ns < options.start_s * NS
    late = options.end_s is not None and offset_ns >= options.end_s * NS
    return not early and not late


def _image(file: Path) -> FrameImage:
    suffix = ".png" if file.suffix.lower() == ".png" else ".jpg"
    return FrameImage(partial(_decode, file), file.read_bytes, suffix)


def _decode(file: Path) -> NDArray[np.uint8]:
    return decode_compressed(file.read_bytes(), file.suffix)
