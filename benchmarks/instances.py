"""What each step from cues to tracks is worth on clips with exact truth, and for which objects.

    python benchmarks/instances.py [--clips abcd | --worlds | --folders …] [--frames N] [--out FILE]

Cues of the quality preset, computed once. R/P: recall and precision of masks at IoU 0.5 without classes; truth are
moving objects above the area, precision asks of predicted masks above the area whether they fit a moving object of any
size. AQ: association quality of STEP over the tubes of moving objects (their pixels in frames in which they move),
without classes. Every frame counts; all clips are pooled. "Leave one clip out" pools the three others.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from labelled_clips import Source, add_source_options, heading, source_of

from videocups.cues.classical import iter_cues, survey
from videocups.cues.classical_config import QUALITY
from videocups.cues.flow import FlowPair
from videocups.fusion.tracking import TrackingConfig, drop_short_tracks, track_instances
from videocups.instances.completion import CompletionConfig
from videocups.instances.frame_instances import InstancesConfig, frame_instances
from videocups.instances.quality import MaskQuality, iou_matrix, track_quality
from videocups.instances.region_growing import RegionGrowingConfig

NO_COMPLETION = CompletionConfig(enabled=False)
DEFAULT = InstancesConfig()
GROWING = {
    "default: τ_f .1, r 8, no τ_d, completion": DEFAULT,
    "without completion": replace(DEFAULT, completion=NO_COMPLETION),
    "τ_f .04 (paper)": replace(DEFAULT, growing=RegionGrowingConfig(depth_tolerance=0.0)),
    "τ_f .2": replace(DEFAULT, growing=RegionGrowingConfig(depth_tolerance=0.0, flow_tolerance=0.2)),
    "τ_d .02 (paper)": replace(DEFAULT, growing=RegionGrowingConfig(flow_tolerance=0.1)),
    "r 2": replace(DEFAULT, growing=RegionGrowingConfig(depth_tolerance=0.0, flow_tolerance=0.1, radius_px=2)),
    "ego-compensated flow": replace(DEFAULT, flow="rest"),
}
TRACKING = {
    "no tracking": None,
    "tracking": TrackingConfig(min_frames=1),
    "tracking, no resurrection": TrackingConfig(min_frames=1, resurrect=False),
    "tracking, no occlusion test": TrackingConfig(min_frames=1, ignore_occluded=False),
    "tracks of ≥ 2 frames (paper)": TrackingConfig(min_frames=2),
    "tracks of ≥ 3 frames (default of labels)": TrackingConfig(min_frames=3),
    "tracks of ≥ 5 frames": TrackingConfig(min_frames=5),
    "tracks of ≥ 8 frames": TrackingConfig(min_frames=8),
    "tracks of ≥ 12 frames": TrackingConfig(min_frames=12),
}
LABELS = "tracks of ≥ 3 frames (default of labels)"
WAYS = ("across", "along", "oncoming", "standing")


@dataclass
class Row:
    """Counts of one variant; ``ways``: found and all objects above 150 px by how they move."""

    masks: MaskQuality = field(default_factory=MaskQuality)
    tubes: np.ndarray = field(default_factory=lambda: np.zeros(2))
    ways: dict[str, np.ndarray] = field(default_factory=lambda: {way: np.zeros(2, int) for way in WAYS})

    def merge(self, other: Row) -> None:
        """Add another clip."""
        self.masks.merge(other.masks)
        self.tubes = self.tubes + other.tubes
        for way in WAYS:
            self.ways[way] = self.ways[way] + other.ways[way]

    def text(self, name: str) -> str:
        """Return the row of the table."""
        masks = [f"{self.masks.recall(area):.2f} / {self.masks.precision(area):.2f}" for area in (150, 600)]
        return "| " + " | ".join([name, *masks, f"{self.tubes[0] / max(self.tubes[1], 1):.3f}"]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_source_options(parser)
    parser.add_argument("--frames", type=int, default=10_000, help="at most so many frames of a clip")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the tables there")
    options = parser.parse_args()
    source = source_of(options)
    jobs = [(source, at, options.frames) for at in range(len(source.clips()))]
    with ProcessPoolExecutor(options.processes) as pool:
        clips = dict(pool.map(measure, jobs))
    text = "\n".join([heading(f"Instances on {source.title}"), *tables(clips), "", *__doc__.strip().split("\n")[4:]])
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


def tables(clips: dict[str, dict[str, Row]]) -> list[str]:
    """Return the tables' lines."""
    head = "| > 150 px R / P | > 600 px R / P | AQ |\n|---|---|---|---|"
    lines = [f"| instances of single frames {head}"]
    lines += [pooled(clips, name).text(name) for name in GROWING]
    lines += ["", f"| tracking {head}"]
    lines += [pooled(clips, name).text(name) for name in TRACKING]
    lines += ["", f"| default of labels {head}"]
    lines += [rows[LABELS].text(name) for name, rows in clips.items()]
    for left_out in clips if len(clips) > 1 else ():
        others = {name: rows for name, rows in clips.items() if name != left_out}
        lines.append(pooled(others, LABELS).text(f"without {left_out}"))
    ways = pooled(clips, LABELS).ways
    if not any(of for _, of in ways.values()):
        return lines
    lines += ["", "| objects > 150 px that move | found | of | recall |\n|---|---|---|---|"]
    names = {"along": "in the ego's direction", "standing": "while the ego stands"}
    for way, (found, of) in ways.items():
        lines.append(f"| {names.get(way, way)} | {found} | {of} | {found / max(of, 1):.2f} |")
    return lines


