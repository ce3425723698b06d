"""What every dataset looks like to the evaluation: sequences of labeled frames, their truth and their classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from videocups_core.types import VOID_CLASS, ClassInfo


@dataclass(frozen=True)
class Frame:
    """One labeled frame.

    ``name``: what predictions are matched by. ``index``: its place in the recording, counting unlabeled frames too;
    None where the dataset does not tell. ``files``: the label files. ``parts``: what the paths' placeholders stood for.
    ``segments``: panoptic JSON only, the segment table of this frame.
    """

    name: str
    index: int | None = None
    files: tuple[Path, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    segments: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Sequence:
    """The labeled frames of one video in time order; an image dataset has one frame a sequence.

    ``context``: names of unlabeled frames that a prediction may hold too.
    """

    key: str
    frames: tuple[Frame, ...]
    context: frozenset[str] = frozenset()


class Dataset(Protocol):
    """A dataset opened at a folder: what is there, and the truth of every labeled frame."""

    name: str
    title: str
    classes: tuple[ClassInfo, ...]
    things: frozenset[int]
    scored: frozenset[int]
    has_video_ids: bool
    vpq_windows: tuple[int, ...]

    @property
    def void(self) -> int:
        """Class id of pixels without truth."""
        ...

    @property
    def num_classes(self) -> int:
        """Class ids are below this."""
        ...

    def sequences(self) -> list[Sequence]:
        """Return the sequences of the opened split, sorted by key."""
        ...

    def truth(self, sequence: Sequence, frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
        """Return (H, W) class map with ``void``, and (H, W) object ids: 0 for stuff, void and crowd."""
        ...

    def prepare(self, labels: NDArray[Any], truth_shape: tuple[int, int]) -> NDArray[Any]:
        """Bring a predicted map of the raw truth's size to the size that is scored (the dataset's resize rule)."""
        ...

    def image(self, sequence: Sequence, frame: Frame) -> NDArray[np.uint8] | None:
        """Return the (H, W, 3) RGB picture for the report, None where there is none."""
        ...


class LayoutError(ValueError):
    """A folder does not hold what the dataset's layout expects; the message shows the expected tree."""


VOID = VOID_CLASS
