"""The stages from frames to pseudo-classes: vectors, clusters, semantics, smooth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.fusion.smoothing import smooth_frame
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


def semantic_stages(config: SemanticsConfig) -> tuple[Stage, ...]:
    """Return the stages; they read what the instance stages write."""
    features, kmeans = config.features, config.kmeans
    drawn = VectorSettings(features, config.vectors_per_frame, config.inference.low_scale, kmeans.seed)
    semantic = SemanticSettings(features, kmeans, config.inference)
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
    return {"clusters": clusters_to_arrays(found)}


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


@lru_cache(maxsize=2)
def extractor_of(settings: FeatureSettings) -> FeatureExtractor:
    """Return the extractor, loaded once in a process."""
    return build_extractor(settings.name, classical=settings.classical, weights=settings.weights)


def clusters_to_arrays(found: Clusters) -> dict[str, NDArray[Any]]:
    """Return clusters as arrays to store."""
    arrays = {"centers": found.centers, "shift": found.shift, "scale": found.scale}
    return {**arrays, "spread": np.array([found.spread]), "metric": np.array(found.config.metric)}


def clusters_from_arrays(arrays: Mapping[str, NDArray[Any]], config: KMeansConfig) -> Clusters:
    """Return the clusters that were stored."""
    resolved = from_mapping(KMeansConfig, {**to_mapping(config), "metric": str(arrays["metric"])}, "clusters")
    return Clusters(arrays["centers"], arrays["shift"], arrays["scale"], float(arrays["spread"][0]), resolved)
