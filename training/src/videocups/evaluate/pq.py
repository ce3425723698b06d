"""Panoptic quality (PQ): segments of one image, matched at IoU > 0.5 and counted per class."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from videocups.evaluate.classes import LabelSpace
from videocups.evaluate.overlaps import Frame, PairCounts, count_pairs
from videocups.evaluate.sequences import Frames, keyed_frames
from videocups_core.types import VOID_CLASS

Segment = tuple[int, int]
"""``(class, id)``: also stuff with several ids is several segments."""

# A float64 in (0.5, 1] is a whole number of 2**-53, so a sum of such IoUs is an exact integer in this unit:
# merging is associative to the last bit.
_UNITS_PER_IOU = 2**53


@dataclass(frozen=True)
class MatchCounts:
    """Matches of one class: matched pairs, predictions and truths left over, and the exact sum of the matched IoUs."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    iou_units: int = 0

    def __add__(self, other: MatchCounts) -> MatchCounts:
        return MatchCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.iou_units + other.iou_units)

    @property
    def iou_sum(self) -> float:
        """Sum of the IoUs of the matched pairs."""
        return self.iou_units / _UNITS_PER_IOU


ClassCounts = dict[int, MatchCounts]
"""Matches of every class that occurs."""


@dataclass(frozen=True)
class ClassPq:
    """Scores of one class, NaN where it is absent; a class without a match has SQ 0."""

    pq: float
    sq: float
    rq: float
    counts: MatchCounts


@dataclass(frozen=True)
class PqScores:
    """Means over ``classes`` classes; NaN over none."""

    pq: float
    sq: float
    rq: float
    classes: int


@dataclass(frozen=True)
class PqResult:
    """Means over all classes that occur, over things and over stuff; ``per_class[c]`` for every class ``c``."""

    pq: float
    sq: float
    rq: float
    things: PqScores
    stuff: PqScores
    per_class: tuple[ClassPq, ...]


class PqAccumulator:
    """Match counts per sequence (or any other group of images); images come in any order."""

    def __init__(self, things: Iterable[int], num_classes: int, void: int = VOID_CLASS) -> None:
        self.space = LabelSpace.of(things, num_classes, void)
        self._counts: dict[Hashable, ClassCounts] = {}

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Keys of the groups seen so far."""
        return tuple(self._counts)

    def update(self, sequence_key: Hashable, frame: Frame) -> None:
        """Match the segments of one image and add them to the group ``sequence_key``."""
        self.update_pairs(sequence_key, count_pairs(frame))

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add an image whose pairs are already counted."""
        found = match_segments(self.space.checked(pairs), self.space)
        add_counts(self._counts.setdefault(sequence_key, {}), found)

    def merge(self, other: PqAccumulator) -> None:
        """Add the counts of ``other``; exact, in any order."""
        if other.space != self.space:
            raise ValueError(f"cannot merge scores of different label spaces: {self.space} and {other.space}")
        for key, counts in other._counts.items():
            add_counts(self._counts.setdefault(key, {}), counts)

    def result(self, sequence_key: Hashable | None = None) -> PqResult:
        """Return the scores over all images, or over those of one group."""
        if sequence_key is not None and sequence_key not in self._counts:
            raise ValueError(f"no sequence {sequence_key!r} was added; known are {list(self._counts)}")
        chosen = self._counts.values() if sequence_key is None else [self._counts[sequence_key]]
        total: ClassCounts = {}
        for counts in chosen:
            add_counts(total, counts)
        return score(total, self.space)


def pq(
    images: Frames | Iterable[Frames] | Mapping[str, Frames],
    *,
    things: Iterable[int],
    num_classes: int,
    void: int = VOID_CLASS,
) -> PqResult:
    """Score ``(pred_class, pred_id, true_class, true_id)`` maps, one tuple an image; a segment is a (class, id)."""
    accumulator = PqAccumulator(things, num_classes, void)
    for key, frame in keyed_frames(images):
        accumulator.update(key, frame)
    return accumulator.result()


