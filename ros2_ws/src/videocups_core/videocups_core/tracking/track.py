"""One track's memory, and the 16-bit segment ids tracks live under."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from videocups_core.panoptic.merge import Merged
from videocups_core.types import MAX_SEGMENT_ID

FIRST_THING_SEGMENT = 256
"""Stuff of class c is segment c + 1; things come after all of these."""


def stuff_segment_id(class_id: int) -> int:
    """Segment id of a stuff class: the same in every frame of every stream."""
    return class_id + 1


class SegmentIds:
    """Gives out segment ids in turn, so that an id rests as long as possible before it is used again."""

    def __init__(self) -> None:
        self._next = FIRST_THING_SEGMENT
        self._used: set[int] = set()

    def take(self) -> int:
        """Return a free id; the search is short because far fewer are used than there are."""
        while self._next in self._used:
            self._advance()
        taken = self._next
        self._used.add(taken)
        self._advance()
        return taken

    def give_back(self, segment_id: int) -> None:
        """Free the id of a dead track."""
        self._used.remove(segment_id)

    def _advance(self) -> None:
        self._next = self._next + 1 if self._next < MAX_SEGMENT_ID else FIRST_THING_SEGMENT


@dataclass
class Track:
    """What is remembered of one thing; its size does not grow with its age.

    ``row``: its row in the last frame that showed it. ``missed``: frames since then. ``votes``: score by class.
    """

    track_id: int
    segment_id: int
    embedding: NDArray[np.float64]
    box: NDArray[np.float64]
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(4))
    votes: dict[int, float] = field(default_factory=dict)
    class_id: int = -1
    score: float = 0.0
    row: int = -1
    missed: int = 0
    age: int = 0
    sightings: int = 0

    def observe(self, merged: Merged, index: int, embedding_update: float) -> None:
        """Take the detection in row ``index`` as this track's newest sighting."""
        box = merged.boxes[index].astype(np.float64)
        if self.sightings:
            frames = max(self.missed, 1)
            self.velocity = 0.5 * self.velocity + 0.5 * (box - self.box) / frames
            newest = merged.embeddings[index].astype(np.float64)
            self.embedding = (1 - embedding_update) * self.embedding + embedding_update * newest
        self.box = box
        self.row = index
        self.missed = 0
        self.sightings += 1
        self.score = float(merged.scores[index])
        voted = int(merged.class_ids[index])
        self.votes[voted] = self.votes.get(voted, 0.0) + self.score
        # Ties go to the lower class id, so that the outcome does not depend on the order of votes.
        self.class_id = min(self.votes, key=lambda class_id: (-self.votes[class_id], class_id))

    def predicted_box(self) -> NDArray[np.float64]:
        """Where constant velocity would have brought the box since the last sighting, in the next frame."""
        return self.box + self.velocity * (self.missed + 1)
