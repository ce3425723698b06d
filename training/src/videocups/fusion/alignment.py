"""One class for every track (VideoCUPS §3.1, "Aligning semantic and instance pseudo-labels").

A track takes the class that most of its pixels have over the whole clip, and its masks take it everywhere.

Reads ``semantics_smooth`` and ``tracks``; the counts of all clips together decide on things and stuff (``split``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ClassMap = NDArray[np.uint8]
TrackMap = NDArray[np.int32]
KEEPS = -1


@dataclass(frozen=True)
class ClassCounts:
    """Pixels of each pseudo-class: (K,) inside instances and everywhere. Counts of clips add up."""

    inside_px: NDArray[np.int64]
    all_px: NDArray[np.int64]

    def __add__(self, other: ClassCounts) -> ClassCounts:
        return ClassCounts(self.inside_px + other.inside_px, self.all_px + other.all_px)


def track_votes(classes: Sequence[ClassMap], tracks: Sequence[TrackMap], num_classes: int) -> NDArray[np.int64]:
    """Count the pixels of each class in each track of a clip: (highest track + 1, K); row 0 is outside all tracks."""
    _check(classes, tracks)
    highest = max((int(frame.max(initial=0)) for frame in tracks), default=0)
    votes = np.zeros((highest + 1, num_classes), np.int64)
    for class_map, track_map in zip(classes, tracks, strict=True):
        if int(class_map.max(initial=0)) >= num_classes:
            raise ValueError(f"class {int(class_map.max())} is in a label map, but there are {num_classes} classes")
        pairs = track_map.astype(np.int64).ravel() * num_classes + class_map.ravel()
        votes += np.bincount(pairs, minlength=votes.size).reshape(votes.shape)
    return votes


def majority_classes(votes: NDArray[np.int64]) -> dict[int, int]:
    """Return the class of each track that has pixels; equal counts go to the lower class."""
    return {track: int(votes[track].argmax()) for track in range(1, len(votes)) if votes[track].any()}


def align(classes: Sequence[ClassMap], tracks: Sequence[TrackMap], class_of: Mapping[int, int]) -> list[ClassMap]:
    """Give every track's masks its class in all frames; a track that ``class_of`` lacks keeps what lies below it."""
    _check(classes, tracks)
    table = np.full(max((int(frame.max(initial=0)) for frame in tracks), default=0) + 1, KEEPS, np.int16)
    for track, class_id in class_of.items():
        if 0 < track < len(table):
            table[track] = class_id
    aligned = []
    for class_map, track_map in zip(classes, tracks, strict=True):
        given = table[track_map]
        aligned.append(np.where(given == KEEPS, class_map, given).astype(np.uint8))
    return aligned


def count_classes(classes: Sequence[ClassMap], tracks: Sequence[TrackMap], num_classes: int) -> ClassCounts:
    """Count the pixels of each class inside instances and in all; call it with aligned classes."""
    votes = track_votes(classes, tracks, num_classes)
    return ClassCounts(votes[1:].sum(axis=0), votes.sum(axis=0))


def _check(classes: Sequence[ClassMap], tracks: Sequence[TrackMap]) -> None:
    if [frame.shape for frame in classes] != [frame.shape for frame in tracks]:
        raise ValueError("classes and tracks must be as many frames of the same sizes; compute both from the same clip")
