"""Video panoptic quality (VPQ): PQ of tubes in windows that slide over the annotated frames of a video."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass

from videocups.evaluate.classes import LabelSpace, whole
from videocups.evaluate.overlaps import Frame, PairCounts, add_pairs, count_pairs
from videocups.evaluate.pq import ClassCounts, PqResult, add_counts, match_segments, score
from videocups.evaluate.sequences import Frames, keyed_frames
from videocups_core.types import VOID_CLASS

WINDOWS = (1, 2, 3, 4)
"""Window lengths in annotated frames (Kim et al. 2020 write k = 0, 5, 10, 15 frames of video)."""


@dataclass(frozen=True)
class VpqResult:
    """``vpq``, ``things``, ``stuff``: means over the windows (NaN if no video is as long as one of them).

    ``per_window[k]`` is the PQ of tubes in windows of ``k`` annotated frames.
    """

    vpq: float
    things: float
    stuff: float
    per_window: dict[int, PqResult]


class VpqAccumulator:
    """Match counts per video and window; the frames of a video come in order, videos in any order."""

    def __init__(
        self,
        things: Iterable[int],
        num_classes: int,
        void: int = VOID_CLASS,
        windows: Iterable[int] = WINDOWS,
    ) -> None:
        self.space = LabelSpace.of(things, num_classes, void)
        self.windows = tuple(sorted({whole(k, "windows") for k in windows}))
        if not self.windows or self.windows[0] < 1:
            raise ValueError(f"windows must be lengths >= 1 in annotated frames, got {self.windows}")
        self._counts: dict[Hashable, dict[int, ClassCounts]] = {}
        self._recent: dict[Hashable, deque[PairCounts]] = {}

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Keys of the videos seen so far."""
        return tuple(self._counts)

    def update(self, sequence_key: Hashable, frame: Frame) -> None:
        """Add the next annotated frame of a video."""
        self.update_pairs(sequence_key, count_pairs(frame))

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add the next annotated frame of a video, its pairs already counted."""
        counts = self._counts.setdefault(sequence_key, {k: {} for k in self.windows})
        recent = self._recent.setdefault(sequence_key, deque(maxlen=self.windows[-1]))
        recent.append(dict(self.space.checked(pairs)))
        window: PairCounts = {}
        for length, table in enumerate(reversed(recent), start=1):
            add_pairs(window, table)
            if length in counts:
                add_counts(counts[length], match_segments(window, self.space))

    def merge(self, other: VpqAccumulator) -> None:
        """Add the videos of ``other``; exact, in any order. A video must not be split: windows would cross the cut."""
        if (other.space, other.windows) != (self.space, self.windows):
            raise ValueError("cannot merge VPQ scores of different label spaces or windows")
        shared = self._counts.keys() & other._counts.keys()
        if shared:
            raise ValueError(f"videos {sorted(map(str, shared))} are in both parts; give each video to one accumulator")
        self._counts.update(deepcopy(other._counts))
        self._recent.update(deepcopy(other._recent))

    def result(self, sequence_key: Hashable | None = None) -> VpqResult:
        """Return the scores over all videos (counts are summed before the division), or of one."""
        if sequence_key is not None and sequence_key not in self._counts:
            raise ValueError(f"no sequence {sequence_key!r} was added; known are {list(self._counts)}")
        chosen = list(self._counts.values()) if sequence_key is None else [self._counts[sequence_key]]
        per_window: dict[int, PqResult] = {}
        for length in self.windows:
            total: ClassCounts = {}
            for counts in chosen:
                add_counts(total, counts[length])
            per_window[length] = score(total, self.space)
        results = per_window.values()
        return VpqResult(
            sum(r.pq for r in results) / len(results),
            sum(r.things.pq for r in results) / len(results),
            sum(r.stuff.pq for r in results) / len(results),
            per_window,
        )


def vpq(
    videos: Frames | Iterable[Frames] | Mapping[str, Frames],
    *,
    things: Iterable[int],
    num_classes: int,
    void: int = VOID_CLASS,
    windows: Iterable[int] = WINDOWS,
) -> VpqResult:
    """Score videos of ``(pred_class, pred_id, true_class, true_id)`` maps; a tube is a (class, id) within a window."""
    accumulator = VpqAccumulator(things, num_classes, void, windows)
    for key, frame in keyed_frames(videos):
        accumulator.update(key, frame)
    return accumulator.result()
