"""Which detection continues which track: MaskTrack R-CNN's score, solved without duplicate claims."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class AssociationConfig:
    """Weights of MaskTrack R-CNN's log p + score·log s + iou·IoU + class·[same class], and of our proximity term."""

    # Weight of log p, the embedding's softmax over the tracks and "new".
    embedding_weight: float = 1.0
    # Weight of log s: in a contest for one track the better detection wins.
    score_weight: float = 1.0
    # Weight of the overlap with the track.
    iou_weight: float = 2.0
    # Weight of an equal class; 10 practically forbids a change of class, 0 ignores noisy pseudo-classes.
    class_weight: float = 10.0
    # Weight of the nearness to where the track is expected, for small and fast things whose frames do not overlap; 0 is
    # MaskTrack's own formula.
    proximity_weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("embedding_weight", "score_weight", "iou_weight", "class_weight", "proximity_weight"):
            if not np.isfinite(getattr(self, name)) or getattr(self, name) < 0:
                raise ValueError(f"association.{name} must be >= 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Candidates:
    """n detections against t tracks of one level.

    ``similarity``: (n, t) embedding dot products. ``iou``, ``proximity``: (n, t) in 0..1.
    ``same_class``: (n, t) bool. ``scores``: (n,) detection scores in 0..1.
    """

    similarity: NDArray[np.float64]
    iou: NDArray[np.float64]
    proximity: NDArray[np.float64]
    same_class: NDArray[np.bool_]
    scores: NDArray[np.float64]


def associate(candidates: Candidates, config: AssociationConfig) -> NDArray[np.int64]:
    """Return the track (column) of every detection, -1 for "new"; no track is given twice.

    The Hungarian runs on each pair's gain over "new", whose embedding logit, IoU and proximity are 0 and whose class
    counts as equal. The softmax needs no computing: log p(track) − log p(new) is the dot product itself, its normaliser
    being a constant of the row, which an assignment cannot see. log s would be such a constant too, so it
    stands on the tracks alone.
    """
    count, tracks = candidates.similarity.shape
    if count == 0 or tracks == 0:
        return np.full(count, -1, dtype=np.int64)
    # A floor keeps log s finite; detections that weak are below every sensible threshold.
    log_score = np.log(np.maximum(candidates.scores, 1e-6))
    gains = np.zeros((count, tracks + count))  # the last columns: enough "new" for everyone
    gains[:, :tracks] = (
        config.embedding_weight * candidates.similarity
        + config.score_weight * log_score[:, None]
        + config.iou_weight * candidates.iou
        + config.proximity_weight * candidates.proximity
        + config.class_weight * (candidates.same_class.astype(np.float64) - 1.0)
    )
    rows, columns = linear_sum_assignment(gains, maximize=True)
    result = np.full(count, -1, dtype=np.int64)
    matched = columns < tracks
    result[rows[matched]] = columns[matched]
    return result
