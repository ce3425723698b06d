"""Counts of motion, masks and labels that benchmarks of cues on labelled clips share, and their table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from labelled_clips import LabelledClip, Truth

from videocups.cues.classical import KnowDepth, iter_frames, survey
from videocups.cues.classical_config import QUALITY, ClassicalConfig
from videocups.cues.depth import Measured
from videocups.cues.depth_memory import remember
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import FlowEstimator
from videocups.cues.frame_cues import FrameCues, cues_of_look, look_at_frame
from videocups.cues.quality import FlowQuality, MotionQuality
from videocups.fusion.tracking import TrackingConfig, track_instances
from videocups.instances.frame_instances import frame_instances
from videocups.instances.quality import MaskQuality, track_quality

HALO_PX = 4
LABELS = TrackingConfig(min_frames=3)
HEADER = (
    "| cues | EPE all / around movers / movers | moving pixels P / R / F1 | AUC | frames > 150 px R / P "
    "| > 600 px R / P | labels > 150 px R / P | > 600 px R / P | AQ | CPU s/frame |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
WORDS = """EPE: mean end-point error of forward flow over all pixels with truth, over those within 4 px around moving
objects, and over these. Moving pixels: m > 0.15 against the pixels of moving objects. R/P: recall and precision of
masks at IoU 0.5 without classes, of single frames and of labels (tracks of at least 3 frames). Truth are moving objects
above the area; precision asks of predicted masks above the area whether they fit a moving object of any size. All clips
are pooled; "without" leaves one out."""


@dataclass(frozen=True)
class Variant:
    """What is tried on the same flow: settings, and depth from elsewhere."""

    config: ClassicalConfig
    known: KnowDepth | None = None


@dataclass
class Row:
    """The counts of one variant on some clips; ``halo``: of what stands beside moving objects."""

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


def measured(
    clip: LabelledClip, estimator: FlowEstimator, variants: Mapping[str, Variant], count: int
) -> dict[str, Row]:
    """Run the chain on one clip and count; flow is estimated once for all variants, which look equally far or not."""
    rows = {name: Row(frames=count) for name in variants}
    maps: dict[str, list[np.ndarray]] = {name: [] for name in variants}
    held: dict[str, Measured | None] = dict.fromkeys(variants)
    flows, truths = [], []
    geometry, rays = survey(clip.rgb, count, clip.camera, QUALITY), pixel_rays(clip.camera)
    farthest = replace(QUALITY, far_frames=max(variant.config.far_frames for variant in variants.values()))
    start = time.process_time()
    for frame in iter_frames(clip.rgb, count, clip.camera, geometry, farthest, estimator):
        pair_s = time.process_time() - start
        truth = clip.truth(frame.index)
        for name, variant in variants.items():
            start = time.process_time()
            seen = frame if variant.config.far_frames else replace(frame, far=())
            known = None if variant.known is None else variant.known(frame.rgb)
            look = look_at_frame(seen, geometry.hood, rays, clip.camera, variant.config, known)
            inverse, held[name] = remember(look.measured, look.steady, frame.ground, held[name], QUALITY.depth)
            cues = cues_of_look(look, inverse, frame.ground, held[name])
            maps[name].append(frame_instances(cues, clip.camera.fx))
            rows[name].seconds += pair_s + time.process_time() - start
            count_frame(rows[name], cues, maps[name][-1], truth, last=frame.index + 1 == count)
        truths.append(truth.objects)
        if frame.pair is not None:
            flows.append(frame.pair.flow)
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
