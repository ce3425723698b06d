"""What learned depth is worth: against triangulation, on what moves, and for finding what moves.

    python benchmarks/learned_depth.py --out runs/depth [--clips abcd | --folders …] [--train …] [--results FILE]

Trains depth by training/configs/depth_small.yaml on the frames of the clips it measures, or on those of --train, and
without any label; a second call goes on where the folder stands. Depth: every frame scaled to the true median, pixels
nearer than 80 m; sharpened: with parallax, each by its expected error, as labels use it; movers: pixels of moving
objects, all frames together; objects: moving ones above 150 px whose median inverse depth is within 20 % of the truth.
Motion: m > 0.15 against the pixels of moving objects. R/P: recall and precision of masks of single frames at IoU 0.5,
as in benchmarks/instances.py; tracks: of those that last 3 frames. True depth in the place of the learned one is the
bound of the method; flow and ego-motion are classical in all rows.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from instances import LABELS, TRACKING, WAYS, Row, count_row, tracked
from labelled_clips import LabelledClip, StreetClip, Truth, add_source_options, heading, source_of, street_as_clip
from trainings import trained

from videocups.cues.classical import ClipGeometry, iter_frames, survey
from videocups.cues.classical_config import QUALITY
from videocups.cues.depth import Measured
from videocups.cues.depth_memory import remember
from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import train_depth
from videocups.cues.epipolar import pixel_rays
from videocups.cues.flow import FloatMap, FlowPair
from videocups.cues.frame_cues import cues_of_look, ground_of_habit, look_at_frame
from videocups.cues.fused_depth import fused_inverse_depth
from videocups.cues.known_depth import KnownDepth
from videocups.cues.quality import DepthQuality, MotionQuality
from videocups.instances.frame_instances import frame_instances
from videocups.train.checkpoint import read_checkpoint
from videocups.train.config_file import read_config
from videocups_core.clip import find_clips

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "depth_small.yaml"
CLASSICAL, LEARNED, TRUE, SHARPENED = "classical", "learned", "true", "sharpened"
LEAST_PX, NEAR, TRUE_ERROR = 150, 0.2, 0.05


@dataclass
class MoverDepth:
    """Relative errors of depth on moving objects."""

    pixels: list[np.ndarray] = field(default_factory=list)
    objects: list[bool] = field(default_factory=list)

    def add(self, depth: FloatMap, truth: Truth) -> None:
        """Count one frame."""
        known = (truth.depth_m > 0) & (truth.depth_m < 80)
        ratio = depth / np.maximum(truth.depth_m, 1e-3)
        ratio = ratio * np.median(truth.depth_m[known]) / np.median(depth[known])
        self.pixels.append(np.abs(ratio[known & (truth.objects > 0)] - 1))
        for track in np.unique(truth.objects[truth.objects > 0]):
            inside = known & (truth.objects == track)
            if inside.sum() > LEAST_PX:
                self.objects.append(bool(abs(np.log(np.median(ratio[inside]))) < np.log(1 + NEAR)))

    def text(self) -> str:
        """Return the cells of a table."""
        error = np.concatenate(self.pixels)
        return f"{error.mean():.3f} / {np.median(error):.3f} | {np.mean(self.objects):.2f} of {len(self.objects)}"


@dataclass
class Counts:
    """Counts of one kind of depth."""

    depth: DepthQuality = field(default_factory=DepthQuality)
    movers: MoverDepth = field(default_factory=MoverDepth)
    motion: MotionQuality = field(default_factory=MotionQuality)
    frames: Row = field(default_factory=Row)
    tracks: Row = field(default_factory=Row)

    def add(self, depth: FloatMap, truth: Truth) -> None:
        """Count a frame's depth."""
        self.depth.add(depth, truth.depth_m)
        self.movers.add(depth, truth)


def main() -> None:
    options = parse()
    torch.set_num_threads(1)
    source = source_of(options)
    clips = source.clips()
    config = read_config(DynamoConfig, CONFIG, options.set)
    learning = training_clips(options, clips)
    if options.measure_only:
        done = read_checkpoint(options.out / "run")
    else:
        done = trained(train_depth, learning, options.out / "run", config, options.device)
    estimator = DynamoCues(done.folder, device=options.device)
    counts = {kind: Counts() for kind in (CLASSICAL, LEARNED, TRUE, SHARPENED)}
    for clip in clips:
        measure(clip, min(options.frames, len(clip)), estimator, counts)
    taught = f"step {done.step} of {done.steps} on {len(learning)} clips, without labels"
    lines = [heading(f"Learned depth on {source.title}"), f"Depth network: {taught}.", "", *tables(counts)]
    text = "\n".join([*lines, "", *__doc__.strip().split("\n")[4:]]) + "\n"
    print(text)
    if options.results:
        options.results.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_source_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder of the training; a second call goes on there")
    parser.add_argument("--train", nargs="+", type=Path, default=[], help="clips to learn from instead of the measured")
    parser.add_argument("--frames", type=int, default=10_000, help="at most so many frames of a clip are measured")
    parser.add_argument("--measure-only", action="store_true", help="the newest checkpoint as it is")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the training")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, help="write the tables there")
    return parser.parse_args()


def training_clips(options: argparse.Namespace, clips: list[LabelledClip]) -> list[Path]:
    """Return the clips to learn from; streets are copied without their truth."""
    if options.train or options.folders:
        return [clip for folder in options.train or options.folders for clip in find_clips(folder)]
    folders = []
    for clip in clips:
        if not isinstance(clip, StreetClip):
            raise SystemExit("worlds made on the fly are only measured; name the clips to learn from: --train …")
        folder = options.out / "clips" / clip.name
        if not (folder / "clip.json").is_file():
            street_as_clip(clip.folder, folder.parent)
        folders.append(folder)
    return folders


