"""What a lower precision costs, in points of STQ and PQ on clips."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.matching import OverlapAccumulator, match_classes
from videocups.evaluate.overlaps import PairCounts, count_pairs
from videocups.evaluate.pq import PqAccumulator
from videocups.evaluate.stq import StqAccumulator
from videocups.export.views import ViewFrame, Views
from videocups_core.bundle import ModelBundle
from videocups_core.engine.base import Engine
from videocups_core.stream import Stream
from videocups_core.types import ClassInfo, PanopticFrame

Maps = tuple[NDArray[np.int32], NDArray[np.int64]]
OnFrame = Callable[[], None]


@dataclass(frozen=True)
class Scores:
    """STQ with its parts, and PQ, all in 0…100."""

    stq: float
    aq: float
    sq: float
    pq: float


@dataclass(frozen=True)
class Loss:
    """Scores of the reference and of another engine on the same frames.

    Against the truth both have scores; without one the reference's answer is the truth, and ``reference`` is 100.
    """

    frames: int
    against: str
    reference: Scores
    other: Scores
    agreement: Scores

    @property
    def stq_points(self) -> float:
        """Points of STQ that are lost."""
        return self.reference.stq - self.other.stq

    @property
    def pq_points(self) -> float:
        """Points of PQ that are lost."""
        return self.reference.pq - self.other.pq


def loss_complaints(loss: Loss, precision: str, limit: float) -> list[str]:
    """Return what a graph loses beyond ``limit`` points; float32 may not lose PQ either, being the same network."""
    points = {"STQ": loss.stq_points} | ({"PQ": loss.pq_points} if precision == "fp32" else {})
    return [
        f"{precision} costs {value:.2f} points of {name} (limit {limit:g})"
        for name, value in points.items()
        if value > limit
    ]


def predict(bundle: ModelBundle, engine: Engine, views: Views, on_frame: OnFrame = lambda: None) -> list[list[Maps]]:
    """Return class and object maps of every frame, stretch by stretch, as the vehicle would publish them."""
    found = []
    for stretch in views.stretches:
        stream = Stream(bundle, engine)
        maps = []
        for frame in stretch:
            maps.append(_maps(stream.step(frame.image_rgb, frame.stamp_ns)))
            on_frame()
        found.append(maps)
    return found


def shows_objects(maps: list[list[Maps]]) -> bool:
    """Return whether a prediction has any object."""
    return any((ids > 0).any() for stretch in maps for _, ids in stretch)


def fullest(views: Views, maps: list[list[Maps]]) -> ViewFrame:
    """Return the frame with most pixels on objects among those that were predicted; the first where none was."""
    pixels = {
        (stretch, index): int(np.count_nonzero(ids))
        for stretch, found in enumerate(maps)
        for index, (_, ids) in enumerate(found)
    }
    stretch, index = max(pixels, key=lambda place: pixels[place], default=(0, 0))
    return views.stretches[stretch][index]


def measure_loss(
    views: Views, classes: tuple[ClassInfo, ...], reference: list[list[Maps]], other: list[list[Maps]]
) -> Loss:
    """Compare two engines' predictions by the truth of ``views``, or by each other where there is none."""
    things = [info.class_id for info in classes if info.is_thing]
    agreement = _score(_pairs(other, reference), things, len(classes))
    if views.dataset is None:
        if not shows_objects(reference):
            raise ValueError(
                f"the network shows no object in {len(views)} frames ({views.name}), so nothing can be lost; give "
                "clips with labels, or train longer"
            )
        return Loss(len(views), "the torch network's answer", Scores(100, 100, 100, 100), agreement, agreement)
    truth = [[_truth(frame) for frame in stretch] for stretch in views.stretches]
    counted = [_pairs(predictions, truth) for predictions in (reference, other)]
    mapping = _mapping(counted[0], classes, views)
    scores = [
        _score(
            [[mapping.apply_pairs(pairs) for pairs in stretch] for stretch in part],
            sorted(views.dataset.things),
            views.dataset.num_classes,
        )
        for part in counted
    ]
    if math.isnan(scores[0].stq):
        raise ValueError(f"no pixel of {len(views)} frames has a true class ({views.name}); give clips with labels")
    return Loss(len(views), f"the truth of {views.name}", scores[0], scores[1], agreement)


def _maps(frame: PanopticFrame) -> Maps:
    return frame.class_map().astype(np.int32), frame.track_map().astype(np.int64)


def _truth(frame: ViewFrame) -> Maps:
    if frame.truth is None:
        raise ValueError("frames of a dataset come with their truth, this one has none")
    return frame.truth[0].astype(np.int32), frame.truth[1].astype(np.int64)


def _pairs(predictions: list[list[Maps]], truths: list[list[Maps]]) -> list[list[PairCounts]]:
    return [
        [count_pairs((*predicted, *true)) for predicted, true in zip(stretch, other, strict=True)]
        for stretch, other in zip(predictions, truths, strict=True)
    ]


def _mapping(counted: list[list[PairCounts]], classes: tuple[ClassInfo, ...], views: Views) -> ClassMapping:
    """Match the network's classes with the truth's, by what the reference predicts."""
    assert views.dataset is not None
    overlaps = OverlapAccumulator(len(classes), views.dataset.num_classes)
    for index, stretch in enumerate(counted):
        for pairs in stretch:
            overlaps.update_pairs(index, pairs)
    pseudo_things = [info.class_id for info in classes if info.is_thing]
    return match_classes(overlaps.pixels, pseudo_things=pseudo_things, things=views.dataset.things)


def _score(counted: list[list[PairCounts]], things: list[int], num_classes: int) -> Scores:
    stq, pq = StqAccumulator(things, num_classes), PqAccumulator(things, num_classes)
    for index, stretch in enumerate(counted):
        for pairs in stretch:
            stq.update_pairs(index, pairs)
            pq.update_pairs(index, pairs)
    tubes, images = stq.result(), pq.result()
    return Scores(100 * tubes.stq, 100 * tubes.aq, 100 * tubes.sq, 100 * images.pq)
