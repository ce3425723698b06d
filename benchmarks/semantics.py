"""What pseudo-classes without pretrained weights can tell apart, on labelled street clips.

    python benchmarks/semantics.py CLIPS [--every N] [--held NAME] [--rows TEXT] [--overlay FOLDER]

CLIPS holds clip folders with ``frames``, ``truth/class``, ``truth/depth`` and ``clip.json``. 27 clusters are found on
all clips but the held one; each cluster takes the merged class that a Hungarian matching gives it, clusters left over
the class they overlap most. Pixels of class ``other`` are left out. Figures: mean IoU over 9 classes / pixel accuracy,
over all clips and over the held clip alone (matched on its own), mean of three seeds. The guided rows use true depth.
The last line is the figure.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from machine import machine

from videocups.evaluate.matching import match_kind
from videocups.semantics.features import FeatureMap
from videocups.semantics.features_classical import ClassicalFeatures, ClassicalFeaturesConfig
from videocups.semantics.inference import InferenceConfig, SemanticModel, predict
from videocups.semantics.kmeans import KMeansConfig, find_clusters, sample_vectors
from videocups_core.clip import read_rgb
from videocups_core.palette import class_colors

MERGED = {
    "sky": ("sky",),
    "road": ("road", "lane_line", "crosswalk"),
    "terrain": ("terrain",),
    "sidewalk": ("sidewalk",),
    "vehicle": ("car", "truck", "bus"),
    "person, bicycle": ("pedestrian", "bicycle"),
    "building, fence": ("building", "barrier/fence"),
    "vegetation": ("vegetation",),
    "pole, sign": ("pole", "traffic_light", "cone/traffic_sign"),
}
SEEDS, CLUSTERS, BAR = (0, 1, 2), 27, 50.0
LOW = InferenceConfig(guided=False, flip=False, crf=False)


@dataclass(frozen=True)
class Frame:
    """One labelled frame; ``truth``: merged class, 255 where left out; ``depth_m``: infinite for the sky."""

    clip: str
    rgb: np.ndarray
    truth: np.ndarray
    depth_m: np.ndarray


@dataclass(frozen=True)
class Setup:
    """A row of the table."""

    name: str
    extract: Callable[[np.ndarray], FeatureMap]
    weights: np.ndarray | None
    inference: InferenceConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("clips", type=Path, help="folder of labelled clips")
    parser.add_argument("--every", type=int, default=12, help="frames from one to the next (default 12)")
    parser.add_argument("--held", default="clip_d", help="clip that no cluster is found on (default clip_d)")
    parser.add_argument("--rows", default="", metavar="TEXT", help="only set-ups whose name holds TEXT")
    parser.add_argument("--overlay", type=Path, help="write pictures of the classes there")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    frames = [frame for folder in sorted(options.clips.glob("clip_*")) for frame in read_clip(folder, options.every)]
    if not {options.held} < {frame.clip for frame in frames}:
        raise SystemExit(f"{options.clips} needs {options.held} and at least one more labelled clip")
    print(f"machine: {machine()}; {len(frames)} frames of {len({frame.clip for frame in frames})} clips")
    print(f"{'set-up':<42} {'all clips':>12} {'held clip':>12}   IoU of {'; '.join(MERGED)}")
    figure = 0.0
    for setup in (setup for setup in setups() if options.rows in setup.name):
        results = [run(setup, frames, options.held, seed) for seed in SEEDS]
        everything, held = (np.mean([result[k] for result in results], axis=0) for k in (0, 1))
        numbers = " ".join(f"{value:3.0f}" for value in everything[2:])
        print(f"{setup.name:<42} {show(everything):>12} {show(held):>12}   {numbers}", flush=True)
        figure = float(everything[0])
    if options.overlay:
        write_overlays(setups()[-1], frames, options)
    verdict = "ok" if figure >= BAR else "BELOW"
    print(f"classical semantics: {figure:.1f} mIoU on all clips (bar {BAR:.0f}): {verdict}")


def setups() -> list[Setup]:
    """Return the rows, the embedded default last."""
    classical, plain = ClassicalFeatures(), ClassicalFeatures(colour_and_row())
    fine, guided = replace(LOW, low_scale=1.0), replace(LOW, guided=True)
    return [
        Setup("random network", random_network(), None, fine),
        Setup("colour and row", plain.extract, plain.weights, fine),
        Setup("classical, by the cosine", classical.extract, None, fine),
        Setup("classical, half resolution", classical.extract, classical.weights, LOW),
        Setup("classical, full resolution", classical.extract, classical.weights, fine),
        Setup("classical, depth-guided", classical.extract, classical.weights, guided),
        Setup("classical, depth-guided, CRF", classical.extract, classical.weights, replace(guided, crf=True)),
    ]


def colour_and_row() -> ClassicalFeaturesConfig:
    return ClassicalFeaturesConfig(mean=0, deviation=0, contrast=0, gabor=0)


def random_network() -> Callable[[np.ndarray], FeatureMap]:
    """Return codes of a small untrained convolutional network at stride 4."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(32, 3, 5, 5), (64, 32, 3, 3), (64, 64, 3, 3)]
    kernels = [torch.randn(shape, generator=generator) / np.sqrt(np.prod(shape[1:])) for shape in shapes]

    def extract(rgb: np.ndarray) -> FeatureMap:
        x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 128 - 1
        for kernel, stride in zip(kernels, (2, 2, 1), strict=True):
            x = torch.nn.functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[2] // 2).relu()
        return x[0].permute(1, 2, 0).contiguous().numpy()

    return extract


