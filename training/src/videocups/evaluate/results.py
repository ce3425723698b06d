"""An evaluation as JSON and as a table in the terminal."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from math import isnan
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

import videocups
import videocups_core
from videocups.evaluate.datasets import load_spec
from videocups.evaluate.run import Evaluation
from videocups_core.clip import write_atomically

FORMAT = "videocups.evaluation/1"
LABELS = {
    "stq": "STQ",
    "aq": "AQ",
    "sq": "SQ",
    "miou": "mIoU",
    "pq": "PQ",
    "pq_sq": "PQ: SQ",
    "pq_rq": "PQ: RQ",
    "pq_things": "PQ things",
    "pq_stuff": "PQ stuff",
    "vpq": "VPQ",
}


def label(score: str) -> str:
    """Return how a headline score is written for people."""
    return LABELS.get(score, score.replace("vpq_", "VPQ k="))


def percent(value: float) -> str:
    """Return 0.1234 as 12.3, NaN as a dash."""
    return "–" if isnan(value) else f"{100 * value:.1f}"


def to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return everything as JSON-ready values; NaN becomes null."""
    scores = evaluation.scores
    return {
        "format": FORMAT,
        "created_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {
            "videocups": videocups.__version__,
            "videocups_core": videocups_core.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "opencv": cv2.__version__,
        },
        "dataset": _dataset(evaluation),
        "prediction": {
            "path": str(evaluation.request.prediction),
            "format": evaluation.predictions.format,
            "frames": evaluation.frames,
            "frames_without_truth": evaluation.extra_frames,
            "resized": evaluation.request.resize,
        },
        "mapping": mapping_to_json(evaluation),
        "scores": _finite(scores.headline),
        "predicted_void_px": scores.predicted_void_px,
        "diagnostics": diagnostics(evaluation),
        "per_class": [
            _finite({**asdict(row), "scored": row.class_id in evaluation.dataset.scored}) for row in scores.per_class
        ],
        "per_sequence": [_finite(asdict(row)) for row in scores.per_sequence],
        "confusion": {
            "rows": "true class, last = void",
            "columns": "predicted class, last = void",
            "pixels": scores.confusion.tolist(),
        },
    }


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write everything as JSON, atomically."""
    text = json.dumps(to_json(evaluation), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def extent(evaluation: Evaluation) -> str:
    """Return how much was scored, such as "1 sequence, 20 frames"."""
    counts = ((len(evaluation.jobs), "sequence"), (evaluation.frames, "labeled frame"))
    return ", ".join(f"{count:,} {noun}{'' if count == 1 else 's'}" for count, noun in counts)


def kind(evaluation: Evaluation, class_id: int) -> str:
    """Return what a class is: thing, thing without ids in this dataset, or stuff; and whether it is scored."""
    dataset = evaluation.dataset
    without_ids = "thing, no ids" if dataset.classes[class_id].is_thing else "stuff"
    what = "thing" if class_id in dataset.things else without_ids
    return what if class_id in dataset.scored else f"{what}, not scored"


def split_name(evaluation: Evaluation) -> str:
    """Return the split that was scored."""
    return evaluation.request.split or load_spec(evaluation.request.dataset).default_split


def mapping_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return the mapping with its fingerprint, one row a predicted class."""
    mapping = evaluation.mapping
    return {
        "mode": evaluation.request.mapping,
        "fingerprint": mapping.fingerprint,
        "unmatched_classes": [mapping.class_names[c] for c in missing_classes(evaluation)],
        "rows": [
            {
                "pseudo": pseudo,
                "target": target,
                "name": mapping.pseudo_names[pseudo],
                "method": mapping.methods[pseudo],
                "is_thing": pseudo in mapping.pseudo_things,
            }
            for pseudo, target in enumerate(mapping.targets)
        ],
    }


def diagnostics(evaluation: Evaluation) -> dict[str, Any]:
    """Return identity switches, broken tracks and flicker, as far as they were measured."""
    found: dict[str, Any] = {}
    if evaluation.scores.tracking is not None:
        found["tracking"] = asdict(evaluation.scores.tracking)
    if evaluation.stability is not None:
        found["stability"] = {**asdict(evaluation.stability), "change_rate": evaluation.stability.change_rate}
    return found


