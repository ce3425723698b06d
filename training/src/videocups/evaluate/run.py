"""Evaluate a folder of predictions against a dataset: find the files, count, map, score."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from videocups.evaluate.choose_mapping import AUTO, IDENTITY, choose_mapping, load_mapping
from videocups.evaluate.class_mapping import ClassMapping
from videocups.evaluate.counting import Job, SequenceCounts, counting_jobs, run_jobs, score_counts
from videocups.evaluate.datasets import TableDataset, open_dataset
from videocups.evaluate.diagnostics import Stability
from videocups.evaluate.predictions import ClipPredictions, Predictions, open_predictions
from videocups.evaluate.scores import ScoreTable, Totals
from videocups.progress import Progress

_FRAMES_PER_WORKER = 60
"""Starting a process takes about as long as scoring this many frames."""
_NAMED = 5


@dataclass(frozen=True)
class Request:
    """What ``videocups evaluate`` was asked for. ``things``: class names or ids, None = as the dataset says."""

    prediction: Path
    truth: Path
    dataset: str
    split: str | None = None
    sequences: tuple[str, ...] | None = None
    things: tuple[str, ...] | None = None
    mapping: str = AUTO
    prediction_format: str = "auto"
    resize: bool = False
    stability: bool = False
    workers: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """What came out, with what is needed to draw it. ``extra_frames``: predicted frames without truth, ignored."""

    request: Request
    dataset: TableDataset
    predictions: Predictions
    mapping: ClassMapping
    scores: ScoreTable
    jobs: dict[str, Job]
    frames: int
    extra_frames: int
    stability: Stability | None = None


def evaluate_predictions(request: Request) -> Evaluation:
    """Run the two passes. Missing frames, differing sizes and wrong layouts raise with a sentence."""
    dataset = _open(request)
    if request.mapping not in (AUTO, IDENTITY):
        load_mapping(request.mapping, dataset)  # a wrong file shall not cost a whole pass
    sequences = dataset.sequences()
    predictions = open_predictions(request.prediction, sequences, request.prediction_format)
    jobs = find_jobs(dataset, predictions, request.resize)
    frames = sum(len(job.places) for job in jobs)
    workers = request.workers if request.workers is not None else default_workers(len(jobs), frames)
    with tempfile.TemporaryDirectory(prefix="videocups-evaluate-") as scratch:
        counts = _count(jobs, Path(scratch), workers, frames)
        mapping = choose_mapping(request.mapping, dataset, predictions, counts)
        totals = Totals(dataset)
        scoring = {
            part.key: partial(score_counts, part, mapping, dataset.things, dataset.num_classes, dataset.vpq_windows)
            for part in counts
        }
        with Progress("score", total=len(counts), unit="sequences") as progress:
            for _, part_scores in run_jobs(scoring, workers):
                totals.add(part_scores)
                progress.advance()
    stability = _stability(jobs, mapping, workers) if request.stability else None
    return Evaluation(
        request=request,
        dataset=dataset,
        predictions=predictions,
        mapping=mapping,
        scores=totals.table(),
        jobs={job.sequence.key: job for job in jobs},
        frames=frames,
        extra_frames=predictions.count() - frames,
        stability=stability,
    )


def find_jobs(dataset: TableDataset, predictions: Predictions, resize: bool) -> list[Job]:
    """Find every labeled frame's prediction; FileNotFoundError names those that are missing."""
    lean, lean_predictions = replace(dataset, found=()), predictions.lean()  # what travels to the workers
    jobs, missing = [], []
    for sequence in dataset.sequences():
        places = []
        for frame in sequence.frames:
            place = predictions.locate(sequence, frame)
            places.append(place)
            if place is None:
                missing.append(f"{sequence.key}/{frame.name}" if frame.name != sequence.key else frame.name)
        jobs.append(Job(lean, lean_predictions, sequence, tuple(places), resize))
    if missing:
        total = sum(len(job.places) for job in jobs)
        more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        raise FileNotFoundError(
            f"{len(missing)} of {total} labeled frames have no prediction: {', '.join(missing[:_NAMED])}{more}; "
            f"predict every frame, or pick --sequences{_what_there_is(predictions)}"
        )
    return jobs


def _what_there_is(predictions: Predictions) -> str:
    if not isinstance(predictions, ClipPredictions):
        return ""
    more = " …" if len(predictions.folders) > _NAMED else ""
    named = ", ".join(folder.name for folder in predictions.folders[:_NAMED]) + more
    return f"; {predictions.root} holds {named}"


def default_workers(sequences: int, frames: int) -> int:
    """Return how many processes are worth their start."""
    return max(1, min(os.cpu_count() or 1, sequences, frames // _FRAMES_PER_WORKER))


def _open(request: Request) -> TableDataset:
    plain = open_dataset(request.dataset, request.truth, split=request.split, sequences=request.sequences)
    if request.things is None:
        return plain
    return replace(plain, things=frozenset(_class_id(plain, text) for text in request.things))


def _class_id(dataset: TableDataset, text: str) -> int:
    if text in dataset.class_of_name:
        return dataset.class_of_name[text]
    if text.isdecimal() and int(text) < dataset.num_classes:
        return int(text)
    names = ", ".join(info.name for info in dataset.classes)
    raise ValueError(f"--things {text!r} is no class of {dataset.name}; classes are {names}")


def _stability(jobs: list[Job], mapping: ClassMapping, workers: int) -> Stability:
    from videocups.evaluate.stability import sequence_stability

    total = Stability()
    calls = {job.sequence.key: partial(sequence_stability, job, mapping) for job in jobs}
    with Progress("follow pixels", total=len(jobs), unit="sequences") as progress:
        for _, part in run_jobs(calls, workers):
            total += part
            progress.advance()
    if not total.followed_px:
        raise ValueError("--stability needs the camera images beside the labels, at the places docs/evaluate.md names")
    return total


def _count(jobs: list[Job], scratch: Path, workers: int, frames: int) -> list[SequenceCounts]:
    lengths = {job.sequence.key: len(job.places) for job in jobs}
    counts = []
    with Progress("count", total=frames, unit="frames") as progress:
        for key, part in run_jobs(counting_jobs(jobs, scratch), workers):
            counts.append(part)
            progress.advance(lengths[key])
    return sorted(counts, key=lambda part: part.key)
