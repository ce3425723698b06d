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

    @property
    def name(self) -> str:
        """Return the name that ``--dataset`` takes."""
        ...

    @property
    def title(self) -> str:
        """Return the name for people."""
        ...

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """Return the classes, numbered from 0 without gaps; ``is_thing`` decides what matches with what."""
        ...

    @property
    def things(self) -> frozenset[int]:
        """Return the classes whose objects carry ids: those of AQ and of PQ's things."""
        ...

    @property
    def scored(self) -> frozenset[int]:
        """Return the classes that enter averages."""
        ...

    @property
    def has_video_ids(self) -> bool:
        """Return whether an object keeps its id from frame to frame."""
        ...

    @property
    def vpq_windows(self) -> tuple[int, ...]:
        """Return the window lengths of VPQ in labeled frames."""
        ...

    @property
    def raw_to_class(self) -> dict[int, int]:
        """Return the class of every value in the label images; other values are void."""
        ...

    @property
    def class_of_name(self) -> dict[str, int]:
        """Return the class that a name counts as, merged names included."""
        ...

    @property
    def class_of_number(self) -> dict[int, int]:
        """Return the class that a number in a prediction without class names counts as."""
        ...

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

    def prepare(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Apply the dataset's resize rule to a label map, such as a full-size prediction."""
        ...

    def image(self, sequence: Sequence, frame: Frame) -> NDArray[np.uint8] | None:
        """Return the (H, W, 3) RGB picture for the report, None where there is none."""
        ...


class LayoutError(ValueError):
    """A folder does not hold what the dataset's layout expects; the message shows the expected tree."""


VOID = VOID_CLASS
