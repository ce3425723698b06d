"""Scores of pseudo-labels: over all clips, of clips apart, and of tracks by the way they move."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from labelled_clips import StreetClip

from videocups.evaluate.choose_mapping import PredictedClasses, match
from videocups.evaluate.counting import without_stuff_ids
from videocups.evaluate.datasets import TableDataset
from videocups.evaluate.overlaps import PairCounts, add_pairs
from videocups.evaluate.stq import StqAccumulator, StqStatistics, association_quality
from videocups.fusion.panoptic_clip import class_table
from videocups_core.types import ClassInfo

WAYS = ("across", "along", "oncoming", "standing", "moving", "parked")
"""how a track moves against the ego; "standing": the ego stands. Rendered clips tell only that it moves."""
Ways = Mapping[tuple[str, int], str]
"""(clip, true track) -> way; a track that is not in it never moves."""
Part = dict[str, float]


@dataclass(frozen=True)
class Scores:
    """``aq_tracks``: AQ of the tracks alone. In ``aq`` a crowd, which training ignores, counts as one more track.

    ``stq_by_seed``: of each clustering. ``aq_by_way``: AQ of tracks of each way. ``by_clip``: "stq", "aq" and "sq" of
    each clip, classes matched over all.
    """

    stq: float
    aq: float
    sq: float
    aq_tracks: float
    stq_by_seed: tuple[float, ...] = ()
    aq_by_way: Part = field(default_factory=dict)
    by_clip: dict[str, Part] = field(default_factory=dict)

    @property
    def spread(self) -> float:
        """Standard deviation of STQ over clusterings."""
        return deviation(self.stq_by_seed)

    def gain(self, before: Scores) -> tuple[float, float]:
        """Return the change of STQ since ``before``, clustering by clustering: its mean and standard deviation."""
        changes = np.subtract(self.stq_by_seed, before.stq_by_seed)
        return float(changes.mean()), deviation(changes)


def deviation(values: Sequence[float] | np.ndarray) -> float:
    """Return the standard deviation of a sample, 0 of a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def mean_scores(scores: Sequence[Scores]) -> Scores:
    """Return the mean over clusterings; the STQ of each is kept."""
    first = scores[0]
    values = {name: _mean(getattr(one, name) for one in scores) for name in ("stq", "aq", "sq", "aq_tracks")}
    ways = {way: _mean(one.aq_by_way[way] for one in scores) for way in first.aq_by_way}
    clips = {
        clip: {name: _mean(one.by_clip[clip][name] for one in scores) for name in part}
        for clip, part in first.by_clip.items()
    }
    return replace(first, **values, stq_by_seed=tuple(one.stq for one in scores), aq_by_way=ways, by_clip=clips)


def _mean(values) -> float:
    return float(np.mean(list(values)))


def matched_score(
    dataset: TableDataset, pairs: dict[str, list[PairCounts]], table: Sequence[ClassInfo], ways: Ways
) -> Scores:
    """Match the classes over all clips and return the scores."""
    mapping = match(dataset, predicted_classes(table), class_overlap(dataset, pairs, len(table)))
    total, alone = (StqAccumulator(dataset.things, dataset.num_classes, dataset.void) for _ in range(2))
    stuff = min(dataset.scored - dataset.things)
    for name, frames in pairs.items():
        for frame in frames:
            mapped = without_stuff_ids(mapping.apply_pairs(frame), dataset.things)
            total.update_pairs(name, mapped)
            alone.update_pairs(name, without_crowds(mapped, dataset.things, stuff))
    result = total.result()
    by_clip = {name: _part(total.result(name)) for name in pairs}
    by_way = aq_by_way(alone.statistics(), ways, dataset.num_classes)
    return Scores(result.stq, result.aq, result.sq, alone.result().aq, aq_by_way=by_way, by_clip=by_clip)


def _part(result) -> Part:
    return {"stq": result.stq, "aq": result.aq, "sq": result.sq}


def mean_iou(dataset: TableDataset, pairs: dict[str, list[PairCounts]], classes: int) -> float:
    """Return the mean IoU of classes alone, matched over all clips."""
    mapping = match(dataset, predicted_classes(class_table([False] * classes)), class_overlap(dataset, pairs, classes))
    total = StqAccumulator(dataset.things, dataset.num_classes, dataset.void)
    for name, frames in pairs.items():
        for frame in frames:
            total.update_pairs(name, mapping.apply_pairs(frame))
    return total.result().sq


def predicted_classes(table: Sequence[ClassInfo]) -> PredictedClasses:
    """Return what the matching must know of pseudo-classes."""
    things = frozenset(info.class_id for info in table if info.is_thing)
    return PredictedClasses(len(table), frozenset(range(len(table))), things, {})


def class_overlap(dataset: TableDataset, pairs: dict[str, list[PairCounts]], count: int) -> np.ndarray:
    """Return the pixels that pseudo-classes and true classes share: (count + 1, classes)."""
    overlap = np.zeros((count + 1, dataset.num_classes), np.int64)
    for frame in (frame for frames in pairs.values() for frame in frames):
        for (pred_class, _, true_class, _), pixels in frame.items():
            if true_class != dataset.void:
                overlap[min(pred_class, count), true_class] += pixels
    return overlap


def aq_by_way(statistics: StqStatistics, ways: Ways, num_classes: int) -> Part:
    """Return AQ over the true tracks of each way."""
    groups = defaultdict(set)
    for tube in statistics.truth_px:
        groups[ways.get((str(tube[0]), tube[2]), "parked")].add(tube)
    parts = {}
    for way, tubes in groups.items():
        truth = {tube: statistics.truth_px[tube] for tube in tubes}
        overlap = {pair: pixels for pair, pixels in statistics.overlap_px.items() if pair[0] in tubes}
        parts[way] = association_quality(replace(statistics, truth_px=truth, overlap_px=overlap), num_classes)[0]
    return {way: parts[way] for way in WAYS if way in parts}


def ways_of_clip(folder: Path, frames: int) -> dict[int, str]:
    """Return how each track that moves does so in most of the frames."""
    truth = folder / "truth" / "truth.json"
    if truth.is_file():  # a rendered clip
        moving = json.loads(truth.read_text())["moving_tracks"]
        tracks = [table for number, table in moving.items() if int(number) < frames]
        return {int(track): "moving" for table in tracks for track in table}
    counts: dict[int, Counter[str]] = defaultdict(Counter)
    street = StreetClip(folder)
    for number in range(frames):
        for track, way in street.ways(number).items():
            counts[track][way] += 1
    return {track: count.most_common(1)[0][0] for track, count in counts.items()}


def without_crowds(pairs: PairCounts, things: frozenset[int], stuff: int) -> PairCounts:
    """Take predicted things without an id for ``stuff``: then they are no track."""
    kept: PairCounts = {}
    for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
        crowd = pred_class in things and pred_id == 0
        add_pairs(kept, {(stuff if crowd else pred_class, pred_id, true_class, true_id): pixels})
    return kept