def match_segments(pairs: PairCounts, space: LabelSpace) -> ClassCounts:
    """Match predicted with true segments of one class at IoU > 0.5 and count, per class, TP, FP, FN and the IoUs.

    The union leaves out true void, but not crowd. A prediction without a match is no FP if more than half of it
    lies on void and on crowd of its own class.
    """
    pred_px, true_px, ignored_px, void_px = segment_areas(pairs, space)
    counts: ClassCounts = {}
    matched: set[tuple[str, Segment]] = set()
    for (pred_class, pred_id, true_class, true_id), overlap in pairs.items():
        if pred_class != true_class or true_class == space.void or space.is_crowd(true_class, true_id):
            continue
        prediction, truth = (pred_class, pred_id), (true_class, true_id)
        union = pred_px[prediction] + true_px[truth] - overlap - void_px.get(prediction, 0)
        if 2 * overlap > union:
            matched |= {("prediction", prediction), ("truth", truth)}
            units = int(overlap / union * _UNITS_PER_IOU)
            _count(counts, true_class, MatchCounts(tp=1, iou_units=units))
    for truth in true_px:
        if ("truth", truth) not in matched and not space.is_crowd(*truth):
            _count(counts, truth[0], MatchCounts(fn=1))
    for prediction, area in pred_px.items():
        if ("prediction", prediction) not in matched and 2 * ignored_px.get(prediction, 0) <= area:
            _count(counts, prediction[0], MatchCounts(fp=1))
    return counts


def segment_areas(pairs: PairCounts, space: LabelSpace) -> tuple[dict[Segment, int], ...]:
    """Return pixels of predicted and of true segments, and of predictions on void-or-own-crowd and on void."""
    pred_px: dict[Segment, int] = {}
    true_px: dict[Segment, int] = {}
    ignored_px: dict[Segment, int] = {}
    void_px: dict[Segment, int] = {}
    for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
        prediction, truth = (pred_class, pred_id), (true_class, true_id)
        if true_class != space.void:
            true_px[truth] = true_px.get(truth, 0) + pixels
        if pred_class == space.void:
            continue
        pred_px[prediction] = pred_px.get(prediction, 0) + pixels
        on_void = true_class == space.void
        if on_void:
            void_px[prediction] = void_px.get(prediction, 0) + pixels
        if on_void or (true_class == pred_class and space.is_crowd(true_class, true_id)):
            ignored_px[prediction] = ignored_px.get(prediction, 0) + pixels
    return pred_px, true_px, ignored_px, void_px


def add_counts(total: ClassCounts, more: ClassCounts) -> None:
    """Add ``more`` onto ``total`` in place."""
    for class_id, counts in more.items():
        _count(total, class_id, counts)


def score(counts: ClassCounts, space: LabelSpace) -> PqResult:
    """Turn match counts into scores."""
    per_class = tuple(_class_scores(counts.get(c, MatchCounts())) for c in range(space.num_classes))
    overall = _mean(list(per_class))
    things = _mean([scores for c, scores in enumerate(per_class) if c in space.things])
    stuff = _mean([scores for c, scores in enumerate(per_class) if c not in space.things])
    return PqResult(overall.pq, overall.sq, overall.rq, things, stuff, per_class)


def _class_scores(counts: MatchCounts) -> ClassPq:
    weight = counts.tp + 0.5 * counts.fp + 0.5 * counts.fn
    if weight == 0:
        return ClassPq(float("nan"), float("nan"), float("nan"), counts)
    sq = counts.iou_sum / counts.tp if counts.tp else 0.0
    return ClassPq(counts.iou_sum / weight, sq, counts.tp / weight, counts)


def _mean(scores: list[ClassPq]) -> PqScores:
    present = [s for s in scores if s.counts != MatchCounts()]
    if not present:
        return PqScores(float("nan"), float("nan"), float("nan"), 0)
    n = len(present)
    return PqScores(sum(s.pq for s in present) / n, sum(s.sq for s in present) / n, sum(s.rq for s in present) / n, n)


def _count(counts: ClassCounts, class_id: int, more: MatchCounts) -> None:
    counts[class_id] = counts.get(class_id, MatchCounts()) + more
