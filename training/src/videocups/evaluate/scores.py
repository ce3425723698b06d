"""Put the metrics' results into one table: averages over the classes a dataset scores, per class and per sequence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import fsum, nan, sqrt

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.counting import SequenceScores
from videocups.evaluate.datasets import Dataset
from videocups.evaluate.diagnostics import ClassRow, TrackingAccumulator, TrackingDiagnostics, class_table
from videocups.evaluate.pq import PqAccumulator, PqResult
from videocups.evaluate.stq import StqAccumulator, StqResult
from videocups.evaluate.vpq import VpqAccumulator


@dataclass(frozen=True)
class SequenceRow:
    """Scores of one sequence; ``worst_frame`` is the place of the frame with the least agreement."""

    key: str
    frames: int
    stq: float
    aq: float
    sq: float
    pq: float
    agreement: float
    worst_frame: int


@dataclass(frozen=True)
class ScoreTable:
    """Everything an evaluation says in numbers, 0 to 1.

    ``headline``: name -> value, in the order they are shown. ``confusion``: rows true, columns predicted, last = void.
    ``tracking``: None for single images.
    """

    headline: dict[str, float]
    per_class: tuple[ClassRow, ...]
    per_sequence: tuple[SequenceRow, ...]
    confusion: NDArray[np.int64]
    predicted_void_px: int
    tracking: TrackingDiagnostics | None


class Totals:
    """The metrics of a whole dataset; sequences come in any order."""

    def __init__(self, dataset: Dataset) -> None:
        space = (dataset.things, dataset.num_classes, dataset.void)
        self._dataset = dataset
        self._stq, self._pq = StqAccumulator(*space), PqAccumulator(*space)
        self._vpq = VpqAccumulator(*space, dataset.vpq_windows)
        self._tracking = TrackingAccumulator(*space)
        self._agreement: dict[str, list[float]] = {}

    def add(self, scores: SequenceScores) -> None:
        """Merge the metrics of one sequence."""
        self._stq.merge(scores.stq)
        self._pq.merge(scores.pq)
        self._vpq.merge(scores.vpq)
        self._tracking.merge(scores.tracking)
        self._agreement[scores.key] = scores.agreement

    def table(self) -> ScoreTable:
        """Return the scores."""
        dataset, stq, pq = self._dataset, self._stq.result(), self._pq.result()
        means = _stq_means(stq, dataset)
        headline = dict(means) if dataset.has_video_ids else {"miou": means["sq"]}
        headline |= pq_means(pq, dataset)
        if dataset.has_video_ids:
            headline |= self._vpq_means()
        return ScoreTable(
            headline=headline,
            per_class=self._classes(stq, pq),
            per_sequence=self._sequences(),
            confusion=stq.confusion,
            predicted_void_px=stq.predicted_void_px,
            tracking=self._tracking.result() if dataset.has_video_ids else None,
        )

    def _vpq_means(self) -> dict[str, float]:
        windows = {k: pq_means(result, self._dataset)["pq"] for k, result in self._vpq.result().per_window.items()}
        mean = fsum(windows.values()) / len(windows)
        return {"vpq": mean} | {f"vpq_{k}": value for k, value in windows.items()}

    def _classes(self, stq: StqResult, pq: PqResult) -> tuple[ClassRow, ...]:
        names = [info.name for info in self._dataset.classes]
        rows = class_table(stq, self._stq.space, names, pq)
        return tuple(row if self._dataset.has_video_ids else replace(row, aq=nan) for row in rows)

    def _sequences(self) -> tuple[SequenceRow, ...]:
        rows = []
        for key, agreement in sorted(self._agreement.items()):
            means = _stq_means(self._stq.result(key), self._dataset)
            known = [value for value in agreement if value == value]
            rows.append(
                SequenceRow(
                    key=key,
                    frames=len(agreement),
                    stq=means["stq"],
                    aq=means["aq"],
                    sq=means["sq"],
                    pq=pq_means(self._pq.result(key), self._dataset)["pq"],
                    agreement=fsum(known) / len(known) if known else nan,
                    worst_frame=int(np.nanargmin(agreement)) if known else 0,
                )
            )
        return tuple(rows)


def _stq_means(result: StqResult, dataset: Dataset) -> dict[str, float]:
    """Return STQ, AQ, SQ, with SQ over the scored classes only."""
    present = [float(v) for c, v in enumerate(result.iou_per_class) if c in dataset.scored and not np.isnan(v)]
    classes = len(present) + (result.predicted_void_px > 0)
    sq = fsum(present) / classes if classes else nan
    return {"stq": sqrt(result.aq * sq), "aq": result.aq, "sq": sq}


def pq_means(result: PqResult, dataset: Dataset) -> dict[str, float]:
    """Return PQ, SQ and RQ over the scored classes that occur, and PQ over things and over stuff."""
    scored = {c: scores for c, scores in enumerate(result.per_class) if c in dataset.scored and scores.pq == scores.pq}
    things = [scores.pq for c, scores in scored.items() if c in dataset.things]
    stuff = [scores.pq for c, scores in scored.items() if c not in dataset.things]
    return {
        "pq": _mean(scores.pq for scores in scored.values()),
        "pq_sq": _mean(scores.sq for scores in scored.values()),
        "pq_rq": _mean(scores.rq for scores in scored.values()),
        "pq_things": _mean(things),
        "pq_stuff": _mean(stuff),
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return fsum(listed) / len(listed) if listed else nan
