"""Depth of the classical cues against LiDAR, and how many objects are found, on a real traffic jam.

    python benchmarks/jam.py [--frames N] [--overlays FOLDER] [--out FILE]

KITTI raw, 1242×375 at 10 Hz. Depth: pixels that the laser hit, nearer than 80 m, each frame scaled by its median; mean
over frames. "Objects": tracks of at least 3 frames, as labels have them, in a frame. "In the sky": share of the frame's
upper tenth that lies on one. There are no labels of objects: look at the overlays.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
from labelled_clips import data_folder, heading

from videocups.cues.quality import DepthQuality
from videocups.fusion.tracking import drop_short_tracks
from videocups.label.config import PRESETS
from videocups.label.instance_labels import label_instances
from videocups_core.clip import read_rgb
from videocups_core.types import CameraModel
from videocups_core.visualize import colorize_depth, colorize_probability


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--preset", choices=PRESETS, default="quality")
    parser.add_argument("--frames", type=int, default=10_000, help="at most so many frames")
    parser.add_argument("--overlays", type=Path, help="write one picture a frame there")
    parser.add_argument("--out", type=Path, help="write the table there")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    folder = data_folder() / "kitti_jam"
    if not folder.is_dir():
        raise SystemExit(f"no recording at {folder}; set VIDEOCUPS_DATA to the folder that has it")
    paths = sorted((folder / "image_02").iterdir())[: options.frames]
    images = [read_rgb(path) for path in paths]
    config, start = PRESETS[options.preset], time.process_time()
    labels = list(label_instances(images.__getitem__, len(images), camera_of(folder, images[0]), config))
    seconds = time.process_time() - start
    tracks = drop_short_tracks([one.tracks for one in labels], config.tracking.min_frames)
    depth = DepthQuality()
    for path, one in zip(paths, labels, strict=True):
        truth = cv2.imread(str(folder / "lidar_depth" / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
        depth.add(one.cues.depth_heights, truth.astype(np.float32) / 256)
    kinds = ["unknown" if one.cues.pair is None else one.cues.pair.motion.kind for one in labels]
    lines = [heading(f"A traffic jam, preset {options.preset}"), *table(depth, tracks, kinds)]
    lines += ["", f"{seconds / len(images):.2f} s of processor time a frame", "", *__doc__.strip().split("\n")[4:]]
    print("\n".join(lines))
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")
    if options.overlays:
        draw(options.overlays, images, labels, tracks)


def camera_of(folder: Path, rgb: np.ndarray) -> CameraModel:
    """Return the rectified colour camera."""
    p = np.array(json.loads((folder / "calib.json").read_text())["P_rect"], float)
    k = (p[0, 0], 0.0, p[0, 2], 0.0, p[1, 1], p[1, 2], 0.0, 0.0, 1.0)
    return CameraModel(rgb.shape[1], rgb.shape[0], k)


def table(depth: DepthQuality, tracks: list[np.ndarray], kinds: list[str]) -> list[str]:
    """Return a row for all frames and one for each kind of ego-motion that was found."""
    lines = ["| frames | number | AbsRel / δ1 | objects a frame | in the sky |", "|---|---|---|---|---|"]
    upper = slice(0, tracks[0].shape[0] // 10)
    for name in ("all", "moving", "standing", "unknown"):
        chosen = [index for index, kind in enumerate(kinds) if name in ("all", kind)]
        if chosen:
            errors, close = (np.mean([values[at] for at in chosen]) for values in (depth.abs_rel, depth.delta))
            found = np.mean([len(np.unique(tracks[at])) - 1 for at in chosen])
            sky = np.mean([(tracks[at][upper] > 0).mean() for at in chosen])
            lines.append(f"| {name} | {len(chosen)} | {errors:.3f} / {close:.3f} | {found:.1f} | {sky:.1%} |")
    return lines


def draw(folder: Path, images: list[np.ndarray], labels: list, tracks: list[np.ndarray]) -> None:
    """Write the tracks over the image, above motion and depth."""
    folder.mkdir(parents=True, exist_ok=True)
    colors = np.random.default_rng(0).integers(60, 256, (1 + max(int(t.max()) for t in tracks), 3))
    for index, (rgb, one, found) in enumerate(zip(images, labels, tracks, strict=True)):
        shown = np.where(found[..., None] > 0, 0.45 * rgb + 0.55 * colors[found], rgb).astype(np.uint8)
        layers = shown, colorize_probability(one.cues.motion), colorize_depth(one.cues.depth_heights)
        cv2.imwrite(str(folder / f"{index:06d}.jpg"), np.vstack(layers)[..., ::-1])


if __name__ == "__main__":
    main()
