"""Segmentation and tracking quality (STQ): how well every pixel is classified and every object followed.

STEP (Weber et al. 2021): STQ = √(AQ · SQ). SQ is the mean IoU of the classes; AQ asks, for every true tube
(an object through a whole sequence), how its pixels are shared out among the predicted tubes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import fsum, sqrt

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.classes import LabelSpace
from videocups.evaluate.overlaps import Frame, PairCounts, add_pairs, count_pairs
from videocups.evaluate.sequences import Frames, keyed_frames
from videocups_core.types import VOID_CLASS

Tube = tuple[Hashable, int, int]
"""``(sequence key, class, id)``: the same id in two classes or two sequences is two tubes."""


@dataclass(frozen=True)
class StqStatistics:
    """The integers that the scores are made of.

    ``confusion``: (num_classes + 1, num_classes + 1) pixels, row = true class, column = predicted class,
    last = void. ``truth_px``: size of every true tube; crowd left out. ``prediction_px``: size of every predicted thing
    tube, true crowd pixels left out, pixels on true void counted. ``overlap_px``: pixels that a true and a predicted
    tube share.
    """

    confusion: NDArray[np.int64]
    truth_px: dict[Tube, int]
    prediction_px: dict[Tube, int]
    overlap_px: dict[tuple[Tube, Tube], int]


@dataclass(frozen=True)
class StqResult:
    """Scores in 0..1; NaN where nothing can be said.

    ``iou_per_class`` and ``aq_per_class``: (num_classes,), NaN for a class that is absent.
    ``predicted_void_px``: labelled pixels predicted as void; any at all add a class with IoU 0 to SQ.
    """

    stq: float
    aq: float
    sq: float
    iou_per_class: NDArray[np.float64]
    aq_per_class: NDArray[np.float64]
    predicted_void_px: int
    statistics: StqStatistics

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(num_classes + 1, num_classes + 1) pixels, row = true class, column = predicted class, last = void."""
        return self.statistics.confusion


class StqAccumulator:
    """Sparse counts of any number of sequences; memory grows with the pairs of tubes that meet, not with frames."""

    def __init__(self, things: Iterable[int], num_classes: int, void: int = VOID_CLASS) -> None:
        self.space = LabelSpace.of(things, num_classes, void)
        self._pairs: dict[Hashable, PairCounts] = {}

    @property
    def sequences(self) -> tuple[Hashable, ...]:
        """Keys of the sequences seen so far."""
        return tuple(self._pairs)

    def update(self, sequence_key: Hashable, frame: Frame) -> None:
        """Add one frame of a sequence; the order of frames does not matter."""
        self.update_pairs(sequence_key, count_pairs(frame))

    def update_pairs(self, sequence_key: Hashable, pairs: PairCounts) -> None:
        """Add a frame whose pairs are already counted."""
        things = self.space.things
        total = self._pairs.setdefault(sequence_key, {})
        for (pred_class, pred_id, true_class, true_id), pixels in self.space.checked(pairs).items():
            # The ids of stuff and void play no part; dropping them here keeps the table small.
            pred_key = pred_id if pred_class in things else 0
            pair = (pred_class, pred_key, true_class, true_id if true_class in things else 0)
            total[pair] = total.get(pair, 0) + pixels

    def merge(self, other: StqAccumulator) -> None:
        """Add the counts of ``other``; exact, in any order, also for two parts of one sequence."""
        if other.space != self.space:
            raise ValueError(f"cannot merge scores of different label spaces: {self.space} and {other.space}")
        for key, pairs in other._pairs.items():
            add_pairs(self._pairs.setdefault(key, {}), pairs)

    def statistics(self, sequence_key: Hashable | None = None) -> StqStatistics:
        """Return the integers behind the scores, pooled over all sequences or of one."""
        return gather_statistics(self._selected(sequence_key), self.space)

    def result(self, sequence_key: Hashable | None = None) -> StqResult:
        """Return the scores, pooled over all sequences (no mean over sequences) or of one."""
        return score(self.statistics(sequence_key), self.space)

    def _selected(self, sequence_key: Hashable | None) -> Mapping[Hashable, PairCounts]:
        if sequence_key is None:
            return self._pairs
        if sequence_key not in self._pairs:
            raise ValueError(f"no sequence {sequence_key!r} was added; known are {list(self._pairs)}")
        return {sequence_key: self._pairs[sequence_key]}


