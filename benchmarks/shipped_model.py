"""What the shipped model sees: rendered streets it never learned from, and labelled streets of another renderer.

    python benchmarks/shipped_model.py --out RUNS [--model MODEL …] [--pseudo LABELLED] [--write FILE]

MODEL is a bundle or a checkpoint (default: the shipped bundle). Held worlds are rendered into RUNS; the streets are
read from ../shared/data or $VIDEOCUPS_DATA and left out where they are absent. LABELLED are the held worlds with labels
of 'videocups label', to compare with: the model learned from such labels of other streets.
"""

from __future__ import annotations

import argparse
import datetime
import os
from dataclasses import astuple
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from held_scores import HeldScores, kept_score
from labelled_clips import data_folder, street_as_clip
from machine import machine

from videocups.cli import run
from videocups.train.predict import named_clips, open_stream, predict_clips

SHIPPED = Path(__file__).resolve().parents[1] / "ros2_ws/src/videocups_perception/models/street_small"
HELD_SEEDS = range(1000, 1006)
COLUMNS = ("STQ", "AQ", "SQ", "parked found", "moving found", "precision")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", type=Path, action="append", default=[])
    parser.add_argument("--pseudo", type=Path)
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    held = held_worlds(options.out / "held")
    sources = {"rendered streets, held seeds": (held, held)}
    if (streets := data_folder() / "streets").is_dir():
        sources["labelled streets of another renderer"] = street_frames(streets, options.out / "streets"), streets
    lines = [
        "# The shipped model",
        "",
        f"{datetime.date.today().isoformat()}, {machine()}. Percent. Found: vehicles above 150 px that one object "
        "covers with IoU > .5; precision: objects above 150 px that cover a true one so.",
        "",
        "| model | clips | " + " | ".join(COLUMNS) + " |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for model in options.model or [SHIPPED]:
        for name, (frames, truth) in sources.items():
            folder = options.out / model.resolve().name / truth.name
            predict_clips(open_stream(model, "cpu"), named_clips([frames]), folder)
            scores = kept_score(folder, truth, folder.parent / f"{truth.name}.json")
            lines.append(row(model.resolve().name, name, scores))
            print(lines[-1], flush=True)
    if options.pseudo:
        lines.append(
            row("pseudo-labels", next(iter(sources)), kept_score(options.pseudo, held, options.out / "pseudo.json"))
        )
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        options.write.write_text(text)


def row(model: str, clips: str, scores: HeldScores) -> str:
    return f"| {model} | {clips} | " + " | ".join(f"{value:.1f}" for value in astuple(scores)) + " |"


def held_worlds(folder: Path) -> Path:
    """Render the worlds that no training may see."""
    for seed in HELD_SEEDS:
        if not (folder / f"h{seed}" / "clip.json").is_file():
            run("render", ["--out", str(folder / f"h{seed}"), "--seed", str(seed), "--frames", "30"])
    return folder


def street_frames(streets: Path, folder: Path) -> Path:
    """Give the streets the layout of clips."""
    for street in sorted(streets.glob("clip_*")):
        if not (folder / street.name / "clip.json").is_file():
            street_as_clip(street, folder)
    return folder


if __name__ == "__main__":
    main()
