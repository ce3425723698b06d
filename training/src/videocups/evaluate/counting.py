"""The two passes of an evaluation: count each sequence's pixel pairs once, then score the counts under a mapping.

The first pass reads the images and writes the sparse pair counts of every frame to a scratch file. The second pass
needs no image any more, so that a mapping found on the whole set costs next to nothing.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.datasets import Dataset, Frame, Sequence, resize_nearest
from videocups.evaluate.diagnostics import TrackingAccumulator
from videocups.evaluate.overlaps import PairCounts, count_pairs
from videocups.evaluate.pq import PqAccumulator
from videocups.evaluate.predictions import Predictions
from videocups.evaluate.stq import StqAccumulator
from videocups.evaluate.vpq import VpqAccumulator

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """One sequence to count: where each labeled frame's prediction is."""

    dataset: Dataset
    predictions: Predictions
    sequence: Sequence
    places: tuple[Any, ...]
    resize: bool


@dataclass
class SequenceCounts:
    """What the first pass leaves of a sequence: a scratch file, and what the matching needs.

    ``overlap_px``: (pseudo-class, true class) -> pixels, void included.
    ``predicted_px``: predicted class -> (pixels, pixels with an id).
    """

    key: str
    scratch: Path
    overlap_px: dict[tuple[int, int], int] = field(default_factory=dict)
    predicted_px: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass
class SequenceScores:
    """What the second pass leaves of a sequence.

    ``agreement``: one value a frame, the share of labeled pixels whose class is right.
    """

    key: str
    stq: StqAccumulator
    pq: PqAccumulator
    vpq: VpqAccumulator
    tracking: TrackingAccumulator
    agreement: list[float] = field(default_factory=list)


def aligned_maps(job: Job, frame: Frame, place: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (pred_class, pred_id, true_class, true_id) of one size; ValueError where sizes differ."""
    true_class, true_id = job.dataset.truth(job.sequence, frame)
    pred_class, pred_id = job.predictions.read(place)
    if pred_class.shape != true_class.shape:
        prepared = job.dataset.prepare(pred_class), job.dataset.prepare(pred_id)
        if prepared[0].shape == true_class.shape:
            pred_class, pred_id = prepared
        elif job.resize:
            shape = (true_class.shape[0], true_class.shape[1])
            pred_class, pred_id = resize_nearest(pred_class, shape), resize_nearest(pred_id, shape)
        else:
            sizes = " and ".join(f"{labels.shape[1]}×{labels.shape[0]}" for labels in (pred_class, true_class))
            raise ValueError(
                f"{job.sequence.key}, frame {frame.name}: prediction and truth differ in size, {sizes} px; "
                "predict at the truth's size, or pass --resize to resize predictions (nearest neighbour)"
            )
    return pred_class, pred_id, true_class, true_id


def count_sequence(job: Job, scratch_folder: Path, number: int) -> SequenceCounts:
    """First pass: read every labeled frame of one sequence and count its pairs."""
    counts = SequenceCounts(job.sequence.key, scratch_folder / f"{number:06d}.npy")
    with counts.scratch.open("wb") as file:
        for frame, place in zip(job.sequence.frames, job.places, strict=True):
            pairs = count_pairs(aligned_maps(job, frame, place))
            np.save(file, _to_array(pairs), allow_pickle=False)
            _add_overlaps(counts, pairs)
    return counts


def score_counts(
    counts: SequenceCounts, mapping: ClassMapping, things: frozenset[int], num_classes: int, windows: tuple[int, ...]
) -> SequenceScores:
    """Second pass: map the predicted classes of one sequence and feed every metric."""
    space = (things, num_classes, mapping.void)
    scores = SequenceScores(
        counts.key,
        StqAccumulator(*space),
        PqAccumulator(*space),
        VpqAccumulator(*space, windows),
        TrackingAccumulator(*space),
    )
    for pairs in read_scratch(counts.scratch):
        mapped = without_stuff_ids(mapping.apply_pairs(pairs), things)
        for accumulator in (scores.stq, scores.pq, scores.vpq, scores.tracking):
            accumulator.update_pairs(counts.key, mapped)
        scores.agreement.append(agreement(mapped, mapping.void))
    return scores


def without_stuff_ids(pairs: PairCounts, things: frozenset[int]) -> PairCounts:
    """Take the ids off predicted classes without objects: a stuff class is one segment a frame, whoever cut it up."""
    merged: PairCounts = {}
    for (pred_class, pred_id, true_class, true_id), pixels in pairs.items():
        pair = (pred_class, pred_id if pred_class in things else 0, true_class, true_id)
        merged[pair] = merged.get(pair, 0) + pixels
    return merged


def agreement(pairs: PairCounts, void: int) -> float:
    """Return the share of labeled pixels whose class is right; NaN without labeled pixels."""
    labeled = sum(pixels for (_, _, true_class, _), pixels in pairs.items() if true_class != void)
    right = sum(pixels for (pred, _, true, _), pixels in pairs.items() if pred == true != void)
    return right / labeled if labeled else float("nan")


def read_scratch(path: Path) -> Iterator[PairCounts]:
    """Yield the pair counts of every frame, in order."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            rows = np.load(file, allow_pickle=False)
            yield {(row[0], row[1], row[2], row[3]): row[4] for row in rows.tolist()}


def run_jobs(jobs: Mapping[str, Callable[[], Result]], workers: int) -> Iterator[tuple[str, Result]]:
    """Yield ``(key, result)`` of every job as it is done; a failure in any job is raised here."""
    if workers <= 1:
        for key, job in jobs.items():
            yield key, job()
        return
    # spawn: forking a process that already runs threads (OpenCV, BLAS) can deadlock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs) or 1), mp_context=context) as pool:
        futures = {pool.submit(job): key for key, job in jobs.items()}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def counting_jobs(jobs: list[Job], scratch_folder: Path) -> dict[str, Callable[[], SequenceCounts]]:
    """Return the first pass as picklable calls."""
    return {job.sequence.key: partial(count_sequence, job, scratch_folder, n) for n, job in enumerate(jobs)}


def _to_array(pairs: PairCounts) -> NDArray[np.uint64]:
    return np.array([(*pair, pixels) for pair, pixels in pairs.items()], dtype=np.uint64).reshape(-1, 5)


def _add_overlaps(counts: SequenceCounts, pairs: PairCounts) -> None:
    for (pred_class, pred_id, true_class, _), pixels in pairs.items():
        overlap = (pred_class, true_class)
        counts.overlap_px[overlap] = counts.overlap_px.get(overlap, 0) + pixels
        everything, with_id = counts.predicted_px.get(pred_class, (0, 0))
        counts.predicted_px[pred_class] = (everything + pixels, with_id + (pixels if pred_id else 0))