def measure(clip: LabelledClip, count: int, estimator: DynamoCues, counts: dict[str, Counts]) -> None:
    """Count a clip; pairs are estimated once for all kinds of depth."""
    cv2.setNumThreads(1)
    geometry, rays = survey(clip.rgb, count, clip.camera, QUALITY), pixel_rays(clip.camera)
    found: dict[str, list[np.ndarray]] = {kind: [] for kind in (CLASSICAL, LEARNED, TRUE)}
    flows: list[FlowPair] = []
    truths, ways = [], []
    held: Measured | None = None
    heights = 1 / camera_height_m(clip, geometry, rays)
    for frame in iter_frames(clip.rgb, count, clip.camera, geometry, QUALITY):
        truth = clip.truth(frame.index)
        inverse: FloatMap | None = None
        for kind, known in depths(estimator, frame.rgb, truth, heights).items():
            look = look_at_frame(frame, geometry.hood, rays, clip.camera, QUALITY, known)
            if inverse is None:
                inverse, held = remember(look.measured, look.steady, frame.ground, held, QUALITY.depth)
            cues = cues_of_look(look, inverse, frame.ground, held)
            depth = 1 / (inverse if known is None else known.inverse_depth)
            counts[kind].add(depth, truth)
            if kind == LEARNED and known is not None:
                sharper = fused_inverse_depth(known, look.measured, look.motion, frame.ground, QUALITY.depth)
                counts[SHARPENED].add(1 / sharper, truth)
            counts[kind].motion.add(cues.motion, truth.objects > 0)
            found[kind].append(frame_instances(cues, clip.camera.fx))
        truths.append(truth.objects)
        ways.append(clip.ways(frame.index))
        if frame.pair is not None:
            flows.append(frame.pair.flow)
    for kind, maps in found.items():
        counts[kind].frames.merge(count_row(maps, truths, ways))
        counts[kind].tracks.merge(count_row(tracked(maps, flows, TRACKING[LABELS]), truths, ways))


def depths(estimator: DynamoCues, rgb: np.ndarray, truth: Truth, heights: float) -> dict[str, KnownDepth | None]:
    """Return what each kind knows; triangulation makes its own. Sky is at 250 m; ``heights`` of the camera a metre."""
    true = 1 / (heights * np.where(truth.depth_m > 0, truth.depth_m, 250))
    exact = KnownDepth(true.astype(np.float32), np.full(true.shape, TRUE_ERROR, np.float32))
    return {CLASSICAL: None, LEARNED: estimator.known_depth(rgb), TRUE: exact}


def camera_height_m(clip: LabelledClip, geometry: ClipGeometry, rays: FloatMap) -> float:
    """Return the camera's height over the ground by the truth: the lowest part of the image is mostly road."""
    ground, depth = ground_of_habit(geometry.habits[0], rays), clip.truth(0).depth_m
    low = np.zeros(depth.shape, bool)
    low[-depth.shape[0] // 4 :] = True
    seen = low & (ground > 0) & (depth > 0)
    return float(np.median(depth[seen] * ground[seen]))


def tables(counts: dict[str, Counts]) -> list[str]:
    """Return the tables' lines."""
    names = {CLASSICAL: "triangulated", LEARNED: "learned", SHARPENED: "learned, sharpened by parallax"}
    lines = ["| depth | AbsRel / δ1 | movers: mean / median AbsRel | objects within 20 % |", "|---|---|---|---|"]
    for kind in names:
        depth = counts[kind].depth
        whole = f"{np.mean(depth.abs_rel):.3f} / {np.mean(depth.delta):.3f}"
        lines.append(f"| {names[kind]} | {whole} | {counts[kind].movers.text()} |")
    names = {CLASSICAL: "triangulated", LEARNED: "learned", TRUE: "true (bound)"}
    head = "| motion held against depth | moving pixels P / R / F1 | AUC | > 150 px R / P | > 600 px R / P "
    lines += ["", f"{head}| tracks > 150 | tracks > 600 | AQ |", "|---|---|---|---|---|---|---|---|"]
    for kind in names:
        count = counts[kind]
        motion, tracks = count.motion, count.tracks
        cells = [f"{motion.precision():.2f} / {motion.recall():.2f} / {motion.f1():.2f}", f"{motion.auc():.3f}"]
        cells += [rates(count.frames, area) for area in (150, 600)] + [rates(tracks, area) for area in (150, 600)]
        cells.append(f"{tracks.tubes[0] / max(tracks.tubes[1], 1):.3f}")
        lines.append(f"| {names[kind]} | {' | '.join(cells)} |")
    return lines + way_lines(counts, names)


def rates(row: Row, area: int) -> str:
    return f"{row.masks.recall(area):.2f} / {row.masks.precision(area):.2f}"


def way_lines(counts: dict[str, Counts], names: dict[str, str]) -> list[str]:
    """Return how many objects were found in tracks by how they move, nothing where that is not known."""
    if not any(of for _, of in counts[CLASSICAL].tracks.ways.values()):
        return []
    titles = {"along": "in the ego's direction", "standing": "while the ego stands"}
    lines = ["", "| found in tracks, objects > 150 px | " + " | ".join(names.values()) + " | of |"]
    lines.append("|---|" + "---|" * (len(names) + 1))
    for way in WAYS:
        found = [int(counts[kind].tracks.ways[way][0]) for kind in names]
        of = int(counts[CLASSICAL].tracks.ways[way][1])
        cells = [f"{number} = {number / max(of, 1):.2f}" for number in found]
        lines.append(f"| {titles.get(way, way)} | {' | '.join(cells)} | {of} |")
    return lines


if __name__ == "__main__":
    main()
