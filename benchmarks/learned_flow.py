"""What learned flow is worth on the labelled streets: in the place of dense inverse search, in the same chain of cues.

    python benchmarks/learned_flow.py --out runs/learned_flow [--clips abcd] [--frames N] [--noise 1 0.6] [--table FILE]

Trains flow_refined.yaml on the frames of all streets, without a label, or takes the training that --out holds; then
makes cues and instances of the quality preset with either flow. EPE: mean end-point error of the forward flow over
all pixels with truth (every 4th frame), over those within 4 px around moving objects, and over these. Moving pixels:
m > 0.15 against the pixels of moving objects. R/P: recall and precision of masks at IoU 0.5 without classes, of
single frames and of labels (tracks of at least 3 frames). Truth are moving objects above the area; precision asks of
predicted masks above the area whether they fit a moving object of any size. All clips are pooled; "without" leaves
one out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from labelled_clips import LabelledClip, Truth, data_folder, heading, street_as_clip, street_clips
from trainings import trained

from videocups.cues.classical import iter_frames, survey
from videocups.cues.classical_config import QUALITY, ClassicalConfig
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import DisFlow, FloatMap, FlowEstimator
from videocups.cues.frame_cues import FrameCues, cues_of_look, look_at_frame, remember
from videocups.cues.quality import FlowQuality, MotionQuality
from videocups.cues.refined.config import RefinedConfig
from videocups.cues.refined.estimator import RefinedFlow
from videocups.cues.refined.training import train_refined
from videocups.fusion.tracking import TrackingConfig, track_instances
from videocups.instances.frame_instances import InstancesConfig, frame_instances
from videocups.instances.quality import MaskQuality, track_quality
from videocups.train.checkpoint import Checkpoint, newest_checkpoint, read_checkpoint
from videocups.train.config_file import read_config

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "flow_refined.yaml"
HALO_PX, MANY = 4, 10_000
LABELS = TrackingConfig(min_frames=3)
HEADER = (
    "| flow | EPE all / around movers / movers | moving pixels P / R / F1 | AUC | frames > 150 px R / P "
    "| > 600 px R / P | labels > 150 px R / P | > 600 px R / P | AQ | CPU s/frame |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass
class Row:
    """The counts of one flow on some clips; ``halo``: of what stands beside moving objects."""

    flow: FlowQuality = field(default_factory=FlowQuality)
    halo: FlowQuality = field(default_factory=FlowQuality)
    motion: MotionQuality = field(default_factory=MotionQuality)
    masks: MaskQuality = field(default_factory=MaskQuality)
    labels: MaskQuality = field(default_factory=MaskQuality)
    tubes: np.ndarray = field(default_factory=lambda: np.zeros(2))
    seconds: float = 0.0
    frames: int = 0

    def merge(self, other: Row) -> None:
        """Add another clip."""
        for name in ("flow", "halo", "motion", "masks", "labels"):
            getattr(self, name).merge(getattr(other, name))
        self.tubes = self.tubes + other.tubes
        self.seconds, self.frames = self.seconds + other.seconds, self.frames + other.frames

    def text(self, name: str) -> str:
        """Return the row of the table."""
        both = [
            f"{of.recall(area):.2f} / {of.precision(area):.2f}"
            for of in (self.masks, self.labels)
            for area in (150, 600)
        ]
        cells = [
            name,
            f"{self.flow.all():.2f} / {self.halo.movers():.2f} / {self.flow.movers():.2f}",
            f"{self.motion.precision():.2f} / {self.motion.recall():.2f} / {self.motion.f1():.2f}",
            f"{self.motion.auc():.3f}",
            *both,
            f"{self.tubes[0] / max(self.tubes[1], 1):.3f}",
            f"{self.seconds / self.frames:.2f}",
        ]
        return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the training; a second call takes it")
    parser.add_argument("--clips", default="abcd", help="which streets are measured; all are trained on")
    parser.add_argument("--frames", type=int, default=MANY, help="at most so many frames of a clip are measured")
    parser.add_argument(
        "--noise", type=float, nargs="+", default=[1.0], help="expected errors of refined flow, in those of DIS"
    )
    parser.add_argument("--table", type=Path, help="write the table there")
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    cv2.setNumThreads(1)
    done = learned(options.out)
    refined = f"refined, {done.step} steps"
    set_ups: list[tuple[FlowEstimator, dict[str, ClassicalConfig]]] = [
        (DisFlow(QUALITY.flow), {"DIS": QUALITY}),
        (RefinedFlow(done.folder), {named(refined, factor): expecting(factor) for factor in options.noise}),
    ]
    rows: dict[str, dict[str, Row]] = {name: {} for _, configs in set_ups for name in configs}
    for clip in street_clips(options.clips):
        for estimator, configs in set_ups:
            for name, row in measured(clip, estimator, configs, min(options.frames, len(clip))).items():
                rows[name][clip.name] = row
                print(row.text(f"{name}, {clip.name}"), flush=True)
    measured_on = f"The first {options.frames} frames of every clip." if options.frames < MANY else "All frames."
    lines = [heading("Learned flow on the labelled streets"), *table(rows), "", measured_on]
    text = "\n".join([*lines, *__doc__.split("\n")[4:]])
    print(text)
    if options.table:
        options.table.write_text(text)


def learned(out: Path) -> Checkpoint:
    """Train on the frames of all streets, or take what is there."""
    if newest_checkpoint(out) is not None:
        return read_checkpoint(out)
    with tempfile.TemporaryDirectory() as scratch:
        folders = [street_as_clip(data_folder() / "streets" / f"clip_{name}", Path(scratch)) for name in "abcd"]
        return trained(train_refined, folders, out, read_config(RefinedConfig, CONFIG))


def named(flow: str, factor: float) -> str:
    return flow if factor == 1 else f"{flow}, expected errors × {factor:g}"


def expecting(factor: float) -> ClassicalConfig:
    """Return the quality preset for flow whose errors are so many times those of dense inverse search."""
    static = QUALITY.static
    changed = {"noise_px": factor * static.noise_px, "standing_noise_px": factor * static.standing_noise_px}
    return replace(QUALITY, static=replace(static, **changed))


def measured(
    clip: LabelledClip, estimator: FlowEstimator, configs: dict[str, ClassicalConfig], count: int
) -> dict[str, Row]:
    """Run the chain on one clip and count; flow is estimated once for all configs."""
    rows = {name: Row(frames=count) for name in configs}
    maps: dict[str, list[np.ndarray]] = {name: [] for name in configs}
    held: dict[str, FloatMap | None] = dict.fromkeys(configs)
    flows, truths = [], []
    geometry, rays = survey(clip.rgb, count, clip.camera, QUALITY), pixel_rays(clip.camera)
    start = time.process_time()
    for frame in iter_frames(clip.rgb, count, clip.camera, geometry, QUALITY, estimator):
        pair_s = time.process_time() - start
        truth = clip.truth(frame.index)
        for name, config in configs.items():
            start = time.process_time()
            around = frame.before, frame.after, geometry.hood, rays, clip.camera
            look = look_at_frame(frame.index, frame.rgb, *around, config)
            inverse, held[name] = remember(look.measured, look.steady, frame.ground, held[name], config.depth)
            cues = cues_of_look(look, inverse, frame.ground, held[name])
            maps[name].append(frame_instances(cues, clip.camera.fx, InstancesConfig()))
            rows[name].seconds += pair_s + time.process_time() - start
            count_frame(rows[name], cues, maps[name][-1], truth, last=frame.index + 1 == count)
        truths.append(truth.objects)
        if frame.after is not None:
            flows.append(frame.after[1].flow)
        start = time.process_time()
    for name, row in rows.items():
        tracks = track_instances(maps[name], flows, LABELS)
        for found, objects in zip(tracks, truths, strict=True):
            row.labels.add(found, objects)
        row.tubes = np.array(track_quality(tracks, truths))
    return rows


def count_frame(row: Row, cues: FrameCues, found: np.ndarray, truth: Truth, *, last: bool) -> None:
    """Count one frame; the last one's flow points backwards and has no truth."""
    moving = truth.objects > 0
    if truth.flow_px is not None and not last:
        kernel = np.ones((2 * HALO_PX + 1, 2 * HALO_PX + 1), np.uint8)
        around = (cv2.dilate(moving.astype(np.uint8), kernel) > 0) & ~moving
        row.flow.add(cues.flow_px, truth.flow_px, truth.flow_valid, moving)
        row.halo.add(cues.flow_px, truth.flow_px, truth.flow_valid, around)
    row.motion.add(cues.motion, moving)
    row.masks.add(found, truth.objects)


def table(rows: dict[str, dict[str, Row]]) -> list[str]:
    """Return the table's lines: everything, each clip, and all but one."""
    lines = [HEADER]
    for name, clips in rows.items():
        lines.append(pooled(clips).text(f"**{name}**"))
        lines += [row.text(f"— {clip}") for clip, row in clips.items()]
        for left_out in clips if len(clips) > 1 else ():
            others = {clip: row for clip, row in clips.items() if clip != left_out}
            lines.append(pooled(others).text(f"— without {left_out}"))
    return lines


def pooled(clips: dict[str, Row]) -> Row:
    """Return the counts of all clips together."""
    total = Row()
    for row in clips.values():
        total.merge(row)
    return total


if __name__ == "__main__":
    main()
