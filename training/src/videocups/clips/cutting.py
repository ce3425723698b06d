"""Where a stream of frames is cut into clips, and which frames are left out: decided from stamps and small images."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

NS = 1_000_000_000
THUMBNAIL_WIDTH_PX = 160
DEFAULT_GAP_S = 0.5
GAP_PERIODS = 3.0  # a subsampled stream may miss two frames before it is cut
RATE_TOLERANCE = 0.1  # a frame may come this part of a period early: cameras jitter


@dataclass(frozen=True)
class CutConfig:
    """How a stream is cut."""

    # A clip ends after this many frames; None: only clip_seconds counts.
    clip_frames: int | None = None
    # A clip ends when it lasts this long.
    clip_seconds: float | None = 10.0
    # A longer pause between two frames ends the clip; None: 0.5 s, or three periods of rate_hz if that is longer.
    max_gap_s: float | None = None
    # Frames whose grey values differ from the last kept frame by less than this on average (0..255) are left out.
    min_motion: float = 0.0
    # Shorter clips are thrown away.
    min_frames: int = 1
    # Frames per second to keep; None keeps all.
    rate_hz: float | None = None

    def __post_init__(self) -> None:
        if self.clip_frames is not None and self.clip_frames < 1:
            raise ValueError(f"a clip must hold at least 1 frame, got {self.clip_frames}; set --clip-length")
        if self.clip_seconds is not None and self.clip_seconds <= 0:
            raise ValueError(f"a clip must last longer than 0 s, got {self.clip_seconds}; set --clip-length")
        if self.max_gap_s is not None and self.max_gap_s <= 0:
            raise ValueError(f"--max-gap must be above 0 s, got {self.max_gap_s}")
        if not 0 <= self.min_motion < 255:
            raise ValueError(f"--min-motion is a mean grey difference in 0..255, got {self.min_motion}")
        if self.min_frames < 1:
            raise ValueError(f"--min-frames must be at least 1, got {self.min_frames}")
        if self.clip_frames is not None and self.min_frames > self.clip_frames:
            raise ValueError(f"--min-frames {self.min_frames} is more than --clip-length {self.clip_frames} allows")
        if self.rate_hz is not None and self.rate_hz <= 0:
            raise ValueError(f"--rate must be above 0 Hz, got {self.rate_hz}")

    @property
    def gap_ns(self) -> int:
        """The pause that ends a clip."""
        if self.max_gap_s is not None:
            return round(self.max_gap_s * NS)
        return round(max(DEFAULT_GAP_S, GAP_PERIODS / self.rate_hz if self.rate_hz else 0.0) * NS)


class StampFilter:
    """Leave frames out by their stamp alone, before anything is decoded: repeated, late, or more than the rate asks."""

    def __init__(self, config: CutConfig) -> None:
        self._gap_ns = config.gap_ns
        self._period_ns = round(NS / config.rate_hz) if config.rate_hz else 0
        self._last_ns: int | None = None
        self._due_ns: int | None = None

    def reject(self, stamp_ns: int) -> str:
        """Return why the frame is left out, empty to keep it."""
        last = self._last_ns
        if last is not None and stamp_ns == last:
            return "repeated stamp"
        if last is not None and last - self._gap_ns < stamp_ns < last:
            return "stamp older than the frame before"
        backwards = last is not None and stamp_ns < last  # a looped recording starts over
        self._last_ns = stamp_ns
        if not self._period_ns:
            return ""
        if self._due_ns is None or backwards or stamp_ns > self._due_ns + self._gap_ns:
            self._due_ns = stamp_ns
        if stamp_ns < self._due_ns - RATE_TOLERANCE * self._period_ns:
            return "above the rate asked for"
        while self._due_ns - RATE_TOLERANCE * self._period_ns <= stamp_ns:
            self._due_ns += self._period_ns
        return ""


class Cutter:
    """Decide frame by frame, in order, whether it is kept and whether it begins a new clip."""

    def __init__(self, config: CutConfig) -> None:
        self._config = config
        self._first_ns = 0
        self._last_ns = 0
        self._count = 0
        self._thumbnail: NDArray[np.uint8] | None = None

    def place(self, stamp_ns: int, thumbnail: NDArray[np.uint8] | None = None) -> tuple[str, bool]:
        """Return (why it is left out or "", begins a new clip). ``thumbnail``: see ``thumbnail_of``."""
        if thumbnail is not None and self._thumbnail is not None:
            motion = mean_difference(thumbnail, self._thumbnail)
            if motion < self._config.min_motion:
                return "too little motion", False
        self._thumbnail = thumbnail
        begins = self._count == 0 or self._ends_before(stamp_ns)
        if begins:
            self._first_ns, self._count = stamp_ns, 0
        self._last_ns = stamp_ns
        self._count += 1
        return "", begins

    def _ends_before(self, stamp_ns: int) -> bool:
        config = self._config
        paused = not 0 < stamp_ns - self._last_ns <= config.gap_ns
        full = config.clip_frames is not None and self._count >= config.clip_frames
        long = config.clip_seconds is not None and stamp_ns - self._first_ns >= config.clip_seconds * NS
        return paused or full or long


def thumbnail_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a small grey image, averaged so that sensor noise does not count as motion."""
    height, width = rgb.shape[:2]
    scale = min(1.0, THUMBNAIL_WIDTH_PX / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def mean_difference(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two grey images of one size."""
    return float(cv2.absdiff(first, second).mean()) if first.shape == second.shape else 255.0
