"""Depth against LiDAR, and how many objects are found, on a real traffic jam: classical cues, and learned depth.

    python benchmarks/jam.py [--frames N] [--learned-depth FOLDER] [--overlays FOLDER] [--out FILE]

KITTI raw, 1242×375 at 10 Hz. Depth: pixels that the laser hit, nearer than 80 m, each frame scaled by its median; mean
over frames. "One depth": the same everywhere. "Objects": tracks of at least 3 frames, as labels have them, in a frame.
"In the sky": share of the frame's upper tenth that lies on one. There are no labels of objects: look at the overlays.
Learned: trained in FOLDER by training/configs/depth_small.yaml on the same frames without a label, at 96×320, without
hints where nothing was measured (hints.filled=0); a second call takes what is there. Its objects are those of classical
flow and ego-motion, held against that depth.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch
from labelled_clips import data_folder, frames_as_clip, heading
from trainings import trained

from videocups.cues.dynamo.config import DynamoConfig
from videocups.cues.dynamo.estimator import DynamoCues
from videocups.cues.dynamo.training import train_depth
from videocups.cues.quality import DepthQuality
from videocups.fusion.tracking import drop_short_tracks
from videocups.label.config import PRESETS, InstanceLabelsConfig
from videocups.label.instance_labels import label_instances
from videocups.train.config_file import read_config
from videocups_core.clip import read_rgb
from videocups_core.types import CameraModel
from videocups_core.visualize import colorize_depth, colorize_probability

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "depth_small.yaml"
# the shape of the images; few frames need fewer passes; the vehicle crawls
SETTINGS = [
    "data.height=96", "data.width=320", "schedule.epochs=[5, 0, 0, 0]", "schedule.halve_every=1.25", "hints.filled=0",
]  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What was found in every frame, (H, W) each; ``kinds`` of ego-motion; ``seconds`` of processor time a frame."""

    depth: list[np.ndarray]
    motion: list[np.ndarray]
    tracks: list[np.ndarray]
    kinds: list[str]
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--preset", choices=PRESETS, default="quality")
    parser.add_argument("--frames", type=int, default=10_000, help="at most so many frames")
    parser.add_argument("--learned-depth", type=Path, help="train depth there, or take what is there, and compare")
    parser.add_argument("--overlays", type=Path, help="write one picture a frame and cues there")
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    folder = data_folder() / "kitti_jam"
    if not folder.is_dir():
        raise SystemExit(f"no recording at {folder}; set VIDEOCUPS_DATA to the folder that has it")
    paths = sorted((folder / "image_02").iterdir())[: options.frames]
    images, config = [read_rgb(path) for path in paths], PRESETS[options.preset]
    camera = camera_of(folder, images[0])
    found = {"classical": label(images, camera, config)}
    if options.learned_depth:
        estimator = learned(options.learned_depth, paths, camera)
        found["learned"] = label(images, camera, config, estimator)
    laser = [read_laser(folder / "lidar_depth" / f"{path.stem}.png") for path in paths]
    lines = [heading(f"A traffic jam, preset {options.preset}"), *table(found, laser), ""]
    times = [f"{one.seconds:.2f} s ({name})" for name, one in found.items()]
    lines += [f"Processor time a frame: {', '.join(times)}.", "", *__doc__.strip().split("\n")[4:]]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    for name, one in found.items() if options.overlays else ():
        draw(options.overlays / name, images, one)


def camera_of(folder: Path, rgb: np.ndarray) -> CameraModel:
    """Return the rectified colour camera."""
    p = np.array(json.loads((folder / "calib.json").read_text())["P_rect"], float)
    k = (p[0, 0], 0.0, p[0, 2], 0.0, p[1, 1], p[1, 2], 0.0, 0.0, 1.0)
    return CameraModel(rgb.shape[1], rgb.shape[0], k)


def learned(out: Path, paths: list[Path], camera: CameraModel) -> DynamoCues:
    """Train depth on the frames, or take what is there."""
    clip = out / "clips" / "kitti_jam"
    if not (clip / "clip.json").is_file():
        frames_as_clip(paths, clip, camera)
    done = trained(train_depth, [clip], out / "run", read_config(DynamoConfig, CONFIG, SETTINGS))
    return DynamoCues(done.folder)


def label(
    images: list[np.ndarray], camera: CameraModel, config: InstanceLabelsConfig, estimator: DynamoCues | None = None
) -> Found:
    """Label all frames, with learned depth where there is an estimator of it."""
    depth, motion, maps, kinds = [], [], [], []
    known, start = None if estimator is None else estimator.known_depth, time.process_time()
    for rgb, one in zip(
        images, label_instances(images.__getitem__, len(images), camera, config, known=known), strict=True
    ):
        depth.append(one.cues.depth_heights if estimator is None else estimator.depth(rgb))
        motion.append(one.cues.motion)
        maps.append(one.tracks)
        kinds.append("unknown" if one.cues.pair is None else one.cues.pair.motion.kind)
    seconds = (time.process_time() - start) / len(images)
    return Found(depth, motion, drop_short_tracks(maps, config.tracking.min_frames), kinds, seconds)


def read_laser(path: Path) -> np.ndarray:
    """Return depth in m (H, W), 0 where the laser hit nothing."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 256


def table(found: dict[str, Found], laser: list[np.ndarray]) -> list[str]:
    """Return rows for all frames and for each kind of ego-motion that was found."""
    lines = ["| cues | frames | number | AbsRel / δ1 | objects a frame | in the sky |", "|---|---|---|---|---|---|"]
    kinds = found["classical"].kinds
    flat = quality([np.ones_like(truth) for truth in laser], laser)
    measured = {name: quality(one.depth, laser) for name, one in found.items()}
    upper = slice(0, laser[0].shape[0] // 10)
    for when in ("all", "moving", "standing", "unknown"):
        chosen = [index for index, kind in enumerate(kinds) if when in ("all", kind)]
        if not chosen:
            continue
        lines.append(f"| one depth | {when} | {len(chosen)} | {errors(flat, chosen)} | | |")
        for name, one in found.items():
            objects = np.mean([len(np.unique(one.tracks[at])) - 1 for at in chosen])
            sky = np.mean([(one.tracks[at][upper] > 0).mean() for at in chosen])
            cells = f"{errors(measured[name], chosen)} | {objects:.1f} | {sky:.1%}"
            lines.append(f"| {name} | {when} | {len(chosen)} | {cells} |")
    return lines


def quality(depth: list[np.ndarray], laser: list[np.ndarray]) -> DepthQuality:
    counted = DepthQuality()
    for one, truth in zip(depth, laser, strict=True):
        counted.add(one, truth)
    return counted


def errors(depth: DepthQuality, chosen: list[int]) -> str:
    return " / ".join(f"{np.mean([values[at] for at in chosen]):.3f}" for values in (depth.abs_rel, depth.delta))


def draw(folder: Path, images: list[np.ndarray], found: Found) -> None:
    """Write the tracks over the image, above motion and depth."""
    folder.mkdir(parents=True, exist_ok=True)
    colors = np.random.default_rng(0).integers(60, 256, (1 + max(int(t.max()) for t in found.tracks), 3))
    for index, (rgb, tracks) in enumerate(zip(images, found.tracks, strict=True)):
        shown = np.where(tracks[..., None] > 0, 0.45 * rgb + 0.55 * colors[tracks], rgb).astype(np.uint8)
        layers = shown, colorize_probability(found.motion[index]), colorize_depth(found.depth[index])
        cv2.imwrite(str(folder / f"{index:06d}.jpg"), np.vstack(layers)[..., ::-1])


if __name__ == "__main__":
    main()