def pooled(clips: dict[str, dict[str, Row]], name: str) -> Row:
    """Return the counts of all clips together."""
    total = Row()
    for rows in clips.values():
        total.merge(rows[name])
    return total


def measure(job: tuple[Source, int, int]) -> tuple[str, dict[str, Row]]:
    """Compute the cues of a clip once and count every variant."""
    source, at, frames = job
    cv2.setNumThreads(1)
    clip = source.clips()[at]
    count = min(frames, len(clip))
    geometry = survey(clip.rgb, count, clip.camera, QUALITY)
    maps: dict[str, list[np.ndarray]] = {name: [] for name in GROWING}
    flows: list[FlowPair] = []
    for cues in iter_cues(clip.rgb, count, clip.camera, geometry, QUALITY):
        for name, config in GROWING.items():
            maps[name].append(frame_instances(cues, clip.camera.fx, config))
        if cues.pair is not None:
            flows.append(cues.pair.flow)
    truths = [clip.truth(index).objects for index in range(count)]
    ways = [clip.ways(index) for index in range(count)]
    frame_maps = next(iter(maps.values()))
    for name, config in TRACKING.items():
        maps[name] = tracked(frame_maps, flows, config)
    return clip.name, {name: count_row(found, truths, ways) for name, found in maps.items()}


def tracked(maps: list[np.ndarray], flows: list[FlowPair], config: TrackingConfig | None) -> list[np.ndarray]:
    """Return tracks; without a config, every mask of every frame is a track of its own."""
    if config is not None:
        return track_instances(maps, flows, config)
    offsets = np.cumsum([0, *(int(labels.max(initial=0)) for labels in maps[:-1])])
    alone = [np.where(labels > 0, labels + offset, 0) for labels, offset in zip(maps, offsets, strict=True)]
    return drop_short_tracks(alone, 1)


def count_row(found: list[np.ndarray], truths: list[np.ndarray], ways: list[dict[int, str]]) -> Row:
    """Count one variant of a clip."""
    row = Row()
    for labels, truth, way_of in zip(found, truths, ways, strict=True):
        row.masks.add(labels, truth)
        iou, areas, _ = iou_matrix(truth, labels)
        best = iou.max(axis=1, initial=0)
        for track, area, overlap in zip(np.unique(truth[truth > 0]).tolist(), areas, best, strict=True):
            if area > 150 and track in way_of:
                row.ways[way_of[track]] += np.array([overlap > 0.5, 1])
    row.tubes = np.array(track_quality(found, truths))
    return row


if __name__ == "__main__":
    main()
