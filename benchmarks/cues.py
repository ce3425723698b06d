"""What the training-free cues are worth on clips with exact truth, set-up by set-up.

    python benchmarks/cues.py [--clips abcd | --worlds | --folders …] [--set-ups A B …] [--out FILE]

EPE: mean end-point error of the forward flow over all pixels with true flow, and over those of moving objects. Depth:
all pixels nearer than 80 m, scaled by the median of each frame, mean over frames. Moving pixels: m > 0.15 against the
pixels of moving objects; AUC over all pixels. R/P: recall and precision of masks of single frames at IoU 0.5 without
classes; truth are moving objects above the area, precision asks of predicted masks above the area whether they fit a
moving object of any size. Every frame counts; all clips are pooled. An object moves if it moves by more than 5 cm to
the next frame (worlds: 0.5 m/s).
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from labelled_clips import LabelledClip, Source, add_source_options, heading, source_of

from videocups.cues.classical_config import FAST, QUALITY, ClassicalConfig
from videocups.cues.flow import DisFlowConfig
from videocups.cues.quality import DepthQuality, FlowQuality, MotionQuality
from videocups.fusion.tracking import TrackingConfig
from videocups.instances.completion import CompletionConfig
from videocups.instances.frame_instances import InstancesConfig
from videocups.instances.quality import MaskQuality, track_quality
from videocups.instances.region_growing import RegionGrowingConfig
from videocups.label.config import InstanceLabelsConfig
from videocups.label.instance_labels import label_instances

NO_COMPLETION = CompletionConfig(enabled=False)
PAPER = InstancesConfig(growing=RegionGrowingConfig(), completion=NO_COMPLETION)
PLAIN = replace(QUALITY, compensate=False, floating_test=False)
SET_UPS: dict[str, tuple[str, ClassicalConfig, InstancesConfig]] = {
    "A": ("DIS medium, τ of the paper", replace(PLAIN, flow=DisFlowConfig()), PAPER),
    "B": ("DIS on the 2× image, τ of the paper", PLAIN, PAPER),
    "C": ("B, no τ_d, τ_f .1", PLAIN, InstancesConfig(completion=NO_COMPLETION)),
    "D": ("C + compensated flow", replace(PLAIN, compensate=True), InstancesConfig(completion=NO_COMPLETION)),
    "D1": ("D + floating test", QUALITY, InstancesConfig(completion=NO_COMPLETION)),
    "fast": ("preset fast", FAST, InstancesConfig()),
    "quality": ("preset quality = D1 + completion", QUALITY, InstancesConfig()),
}


@dataclass
class Row:
    """The counts of one set-up."""

    flow: FlowQuality = field(default_factory=FlowQuality)
    depth: DepthQuality = field(default_factory=DepthQuality)
    motion: MotionQuality = field(default_factory=MotionQuality)
    masks: MaskQuality = field(default_factory=MaskQuality)
    tubes: tuple[float, int] = (0.0, 0)
    seconds: float = 0.0
    frames: int = 0

    def merge(self, other: Row) -> None:
        """Add another clip."""
        for name in ("flow", "depth", "motion", "masks"):
            getattr(self, name).merge(getattr(other, name))
        self.tubes = (self.tubes[0] + other.tubes[0], self.tubes[1] + other.tubes[1])
        self.seconds, self.frames = self.seconds + other.seconds, self.frames + other.frames

    def text(self, name: str) -> str:
        """Return the row of the table."""
        masks = [f"{self.masks.recall(area):.2f} / {self.masks.precision(area):.2f}" for area in (150, 600)]
        cells = [
            name,
            f"{self.flow.all():.2f} / {self.flow.movers():.2f}",
            f"{np.mean(self.depth.abs_rel):.3f} / {np.mean(self.depth.delta):.3f}",
            f"{self.motion.precision():.2f} / {self.motion.recall():.2f} / {self.motion.f1():.2f}",
            f"{self.motion.auc():.3f}",
            *masks,
            f"{self.tubes[0] / max(self.tubes[1], 1):.3f}",
            f"{self.seconds / self.frames:.2f}",
        ]
        return "| " + " | ".join(cells) + " |"


HEADER = (
    "| set-up | EPE all / movers | AbsRel / δ1 | moving pixels P / R / F1 | AUC | > 150 px R / P | > 600 px R / P | AQ "
    "| CPU s/frame |\n|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_source_options(parser)
    parser.add_argument("--set-ups", nargs="+", default=list(SET_UPS), choices=SET_UPS, help="rows (default: all)")
    parser.add_argument("--frames", type=int, default=10_000, help="at most so many frames of a clip")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    source = source_of(options)
    jobs = [(name, source, at, options.frames) for name in options.set_ups for at in range(len(source.clips()))]
    with ProcessPoolExecutor(options.processes) as pool:
        rows = list(pool.map(measure, jobs))
    lines = [heading(f"Cues on {source.title}"), HEADER]
    for name in options.set_ups:
        parts = [(clip, row) for (at, clip, row) in rows if at == name]
        total = Row()
        for _, row in parts:
            total.merge(row)
        lines.append(total.text(f"**{name}** {SET_UPS[name][0]}"))
        if name in ("fast", "quality"):
            lines += [row.text(f"— {clip}") for clip, row in parts]
    text = "\n".join([*lines, "", *__doc__.strip().split("\n")[4:]]) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text)


def measure(job: tuple[str, Source, int, int]) -> tuple[str, str, Row]:
    """Run one set-up on one clip."""
    name, source, at, frames = job
    cv2.setNumThreads(1)
    clip = source.clips()[at]
    _, cues, instances = SET_UPS[name]
    config = InstanceLabelsConfig(cues, instances, TrackingConfig(min_frames=1))
    return name, clip.name, run(clip, config, min(frames, len(clip)))


def run(clip: LabelledClip, config: InstanceLabelsConfig, count: int) -> Row:
    """Label a clip and count."""
    row, tracks, truths = Row(), [], []
    images = [clip.rgb(index) for index in range(count)]
    start = time.process_time()
    for labels in label_instances(images.__getitem__, count, clip.camera, config):
        row.seconds += time.process_time() - start
        cues, truth = labels.cues, clip.truth(labels.cues.index)
        if truth.flow_px is not None and cues.index + 1 < count:
            row.flow.add(cues.flow_px, truth.flow_px, truth.flow_valid, truth.objects > 0)
        row.depth.add(cues.depth_heights, truth.depth_m)
        row.motion.add(cues.motion, truth.objects > 0)
        row.masks.add(labels.instances, truth.objects)
        tracks.append(labels.tracks)
        truths.append(truth.objects)
        row.frames += 1
        start = time.process_time()
    row.tubes = track_quality(tracks, truths)
    return row


if __name__ == "__main__":
    main()
