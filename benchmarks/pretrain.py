"""What minutes of self-training are worth: pseudo-classes of random, self-trained and classical features.

    python benchmarks/pretrain.py [--streets CLIPS] [--world CLIPS --held-world CLIPS] [--out FOLDER] [--set KEY=VALUE]

Streets are labelled street clips, worlds rendered ones with truth. A backbone is trained on the frames of all street
clips but the held one, and another one on those of --world; no label is seen. Both tables have the measure of
semantics.py: 27 clusters found on the clips that were trained on, matched to nine merged classes; mean IoU / pixel
accuracy, mean of three clusterings. "all clips" are streets a to d, or the held worlds; "held clip" is the held street,
or the last held world. Checkpoints are kept in FOLDER and used again. The last lines say by how much random features
are beaten, and whether the classical ones are.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import semantics
import torch
from labelled_clips import street_as_clip
from machine import machine
from semantics import CLUSTERS, LOW, MERGED, SEEDS, Frame

from videocups.pretrain.config import PretrainConfig
from videocups.pretrain.encoder import Encoder
from videocups.pretrain.features import SelfTrainedFeatures, load_self_trained
from videocups.pretrain.task import PretrainTask
from videocups.progress import Progress
from videocups.semantics.features import FeatureExtractor, FeatureMap
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.inference import SemanticModel, predict
from videocups.semantics.kmeans import KMeansConfig, find_clusters, sample_vectors
from videocups.train.config_file import read_config
from videocups.train.loop import choose_device, initialize, run_training
from videocups_core.clip import Clip, find_clips

CONFIG = Path(__file__).resolve().parent.parent / "training/configs/pretrain_tiny.yaml"
INFERENCE = replace(LOW, low_scale=1.0)


@dataclass(frozen=True)
class Data:
    """Clips to learn from without labels, labelled frames to cluster and to judge on, and the clip shown apart."""

    name: str
    clips: list[Path]
    cluster_on: list[Frame]
    judge_on: list[Frame]
    held: str


@dataclass(frozen=True)
class Features:
    """Features under a name; ``None`` as weights compares by the angle."""

    name: str
    extract: Callable[[np.ndarray], FeatureMap]
    weights: np.ndarray | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--streets", type=Path, help="folder of labelled street clips")
    parser.add_argument("--world", type=Path, help="folder of rendered clips to train on")
    parser.add_argument("--held-world", type=Path, help="folder of rendered clips of other seeds")
    parser.add_argument("--held", default="clip_d", help="street that nothing is learned from (default clip_d)")
    parser.add_argument("--config", type=Path, default=CONFIG, help="settings of the pre-training")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of it")
    parser.add_argument("--out", type=Path, help="keep checkpoints there, and use those that are there")
    parser.add_argument("--every", type=int, default=12, help="frames from one judged frame to the next (default 12)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default: %(default)s")
    options = parser.parse_args()
    if not (options.streets or (options.world and options.held_world)):
        parser.error("nothing to judge on: give --streets, or --world and --held-world")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    config = read_config(PretrainConfig, options.config, options.set)
    print(f"{datetime.date.today().isoformat()}, {machine()}, {options.config.name} {' '.join(options.set)}".rstrip())
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch) / "runs"
        if options.streets:
            judge(
                street_data(options, Path(scratch) / "streets"), config, out / "streets", choose_device(options.device)
            )
        if options.world and options.held_world:
            judge(world_data(options), config, out / "world", choose_device(options.device))


def judge(data: Data, config: PretrainConfig, run: Path, device: str) -> None:
    """Train where there is no checkpoint yet, and print the table."""
    seconds = train(data, config, run, device)
    print(f"\n{data.name}: {config.loop.steps} steps on {len(data.clips)} clips, {seconds / 60:.1f} CPU-minutes")
    print(f"judged on {len(data.judge_on)} frames; IoU of {'; '.join(MERGED)}")
    print(f"{'features':<34} {'all clips':>12} {'held clip':>12}")
    means = {}
    for features in map(remembered, rows(config, run, device)):
        results = [score(features, data, seed) for seed in SEEDS]
        everything, held = (np.mean([result[k] for result in results], axis=0) for k in (0, 1))
        numbers = " ".join(f"{value:3.0f}" for value in everything[2:])
        print(
            f"{features.name:<34} {semantics.show(everything):>12} {semantics.show(held):>12}   {numbers}", flush=True
        )
        means[features.name] = everything[0]
    beaten = max(means["random network"], means["untrained network of the same shape"])
    gain, lead = means["self-trained"] - beaten, means["self-trained"] - means["classical"]
    print(f"self-trained is {gain:+.1f} mIoU against the better random network, {lead:+.1f} against classical features")


def rows(config: PretrainConfig, run: Path, device: str) -> list[Features]:
    """Return the features to compare."""
    learned, classical = load_self_trained(run, device), ClassicalFeatures()
    fresh = SelfTrainedFeatures(initialize(config.loop.seed, lambda: Encoder(config.encoder)), "untrained", device)
    return [
        Features("random network", semantics.random_network(), None),
        of("untrained network of the same shape", fresh),
        of("self-trained", learned),
        of("classical", classical),
        both("classical and untrained", classical, fresh),
        both("classical and self-trained", classical, learned),
    ]


def of(name: str, extractor: FeatureExtractor) -> Features:
    return Features(name, extractor.extract, extractor.weights)


def both(name: str, first: FeatureExtractor, second: FeatureExtractor) -> Features:
    """Put two kinds of features with the same stride side by side, each counting as it does alone."""

    def extract(rgb: np.ndarray) -> FeatureMap:
        return np.concatenate([first.extract(rgb), second.extract(rgb)], axis=2)

    return Features(name, extract, np.concatenate([first.weights, second.weights]))


def train(data: Data, config: PretrainConfig, run: Path, device: str) -> float:
    """Train into ``run`` and return the CPU time in s; a finished run is left as it is."""
    note = run / "cpu_seconds.json"
    if note.is_file():
        return float(json.loads(note.read_text()))
    start = time.process_time()
    task = PretrainTask(data.clips, config)
    with Progress(f"pretrain {data.name}", total=task.steps, unit="steps") as progress:
        run_training(task, config.loop, run, device=device, on_step=progress.update)
    note.write_text(json.dumps(time.process_time() - start))
    return time.process_time() - start


def score(features: Features, data: Data, seed: int) -> tuple[list[float], list[float]]:
    """Cluster, predict and score; returns the figures over all judged clips and over the held one."""
    maps = (features.extract(frame.rgb) for frame in data.cluster_on)
    config = KMeansConfig(classes=CLUSTERS, seed=seed)
    clusters = find_clusters(sample_vectors(maps, 1500, seed), config, features.weights)
    model = SemanticModel(features.extract, clusters, windowed=False)
    overlaps: dict[str, np.ndarray] = {}
    for frame in data.judge_on:
        labels = predict(frame.rgb, model, None, INFERENCE)
        known = frame.truth != 255
        pairs = labels[known].astype(np.int64) * len(MERGED) + frame.truth[known]
        counts = np.bincount(pairs, minlength=CLUSTERS * len(MERGED)).reshape(CLUSTERS, -1)
        overlaps[frame.clip] = overlaps.get(frame.clip, 0) + counts
    return semantics.score(sum(overlaps.values())), semantics.score(overlaps[data.held])


def remembered(features: Features) -> Features:
    """Describe every frame once, for all clusterings."""
    maps: dict[bytes, FeatureMap] = {}

    def extract(rgb: np.ndarray) -> FeatureMap:
        key = rgb.tobytes()
        if key not in maps:
            maps[key] = features.extract(rgb)
        return maps[key]

    return replace(features, extract=extract)


def street_data(options: argparse.Namespace, scratch: Path) -> Data:
    """Give streets the layout of clips, without their labels, and read the frames to judge on."""
    folders = sorted(options.streets.glob("clip_*"))
    clips = [street_as_clip(folder, scratch) for folder in folders if folder.name != options.held]
    frames = [frame for folder in folders for frame in semantics.read_clip(folder, options.every)]
    known = [frame for frame in frames if frame.clip != options.held]
    return Data("streets", clips, known, frames, options.held)


def world_data(options: argparse.Namespace) -> Data:
    """Read rendered clips."""
    clips, held = find_clips(options.world), find_clips(options.held_world)
    known = [frame for clip in clips for frame in read_world(clip, options.every)]
    judged = [frame for clip in held for frame in read_world(clip, options.every)]
    return Data("world", clips, known, judged, held[-1].name)


def read_world(folder: Path, every: int) -> list[Frame]:
    """Read every ``every``-th frame of a rendered clip; its class ids are those of the streets."""
    from videocups.synthetic import read_truth
    from videocups.synthetic.classes import CLASSES

    merged = {name: index for index, members in enumerate(MERGED.values()) for name in members}
    table = np.full(256, 255, np.uint8)
    for info in CLASSES:
        table[info.class_id] = merged.get(ALIASES.get(info.name, info.name), 255)
    clip = Clip(folder)
    frames = []
    for index in range(0, len(clip), every):
        truth = read_truth(folder, index)
        frames.append(Frame(folder.name, clip.frame_rgb(index), table[truth.class_map], truth.depth_m))
    return frames


ALIASES = {"fence": "barrier/fence", "traffic_sign": "cone/traffic_sign"}
"""Classes of the rendered world under the streets' names."""


if __name__ == "__main__":
    main()
