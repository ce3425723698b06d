"""How well a model finds the one marked object of DAVIS clips, and what it sees beside it.

    python benchmarks/marked_objects.py PREDICTED [PREDICTED …] --marks davis_vehicles

PREDICTED are folders of 'videocups predict' for clips made of DAVIS frames ('videocups ingest'); a clip's name begins
with that of its folder of marks. Without --marks only things are counted, those with a pixel in the frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from machine import machine

from videocups.evaluate.datasets.clip_truth import panoptic_clip_folders
from videocups_core.panoptic.storage import PanopticClip

BESIDE = 0.1
"""a thing with less of its pixels on the marked object lies beside it"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predicted", type=Path, nargs="+")
    parser.add_argument("--marks", type=Path)
    options = parser.parse_args()
    columns = ("clip", "frames", "things a frame", "beside the marked object", "IoU ≥ .5", "marked pixels on a thing")
    print(f"{machine()}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for root in options.predicted:
        for folder in panoptic_clip_folders(root):
            name = folder.name.rsplit("_", 1)[0]
            marks = sorted((options.marks / name / "masks").glob("*.png")) if options.marks else []
            print(row(name, PanopticClip(folder), marks))


def row(name: str, clip: PanopticClip, marks: list[Path]) -> str:
    things, beside, found, covered, marked = 0, 0, 0, 0, 0
    for index in range(len(clip)):
        frame = clip.frame(index)
        masks = [frame.segment_ids == r.segment_id for r in frame.segments if r.is_thing and r.area_px > 0]
        things += len(masks)
        if not marks:
            continue
        mark = cv2.imread(str(marks[index]), cv2.IMREAD_UNCHANGED)
        height, width = frame.segment_ids.shape
        mark = cv2.resize(mark, (width, height), interpolation=cv2.INTER_NEAREST).reshape(height, width, -1).any(axis=2)
        beside += sum(float(mark[mask].mean()) < BESIDE for mask in masks)
        found += any((mask & mark).sum() >= 0.5 * (mask | mark).sum() for mask in masks)
        covered += int(np.any(masks, axis=0)[mark].sum()) if masks else 0
        marked += int(mark.sum())
    count = len(clip)
    cells = [f"{beside / count:.1f}", f"{found}", f"{covered / marked:.0%}"] if marks else ["no marks", "", ""]
    return f"| {name} | {count} | {things / count:.1f} | " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