def diagnostic_lines(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return the diagnostics as (name, value) for people."""
    lines = []
    if (t := evaluation.scores.tracking) is not None and t.tubes:
        followed = percent(t.tracked_frames / t.visible_frames)
        lines = [
            ("true objects", f"{t.tubes:,}"),
            ("followed, % of their frames", followed),
            ("id switches", f"{t.id_switches:,}"),
            ("broken tracks", f"{t.fragmentations:,}"),
            ("mostly followed", f"{t.mostly_tracked:,}"),
            ("mostly lost", f"{t.mostly_lost:,}"),
        ]
    if evaluation.stability is not None:
        rate = evaluation.stability.change_rate
        lines.append(("static pixels that change class, % a frame", f"{100 * rate:.2f}"))
    return lines


def missing_classes(evaluation: Evaluation) -> list[int]:
    """Return the scored classes that occur in the truth and that no predicted class maps to."""
    rows = evaluation.scores.per_class
    candidates = evaluation.dataset.scored & set(evaluation.mapping.unmatched_classes)
    return [row.class_id for row in rows if row.class_id in candidates and row.true_px]


def print_tables(evaluation: Evaluation, stream: IO[str] | None = None) -> None:
    """Print the headline, the classes and what deserves a word."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(file=stream, highlight=False)
    console.print(f"[bold]{escape(evaluation.dataset.title)}[/], {extent(evaluation)}")
    for line in headline_lines(evaluation.scores.headline):
        console.print("  " + "   ".join(f"{label(score)} [bold]{percent(value)}[/]" for score, value in line))
    classes = Table(title="Classes", title_justify="left")
    classes.add_column("class")
    classes.add_column("kind", no_wrap=True)
    for column in ("IoU", "AQ", "PQ", "SQ", "RQ", "true px"):
        classes.add_column(column, justify="right")
    for row in evaluation.scores.per_class:
        numbers = map(percent, (row.iou, row.aq, row.pq, row.sq, row.rq))
        classes.add_row(escape(row.name), kind(evaluation, row.class_id), *numbers, f"{row.true_px:,}")
    console.print(classes)
    if lines := diagnostic_lines(evaluation):
        # a line of its own for each few, or a narrow terminal would part a number from its name
        for at in range(0, len(lines), 3):
            console.print("  " + "   ".join(f"{name} [bold]{value}[/]" for name, value in lines[at : at + 3]))
    for note in notes(evaluation):
        console.print(f"[yellow]note:[/] {escape(note)}")


def headline_lines(headline: dict[str, float]) -> list[list[tuple[str, float]]]:
    """Return the headline scores in lines of one family each: STQ or mIoU, PQ, VPQ."""
    families = {"pq": "pq", "vpq": "vpq"}
    lines: dict[str, list[tuple[str, float]]] = {}
    for score, value in headline.items():
        lines.setdefault(families.get(score.split("_")[0], "first"), []).append((score, value))
    return list(lines.values())


def notes(evaluation: Evaluation) -> list[str]:
    """Return what a reader of the numbers should know."""
    found = []
    if lost := missing_classes(evaluation):
        names = ", ".join(evaluation.mapping.class_names[c] for c in lost)
        found.append(f"no predicted class maps to {names}; these classes score 0")
    if not evaluation.scores.confusion[:-1].any():
        found.append("the truth has no labeled pixel here, so nothing can be scored")
    if evaluation.scores.predicted_void_px:
        pixels = f"{evaluation.scores.predicted_void_px:,}"
        found.append(f"{pixels} labeled pixels are predicted void; SQ counts void as a class with IoU 0")
    if evaluation.extra_frames:
        found.append(f"{evaluation.extra_frames} predicted frames have no truth here and were ignored")
    if not evaluation.dataset.has_video_ids:
        found.append("this dataset has single images; STQ and VPQ need video")
    return found


def _dataset(evaluation: Evaluation) -> dict[str, Any]:
    dataset = evaluation.dataset
    return {
        "name": dataset.name,
        "title": dataset.title,
        "path": str(evaluation.request.truth),
        "split": split_name(evaluation),
        "sequences": len(evaluation.jobs),
        "frames": evaluation.frames,
        "classes": [info.name for info in dataset.classes],
        "things": sorted(dataset.things),
        "scored": sorted(dataset.scored),
        "void": dataset.void,
        "rules": asdict(dataset.rules),
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and isnan(value) else value for key, value in row.items()}