def stq(
    frames: Frames | Iterable[Frames] | Mapping[str, Frames],
    *,
    things: Iterable[int],
    num_classes: int,
    void: int = VOID_CLASS,
) -> StqResult:
    """Score one sequence, or several, of ``(pred_class, pred_id, true_class, true_id)`` maps.

    A true thing pixel with id 0 is crowd; ``pred_class`` may be void; a predicted thing with id 0 is an ordinary tube.
    """
    accumulator = StqAccumulator(things, num_classes, void)
    for key, frame in keyed_frames(frames):
        accumulator.update(key, frame)
    return accumulator.result()


def gather_statistics(sequences: Mapping[Hashable, PairCounts], space: LabelSpace) -> StqStatistics:
    """Return tube sizes, overlaps and confusion from the pair counts of each sequence."""
    confusion = np.zeros((space.num_classes + 1, space.num_classes + 1), dtype=np.int64)
    truth_px: dict[Tube, int] = {}
    prediction_px: dict[Tube, int] = {}
    overlap_px: dict[tuple[Tube, Tube], int] = {}
    for key, pairs in sequences.items():
        for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
            confusion[_index(true_class, space), _index(pred_class, space)] += pixels
            if space.is_crowd(true_class, true_id):
                continue  # STEP: crowd is taken out of both sides, whatever thing class was predicted
            truth, prediction = (key, true_class, true_id), (key, pred_class, pred_id)
            if true_class in space.things:
                truth_px[truth] = truth_px.get(truth, 0) + pixels
            if pred_class in space.things:
                prediction_px[prediction] = prediction_px.get(prediction, 0) + pixels
                if true_class in space.things:
                    overlap_px[truth, prediction] = overlap_px.get((truth, prediction), 0) + pixels
    return StqStatistics(confusion, truth_px, prediction_px, overlap_px)


def score(statistics: StqStatistics, space: LabelSpace) -> StqResult:
    """Turn the counts into scores."""
    aq, aq_per_class = association_quality(statistics, space.num_classes)
    sq, iou_per_class, predicted_void_px = segmentation_quality(statistics.confusion)
    return StqResult(sqrt(aq * sq), aq, sq, iou_per_class, aq_per_class, predicted_void_px, statistics)


def association_quality(statistics: StqStatistics, num_classes: int) -> tuple[float, NDArray[np.float64]]:
    """Return AQ over all true tubes (0 if there is none) and over the tubes of each class (NaN if none).

    STEP Eq. 4: AQ = 1/#tubes · Σ_g 1/|g| · Σ_p TPA(p, g) · IoU(p, g); the classes of p and g need not agree.
    """
    shares: dict[Tube, list[float]] = {tube: [] for tube in statistics.truth_px}
    for (truth, prediction), overlap in statistics.overlap_px.items():
        union = statistics.prediction_px[prediction] + statistics.truth_px[truth] - overlap
        shares[truth].append(overlap * overlap / union)
    # fsum rounds once, so the order in which frames and parts came in cannot show.
    per_tube = {tube: fsum(share) / statistics.truth_px[tube] for tube, share in shares.items()}
    per_class = np.full(num_classes, np.nan)
    for class_id in {tube[1] for tube in per_tube}:
        values = [value for tube, value in per_tube.items() if tube[1] == class_id]
        per_class[class_id] = fsum(values) / len(values)
    return (fsum(per_tube.values()) / len(per_tube) if per_tube else 0.0), per_class


def segmentation_quality(confusion: NDArray[np.int64]) -> tuple[float, NDArray[np.float64], int]:
    """Return SQ, the IoU of each class and the number of labelled pixels predicted as void.

    Rows of true void are dropped. Void as a prediction is then a class like any other whose IoU is always 0.
    """
    labelled = confusion[:-1]
    hits = np.diagonal(labelled)
    union = labelled.sum(axis=1) + labelled.sum(axis=0)[:-1] - hits
    iou = np.full(hits.size, np.nan)
    np.divide(hits, union, out=iou, where=union > 0)
    predicted_void_px = int(labelled[:, -1].sum())
    classes = int(np.count_nonzero(union)) + (predicted_void_px > 0)
    return (fsum(iou[union > 0]) / classes if classes else float("nan")), iou, predicted_void_px


def _index(class_id: int, space: LabelSpace) -> int:
    return space.num_classes if class_id == space.void else class_id
