"""What every source of frames gives: images that can be decoded later, with their stamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videocups.clips.calibration import Calibration


class SourceError(ValueError):
    """A source cannot be used as asked; the message names the fix."""


@dataclass(frozen=True)
class FrameImage:
    """An image not yet decoded.

    ``decode`` returns (H, W, 3) uint8 RGB or raises ValueError where the image is damaged. ``original`` returns the
    bytes of a JPEG or PNG file whose pixels are what ``decode`` gives, ``suffix`` says which; None where there is none.
    """

    decode: Callable[[], NDArray[np.uint8]]
    original: Callable[[], bytes | memoryview] | None = None
    suffix: str = ""


@dataclass(frozen=True)
class SourceFrame:
    """One frame, or one stereo pair; ``position`` is how far the source has been read, in its own unit."""

    stamp_ns: int
    image: FrameImage
    position: float
    right: FrameImage | None = None


class FrameSource(Protocol):
    """A recording, a video or a folder of images.

    ``calibration`` is None where nothing is known. ``identity`` is everything that decides which frames come out, as
    JSON-ready values. Complete after ``frames`` was iterated: ``skipped`` counts frames left out and ``broken``
    damaged messages, by cause; ``damage`` holds what could not be read at all, in sentences.
    """

    path: Path
    name: str
    camera_name: str
    topic: str
    sha256: str
    identity: dict[str, Any]
    calibration: Calibration | None
    right_calibration: Calibration | None
    is_stereo: bool
    total: float | None
    unit: str
    skipped: Counter[str]
    broken: Counter[str]
    notes: list[str]

    @property
    def damage(self) -> list[str]:
        """What could not be read so far."""
        ...

    def frames(self) -> Iterator[SourceFrame]:
        """Yield the frames in the order they were recorded."""
        ...

    def speeds_at(self, stamps_ns: Sequence[int]) -> tuple[float, ...]:
        """Return the vehicle's speed in m/s at every stamp, or nothing where it is not known."""
        ...

    def close(self) -> None:
        """Free files."""
        ...
