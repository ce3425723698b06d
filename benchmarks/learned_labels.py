"""What learned cues and a longer look are worth on labelled streets, down to the labels.

    python benchmarks/learned_labels.py --out runs/streets [--clips abcd] [--frames N] [--table FILE]

Trains flow_refined.yaml and depth_small.yaml on the frames of all streets, without a label, or takes the trainings
that --out holds (its folders flow and depth); then makes cues and labels with and without them, by the presets quality
and thorough. Bars: learned cues close half of the gap between training-free cues and true flow.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import torch
from labelled_clips import data_folder, heading, street_as_clip, street_clips
from mask_rows import WORDS, Row, Variant, measured, pooled, table
from trainings import Train, trained

from videocups.cues.classical_config import QUALITY, THOROUGH
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import train_depth
from videocups.cues.flow import DisFlow, FlowEstimator
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.estimator import RefinedFlow
from videocups.cues.refined.training import train_refined
from videocups.train.checkpoint import Checkpoint, newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config

CONFIGS = Path(__file__).parents[1] / "training" / "configs"
MANY = 10_000
CAUTIONS = (1.0, 0.5)
BEST = "learned flow and depth, thorough"
BARS = {"> 150 px": (150, 0.45, 0.57), "> 600 px": (600, 0.70, 0.75)}
PIXEL_BARS = (0.78, 0.65)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trainings; a second call takes them")
    parser.add_argument("--clips", default="abcd", help="which streets are measured; all are trained on")
    parser.add_argument("--frames", type=int, default=MANY, help="at most so many frames of a clip are measured")
    parser.add_argument("--table", type=Path, help="write the table there")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    cv2.setNumThreads(1)
    flow = learned(options.out / "flow", train_refined, read_config(RefinedConfig, CONFIGS / "flow_refined.yaml"))
    depth = learned(options.out / "depth", train_depth, read_config(DynamoConfig, CONFIGS / "depth_small.yaml"))
    tried = set_ups(flow, depth)
    rows: dict[str, dict[str, Row]] = {name: {} for _, variants in tried for name in variants}
    for clip in street_clips(options.clips):
        for estimator, variants in tried:
            for name, row in measured(clip, estimator, variants, min(options.frames, len(clip))).items():
                rows[name][clip.name] = row
                print(row.text(f"{name}, {clip.name}"), flush=True)
    measured_on = f"The first {options.frames} frames of every clip." if options.frames < MANY else "All frames."
    trainings = f"Flow: {flow.step} steps, depth: {depth.step} steps, on all streets, without labels. {measured_on}"
    lines = [heading("Learned cues on the labelled streets"), trainings, "", *table(rows), ""]
    text = "\n".join([*lines, *judged(pooled(rows[BEST])), "", *__doc__.split("\n")[4:], WORDS]) + "\n"
    print(text)
    if options.table:
        options.table.write_text(text)


def learned(out: Path, train: Train, config: Any) -> Checkpoint:
    """Train on the frames of all streets, or take what is there."""
    if newest_checkpoint(out) is not None:
        return read_checkpoint(out)
    with tempfile.TemporaryDirectory() as scratch:
        streets = [data_folder() / "streets" / f"clip_{name}" for name in "abcd"]
        folders = [street_as_clip(street, Path(scratch)) for street in streets]
        return trained(train, folders, out, config)


def set_ups(flow: Checkpoint, depth: Checkpoint) -> list[tuple[FlowEstimator, dict[str, Variant]]]:
    """Return the kinds of flow, and what is tried on each."""
    known = DynamoCues(depth.folder).known_depth
    classical = {
        "classical": Variant(QUALITY),
        "classical, thorough": Variant(THOROUGH),
        "learned depth": Variant(QUALITY, known),
    }
    refined = {
        "learned flow": Variant(QUALITY),
        "learned flow and depth": Variant(QUALITY, known),
        BEST: Variant(THOROUGH, known),
    }
    for caution in CAUTIONS:
        refined[f"{BEST}, caution {caution:g}"] = Variant(replace(THOROUGH, caution=caution), known)
    return [(DisFlow(QUALITY.flow), classical), (RefinedFlow(flow.folder), refined)]


def judged(row: Row) -> list[str]:
    """Return how the best row stands to the bars."""
    lines = []
    for of, masks in (("frames", row.masks), ("labels", row.labels)):
        for name, (area, recall, precision) in BARS.items():
            found = masks.recall(area), masks.precision(area)
            lines.append(verdict(f"{of} {name}: R / P", found, (recall, precision)))
    lines.append(verdict("moving pixels: P / R", (row.motion.precision(), row.motion.recall()), PIXEL_BARS))
    return [f"Bars of *{BEST}*:", "", *(f"- {line}" for line in lines)]


def verdict(what: str, found: tuple[float, float], bars: tuple[float, float]) -> str:
    """Return one bar's line."""
    ok = all(value >= bar for value, bar in zip(found, bars, strict=True))
    return f"{what} {found[0]:.3f} / {found[1]:.3f} (bar {bars[0]} / {bars[1]}): {'ok' if ok else 'MISSED'}"


if __name__ == "__main__":
    main()
