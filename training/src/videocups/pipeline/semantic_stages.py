"""The stages from frames and tracks to panoptic clips: vectors, clusters, semantics, smooth, align, split."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.fusion.alignment import ClassCounts, align, count_classes, majority_classes, track_votes
from videocups.fusion.smoothing import smooth_frame
from videocups.fusion.split import SplitConfig, split_things
from videocups.pipeline.cue_formats import flow_from_arrays
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work
from videocups.semantics.extractors import NAMES, build_extractor
from videocups.semantics.features import FeatureExtractor, FeatureMap
from videocups.semantics.features_classical import ClassicalFeaturesConfig
from videocups.semantics.inference import InferenceConfig, SemanticModel, depth_scale, predict
from videocups.semantics.kmeans import Clusters, KMeansConfig, find_clusters, sample_vectors
from videocups_core.config import from_mapping, setting, to_mapping


@dataclass(frozen=True)
class FeatureSettings:
    """Which features describe a frame."""

    name: str = setting("classical", "features: classical needs nothing, the others fetched weights", choices=NAMES)
    classical: ClassicalFeaturesConfig = field(default_factory=ClassicalFeaturesConfig)
    # folder of fetched weights; null takes the usual one
    weights: Path | None = setting(None, "folder of fetched weights; null takes the usual one")


@dataclass(frozen=True)
class SemanticsConfig:
    """How frames get pseudo-classes."""

    features: FeatureSettings = field(default_factory=FeatureSettings)
    # vectors drawn from a frame for the clustering, at each of the two scales of the inference
    vectors_per_frame: int = setting(256, "vectors drawn from a frame for the clustering, at each scale", minimum=1)
    # where there are more vectors than this, evenly spread frames are taken
    max_vectors: int = setting(1_000_000, "for more vectors than this, evenly spread frames are taken", minimum=100)
    kmeans: KMeansConfig = field(default_factory=KMeansConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)


@dataclass(frozen=True)
class VectorSettings:
    """What the vectors of a frame depend on."""

    features: FeatureSettings
    per_frame: int
    low_scale: float
    seed: int


@dataclass(frozen=True)
class ClusterSettings:
    """What the clusters depend on."""

    features: FeatureSettings
    kmeans: KMeansConfig
    per_frame: int
    max_vectors: int


@dataclass(frozen=True)
class SemanticSettings:
    """What the classes of a frame depend on."""

    features: FeatureSettings
    kmeans: KMeansConfig
    inference: InferenceConfig


@dataclass(frozen=True)
class SmoothSettings:
    """The vote has none."""


@dataclass(frozen=True)
class AlignSettings:
    """What the alignment depends on."""

    classes: int


def semantic_stages(config: SemanticsConfig, split: SplitConfig) -> tuple[Stage, ...]:
    """Return the stages; they read what the instance stages write."""
    features, kmeans = config.features, config.kmeans
    drawn = VectorSettings(features, config.vectors_per_frame, config.inference.low_scale, kmeans.seed)
    semantic = SemanticSettings(features, kmeans, config.inference)
    clip_reads = (Input("semantics_smooth", need="any"), Input("tracks", need="any"))
    smooth_reads = (Input("semantics"), Input("semantics", (-1, 1), "optional"), Input("flow", (-1, 0), "optional"))
    clusters = ClusterSettings(features, kmeans, config.vectors_per_frame, config.max_vectors)
    return (
        Stage("vectors", "frame", draw_vectors, drawn, (Input("frames"),), (Output("vectors", ".npz"),)),
        Stage(
            "clusters",
            "data",
            cluster_vectors,
            clusters,
            (Input("vectors", need="any"),),
            (Output("clusters", ".npz"),),
            final=True,
        ),
        Stage(
            "semantics",
            "frame",
            classes_of_frame,
            semantic,
            (Input("frames"), Input("clusters"), Input("depth", need="optional")),
            (Output("semantics", ".png"),),
        ),
        Stage("smooth", "frame", smooth_classes, SmoothSettings(), smooth_reads, (Output("semantics_smooth", ".png"),)),
        Stage(
            "align",
            "clip",
            align_clip,
            AlignSettings(kmeans.classes),
            clip_reads,
            (Output("semantics_aligned", ".png", each_frame=True), Output("class_counts", ".json")),
        ),
        Stage(
            "split",
            "data",
            split_classes,
            split,
            (Input("class_counts", need="any"),),
            (Output("thing_stuff", ".json"),),
            final=True,
        ),
    )


def draw_vectors(work: Work, settings: VectorSettings) -> dict[str, Any]:
    """Draw feature vectors of a frame, at both scales at which the inference looks at it."""
    extractor, rgb = extractor_of(settings.features), work.read("frames", work.index)
    size = tuple(max(round(length * settings.low_scale), 1) for length in rgb.shape[1::-1])
    small: NDArray[np.uint8] = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    maps = [extractor.extract(small), extractor.extract(rgb)]
    return {"vectors": {"drawn": sample_vectors(maps, settings.per_frame, settings.seed + work.index)}}


def cluster_vectors(work: Work, settings: ClusterSettings) -> dict[str, Any]:
    """Find the pseudo-classes of the whole data set."""
    places = [(clip, number) for clip in work.members() for number in clip.numbers("vectors")]
    step = max(1, -(-len(places) * 2 * settings.per_frame // settings.max_vectors))
    vectors = np.concatenate([clip.read("vectors", number)["drawn"] for clip, number in places[::step]])
    found = find_clusters(vectors, settings.kmeans, extractor_of(settings.features).weights)
    spread = np.array([found.spread])
    arrays = {"centers": found.centers, "shift": found.shift, "scale": found.scale, "spread": spread}
    return {"clusters": {**arrays, "metric": np.array(found.config.metric)}}


def classes_of_frame(work: Work, settings: SemanticSettings) -> dict[str, Any]:
    """Predict the pseudo-class of every pixel; a frame without depth is seen as far away everywhere."""
    extractor = extractor_of(settings.features)
    rgb = work.read("frames", work.index).copy()  # torch takes no read-only arrays
    clusters = clusters_from_arrays(work.read("clusters"), settings.kmeans)
    model = SemanticModel(extractor.extract, clusters, extractor.windowed)
    depth_m: FeatureMap = np.full(rgb.shape[:2], np.inf, np.float32)
    if work.has("depth", work.index):
        heights = work.read("depth", work.index)["depth_heights"].astype(np.float32)
        depth_m = heights * np.float32(depth_scale([], settings.inference, camera_height=1.0))
    return {"semantics": predict(rgb, model, depth_m, settings.inference)}


def smooth_classes(work: Work, settings: SmoothSettings) -> dict[str, Any]:
    """Let a frame and its neighbours vote."""

    def neighbour(frame: int, pair: int) -> tuple[Any, Any] | None:
        if not (work.has("semantics", frame) and work.has("flow", pair)):
            return None
        return work.read("semantics", frame), flow_from_arrays(work.read("flow", pair))

    t = work.index
    return {"semantics_smooth": smooth_frame(work.read("semantics", t), neighbour(t - 1, t - 1), neighbour(t + 1, t))}


def align_clip(work: Work, settings: AlignSettings) -> dict[str, Any]:
    """Give every track one class, and count what classes have inside tracks and everywhere."""
    numbers = [number for number in work.numbers("semantics_smooth") if work.has("tracks", number)]
    highest = max((int(work.read("tracks", number).max(initial=0)) for number in numbers), default=0)
    votes = np.zeros((highest + 1, settings.classes), np.int64)
    for number in numbers:
        found = track_votes([work.read("semantics_smooth", number)], [work.read("tracks", number)], settings.classes)
        votes[: len(found)] += found
    class_of = majority_classes(votes)
    frames, counts = [], ClassCounts(*(np.zeros(settings.classes, np.int64) for _ in range(2)))
    for number in numbers:
        tracks = [work.read("tracks", number)]
        aligned = align([work.read("semantics_smooth", number)], tracks, class_of)
        counts += count_classes(aligned, tracks, settings.classes)
        frames.append((number, aligned[0]))
    by_track = {str(track): class_id for track, class_id in class_of.items()}
    table = {"inside_px": counts.inside_px.tolist(), "all_px": counts.all_px.tolist(), "class_of_track": by_track}
    return {"semantics_aligned": frames, "class_counts": table}


def split_classes(work: Work, config: SplitConfig) -> dict[str, Any]:
    """Decide over all clips which pseudo-classes are things."""
    counts = [counts_from_json(clip.read("class_counts")) for clip in work.members() if clip.has("class_counts", None)]
    total = counts[0]
    for other in counts[1:]:
        total += other
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.json"
        split_things(total, config).save(path)
        return {"thing_stuff": json.loads(path.read_text())}


@lru_cache(maxsize=2)
def extractor_of(settings: FeatureSettings) -> FeatureExtractor:
    """Return the extractor, loaded once in a process."""
    return build_extractor(settings.name, classical=settings.classical, weights=settings.weights)


def counts_from_json(table: Mapping[str, Any]) -> ClassCounts:
    """Return the counts of a clip."""
    return ClassCounts(*(np.array(table[name], np.int64) for name in ("inside_px", "all_px")))


def clusters_from_arrays(arrays: Mapping[str, NDArray[Any]], config: KMeansConfig) -> Clusters:
    """Return the clusters that ``cluster_vectors`` stored."""
    resolved = from_mapping(KMeansConfig, {**to_mapping(config), "metric": str(arrays["metric"])}, "clusters")
    return Clusters(arrays["centers"], arrays["shift"], arrays["scale"], float(arrays["spread"][0]), resolved)