def read_clip(folder: Path, every: int) -> list[Frame]:
    """Read every ``every``-th frame of a labelled clip."""
    names = json.loads((folder / "clip.json").read_text())["classes"]
    merged = {name: index for index, members in enumerate(MERGED.values()) for name in members}
    table = np.full(256, 255, np.uint8)
    for class_id, name in names.items():
        table[int(class_id)] = merged.get(name, 255)
    frames = []
    for path in sorted((folder / "frames").iterdir())[::every]:
        truth, depth = (
            cv2.imread(str(folder / "truth" / kind / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
            for kind in ("class", "depth")
        )
        depth_m = np.where(depth > 0, depth / np.float32(256), np.inf).astype(np.float32)
        frames.append(Frame(folder.name, read_rgb(path), table[truth], depth_m))
    return frames


def run(setup: Setup, frames: list[Frame], held: str, seed: int) -> tuple[list[float], list[float]]:
    """Cluster, predict and score; returns the figures over all clips and over the held one."""
    model = train(setup, frames, held, seed)
    overlaps: dict[str, np.ndarray] = {}
    for frame in frames:
        labels = predict(frame.rgb, model, frame.depth_m, setup.inference)
        known = frame.truth != 255
        pairs = labels[known].astype(np.int64) * len(MERGED) + frame.truth[known]
        counts = np.bincount(pairs, minlength=CLUSTERS * len(MERGED)).reshape(CLUSTERS, -1)
        overlaps[frame.clip] = overlaps.get(frame.clip, 0) + counts
    return score(sum(overlaps.values())), score(overlaps[held])  # type: ignore[arg-type]


def train(setup: Setup, frames: list[Frame], held: str, seed: int) -> SemanticModel:
    maps = (setup.extract(frame.rgb) for frame in frames if frame.clip != held)
    vectors = sample_vectors(maps, 1500, seed)
    clusters = find_clusters(vectors, KMeansConfig(classes=CLUSTERS, seed=seed), setup.weights)
    return SemanticModel(setup.extract, clusters, windowed=False)


def score(overlap: np.ndarray) -> list[float]:
    """Return mean IoU, accuracy and each class's IoU in per cent."""
    matched = match_kind(overlap, list(range(len(overlap))), list(range(len(MERGED))))
    confusion = np.zeros((len(MERGED), len(MERGED)))
    for cluster, (target, _) in matched.items():
        confusion[target] += overlap[cluster]
    right = np.diag(confusion)
    iou = right / np.maximum(confusion.sum(0) + confusion.sum(1) - right, 1)
    return [100 * iou.mean(), 100 * right.sum() / confusion.sum(), *(100 * iou)]


def show(figures: np.ndarray) -> str:
    return f"{figures[0]:.1f} / {figures[1]:.1f}"


def write_overlays(setup: Setup, frames: list[Frame], options: argparse.Namespace) -> None:
    """Write one picture per clip: the frame, its pseudo-classes, and the truth."""
    options.overlay.mkdir(parents=True, exist_ok=True)
    model = train(setup, frames, options.held, SEEDS[0])
    colors = np.vstack([class_colors(CLUSTERS), np.zeros((256 - CLUSTERS, 3), np.uint8)])
    for clip in sorted({frame.clip for frame in frames}):
        frame = [frame for frame in frames if frame.clip == clip][4]
        labels = predict(frame.rgb, model, frame.depth_m, setup.inference)
        picture = np.vstack([frame.rgb, colors[labels], colors[frame.truth]])
        cv2.imwrite(str(options.overlay / f"{clip}.png"), picture[..., ::-1])


if __name__ == "__main__":
    main()
