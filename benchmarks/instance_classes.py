"""Classes of things: from whole instances, or from the majority of their pixels.

    python benchmarks/instance_classes.py CLIPS [--every N]

CLIPS as for ``semantics.py``, with ``truth/track`` and ``moving_tracks``. Tracks that move are taken with their true
masks, so that only the classes are measured. Purity: share of tracks whose true kind (vehicle, person, bicycle) is the
most frequent one of their pseudo-class; few pure classes are good, many are cheap. The last line is the figure.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from machine import machine
from semantics import CLUSTERS, LOW

from videocups.fusion.alignment import majority_classes, track_votes
from videocups.fusion.instance_classes import (
    InstanceClassConfig,
    classify_tracks,
    describe_tracks,
    find_instance_classes,
)
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.inference import InferenceConfig, SemanticModel, predict
from videocups.semantics.kmeans import KMeansConfig, find_clusters, sample_vectors
from videocups_core.clip import read_rgb

KINDS = {"car": "vehicle", "truck": "vehicle", "bus": "vehicle", "pedestrian": "person", "bicycle": "bicycle"}
SMALLEST_PX = 64


@dataclass
class MovingTracks:
    """The moving tracks of one clip: maps, frames, and what each track truly is."""

    frames: list[np.ndarray] = field(default_factory=list)
    tracks: list[np.ndarray] = field(default_factory=list)
    kind_of: dict[int, str] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("clips", type=Path, help="folder of labelled clips")
    parser.add_argument("--every", type=int, default=10, help="frames from one to the next (default 10)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    clips = [read_moving(folder, options.every) for folder in sorted(options.clips.glob("clip_*"))]
    kinds = Counter(kind for clip in clips for kind in clip.kind_of.values())
    print(f"machine: {machine()}; {len(clips)} clips, moving tracks: {dict(kinds)}")
    extractor = ClassicalFeatures()
    maps = [[extractor.extract(rgb) for rgb in clip.frames] for clip in clips]
    described = [describe_tracks(clip.tracks, features) for clip, features in zip(clips, maps, strict=True)]
    for shape, appearance, name in ((1, 0, "shape alone"), (0, 1, "appearance alone"), (1, 0.4, "both, the default")):
        for count in (3, 6):
            config = InstanceClassConfig(classes=count, shape=shape, appearance=appearance, min_frames=1)
            clusters = find_instance_classes(described, config)
            labels = [classify_tracks(tracks, clusters, CLUSTERS) for tracks in described]
            whole = report(f"whole instances, {name}, {count} classes", clips, labels)
            if name.startswith("both") and count == 3:
                figure = whole
    vectors = sample_vectors((features for clip in maps for features in clip), 1500)
    clusters = find_clusters(vectors, KMeansConfig(classes=CLUSTERS), extractor.weights)
    labels = [pixel_majority(clip, SemanticModel(extractor.extract, clusters, extractor.windowed)) for clip in clips]
    pixels = report("majority of pixels", clips, labels)
    print(f"thing classes: {figure:.1%} of tracks pure with 3 classes of whole instances, {pixels:.1%} by pixels")


def read_moving(folder: Path, every: int) -> MovingTracks:
    """Read every ``every``-th frame; tracks below 64 px in a frame are left out there."""
    meta = json.loads((folder / "clip.json").read_text())
    moving = {track for tracks in meta["moving_tracks"].values() for track in tracks}
    clip, votes = MovingTracks(), defaultdict(Counter)
    for path in sorted((folder / "frames").iterdir())[::every]:
        track_map, class_map = (
            cv2.imread(str(folder / "truth" / kind / f"{path.stem}.png"), cv2.IMREAD_UNCHANGED)
            for kind in ("track", "class")
        )
        kept = np.zeros(track_map.shape, np.int32)
        for track in moving.intersection(np.unique(track_map).tolist()):
            mask = track_map == track
            if mask.sum() >= SMALLEST_PX:
                kept[mask] = track
                votes[track].update(class_map[mask].tolist())
        clip.frames.append(read_rgb(path))
        clip.tracks.append(kept)
    for track, counts in votes.items():
        name = meta["classes"][str(counts.most_common(1)[0][0])]
        clip.kind_of[track] = KINDS.get(name, "other")
    return clip


def pixel_majority(clip: MovingTracks, model: SemanticModel) -> dict[int, int]:
    """Return the class that most pixels of each track have."""
    config = InferenceConfig(guided=False, low_scale=1.0, crf=LOW.crf)
    labels = [predict(rgb, model, None, config) for rgb in clip.frames]
    return majority_classes(track_votes(labels, clip.tracks, CLUSTERS))


def report(name: str, clips: list[MovingTracks], labels: list[dict[int, int]]) -> float:
    """Print and return the purity."""
    members: dict[int, Counter[str]] = defaultdict(Counter)
    for clip, label_of in zip(clips, labels, strict=True):
        for track, kind in clip.kind_of.items():
            members[label_of[track]][kind] += 1
    purity = sum(max(counts.values()) for counts in members.values()) / sum(map(Counter.total, members.values()))
    print(f"{name:<48} {len(members):>3} classes used, {purity:.1%} pure: {[dict(c) for c in members.values()]}")
    return purity


if __name__ == "__main__":
    main()
