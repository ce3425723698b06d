"""The stages from frames to pseudo-classes: vectors, clusters, semantics, smooth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.fusion.smoothing import smooth_frame
from videocups.pipeline.cue_formats import flow_from_arrays
from videocups.pipeline.feature_settings import Features, FeatureSettings, extractor_of, modules_of, resolve
from videocups.pipeline.stage import Input, Output, Stage
from videocups.pipeline.work import Work
from videocups.semantics.distill_config import DistillConfig
from videocups.semantics.extractors import device_of
from videocups.semantics.features import FeatureExtractor, FeatureMap, extract_all
from videocups.semantics.inference import InferenceConfig, SemanticModel, depth_scale, predict_all
from videocups.semantics.kmeans import Clusters, KMeansConfig, find_clusters, sample_vectors
from videocups_core.config import from_mapping, setting, to_mapping


@dataclass(frozen=True)
class CodesConfig:
    """Distilled codes between features and clusters (DepthG)."""

    enabled: bool = setting(False, "distil features into codes before clustering")
    frames: int = setting(400, "frames to learn from, evenly spread; their features lie in memory", minimum=2)
    distill: DistillConfig = field(default_factory=DistillConfig)


@dataclass(frozen=True)
class SemanticsConfig:
    """How frames get pseudo-classes."""

    features: FeatureSettings = field(default_factory=FeatureSettings)
    codes: CodesConfig = field(default_factory=CodesConfig)
    # vectors drawn from a frame for the clustering, at each of the two scales of the inference
    vectors_per_frame: int = setting(256, "vectors drawn from a frame for the clustering, at each scale", minimum=1)
    # where there are more vectors than this, evenly spread frames are taken
    max_vectors: int = setting(1_000_000, "for more vectors than this, evenly spread frames are taken", minimum=100)
    kmeans: KMeansConfig = field(default_factory=KMeansConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)


@dataclass(frozen=True)
class DistilSettings:
    """What the head depends on."""

    features: Features
    codes: CodesConfig
    low_scale: float


@dataclass(frozen=True)
class VectorSettings:
    """What the vectors of a frame depend on."""

    features: Features
    codes: DistillConfig | None
    per_frame: int
    low_scale: float
    seed: int


@dataclass(frozen=True)
class ClusterSettings:
    """What the clusters depend on."""

    features: Features
    coded: bool
    kmeans: KMeansConfig
    per_frame: int
    max_vectors: int


@dataclass(frozen=True)
class SemanticSettings:
    """What the classes of a frame depend on."""

    features: Features
    codes: DistillConfig | None
    kmeans: KMeansConfig
    inference: InferenceConfig


@dataclass(frozen=True)
class SmoothSettings:
    """The vote has none."""


def semantic_stages(config: SemanticsConfig) -> tuple[Stage, ...]:
    """Return the stages; they read what the instance stages write."""
    features, kmeans, codes = resolve(config.features), config.kmeans, config.codes
    head = codes.distill if codes.enabled else None
    low_scale = config.inference.low_scale
    drawn = VectorSettings(features, head, config.vectors_per_frame, low_scale, kmeans.seed)
    semantic = SemanticSettings(features, head, kmeans, config.inference)
    smooth_reads = (Input("semantics"), Input("semantics", (-1, 1), "optional"), Input("flow", (-1, 0), "optional"))
    clusters = ClusterSettings(features, codes.enabled, kmeans, config.vectors_per_frame, config.max_vectors)
    coded = (Input("head"),) if codes.enabled else ()
    networks = (*modules_of(config.features.kind), *(("videocups.semantics.coding",) if codes.enabled else ()))
    solver = ("videocups.semantics.crf",) if config.inference.crf else ()
    distil = Stage(
        "distil",
        "data",
        distil_features,
        DistilSettings(features, codes, low_scale),
        (Input("frames", need="any"), Input("depth", need="optional")),
        (Output("head", ".npz"),),
        version=3,
        final=True,
        loads=networks,
    )
    return (
        *((distil,) if codes.enabled else ()),
        Stage(
            "vectors",
            "frame",
            draw_vectors,
            drawn,
            (Input("frames"), *coded),
            (Output("vectors", ".npz"),),
            loads=networks,
            run_many=draw_vectors_of_all,
        ),
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
            (Input("frames"), Input("clusters"), Input("depth", need="optional"), *coded),
            (Output("semantics", ".png"),),
            loads=(*networks, *solver),
            run_many=classes_of_frames,
        ),
        Stage("smooth", "frame", smooth_classes, SmoothSettings(), smooth_reads, (Output("semantics_smooth", ".png"),)),
    )


def distil_features(work: Work, settings: DistilSettings) -> dict[str, Any]:
    """Learn a head on the features of evenly spread frames, of those with depth where depth takes part."""
    from videocups.semantics.coding import learn_coding

    extractor = extractor_of(settings.features)
    places = [(group, clip, n) for group, clip in enumerate(work.members()) for n in clip.numbers("frames")]
    config = settings.codes.distill
    needs_depth = config.depth_term != "off" or config.sampling == "furthest"
    if needs_depth:
        known = [place for place in places if place[1].has("depth", place[2])]
        if not known:
            raise ValueError(
                f"none of {len(places)} frames has depth, which codes are distilled with; set "
                "semantics.codes.distill.depth_term: off and sampling: random"
            )
        places = known
    step, frames = max(1, -(-len(places) // settings.codes.frames)), []
    for group, clip, number in places[::step]:
        depth = clip.read("depth", number)["depth_heights"].astype(np.float32) if needs_depth else None
        small = shrunk(clip.read("frames", number), settings.low_scale)
        frames.append((extractor.extract(small), depth, group))
    return {
        "head": learn_coding(frames, extractor.weights, config, device_of(settings.features.settings.kind)).to_arrays()
    }


def draw_vectors(work: Work, settings: VectorSettings) -> dict[str, Any]:
    """Draw vectors of a frame, at both scales at which the inference looks at it."""
    return draw_vectors_of_all([work], settings)[0]


def draw_vectors_of_all(works: Sequence[Work], settings: VectorSettings) -> list[dict[str, Any]]:
    """Draw the vectors of several frames of a clip."""
    extractor = describer(works[0], settings.features, settings.codes)
    images = [work.read("frames", work.index).copy() for work in works]  # torch takes no read-only arrays
    low = extract_all(extractor, [shrunk(rgb, settings.low_scale) for rgb in images])
    drawn = [
        sample_vectors(maps, settings.per_frame, settings.seed + work.index)
        for work, maps in zip(works, zip(low, extract_all(extractor, images), strict=True), strict=True)
    ]
    return [{"vectors": {"drawn": vectors}} for vectors in drawn]


def cluster_vectors(work: Work, settings: ClusterSettings) -> dict[str, Any]:
    """Find the pseudo-classes of the whole data set."""
    places = [(clip, number) for clip in work.members() for number in clip.numbers("vectors")]
    step = max(1, -(-len(places) * 2 * settings.per_frame // settings.max_vectors))
    vectors = np.concatenate([clip.read("vectors", number)["drawn"] for clip, number in places[::step]])
    weights = None if settings.coded else extractor_of(settings.features).weights
    found = find_clusters(vectors, settings.kmeans, weights)
    return {"clusters": clusters_to_arrays(found)}


def classes_of_frame(work: Work, settings: SemanticSettings) -> dict[str, Any]:
    """Predict the pseudo-class of every pixel; a frame without depth is seen as far away everywhere."""
    return classes_of_frames([work], settings)[0]


def classes_of_frames(works: Sequence[Work], settings: SemanticSettings) -> list[dict[str, Any]]:
    """Predict the classes of several frames of a clip; where features come from a GPU, the CRF is solved there too."""
    extractor = describer(works[0], settings.features, settings.codes)
    clusters = clusters_from_arrays(works[0].read("clusters"), settings.kmeans)
    images = [work.read("frames", work.index).copy() for work in works]  # torch takes no read-only arrays
    depths_m = [_depth_m(work, rgb.shape[:2], settings.inference) for work, rgb in zip(works, images, strict=True)]
    device = device_of(settings.features.settings.kind)
    model = SemanticModel.of(extractor, clusters)
    found = predict_all(images, model, depths_m, settings.inference, device)
    return [{"semantics": classes} for classes in found]


def _depth_m(work: Work, shape: tuple[int, ...], config: InferenceConfig) -> FeatureMap:
    if not work.has("depth", work.index):
        return np.full(shape, np.inf, np.float32)
    heights = work.read("depth", work.index)["depth_heights"].astype(np.float32)
    return np.asarray(heights * np.float32(depth_scale([], config, camera_height=1.0)), np.float32)


def smooth_classes(work: Work, settings: SmoothSettings) -> dict[str, Any]:
    """Let a frame and its neighbours vote."""

    def neighbour(frame: int, pair: int) -> tuple[Any, Any] | None:
        if not (work.has("semantics", frame) and work.has("flow", pair)):
            return None
        return work.read("semantics", frame), flow_from_arrays(work.read("flow", pair))

    t = work.index
    return {"semantics_smooth": smooth_frame(work.read("semantics", t), neighbour(t - 1, t - 1), neighbour(t + 1, t))}


def describer(work: Work, features: Features, codes: DistillConfig | None) -> FeatureExtractor:
    """Return the extractor of a frame's features, or of their codes."""
    extractor = extractor_of(features)
    if codes is None:
        return extractor
    from videocups.semantics.coding import CodedFeatures, Coding

    return CodedFeatures(extractor, Coding.from_arrays(work.read("head"), codes), device_of(features.settings.kind))


def shrunk(rgb: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return the image as the coarse prediction sees it."""
    size = tuple(max(round(length * scale), 1) for length in rgb.shape[1::-1])
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def clusters_to_arrays(found: Clusters) -> dict[str, NDArray[Any]]:
    """Return clusters as arrays to store."""
    arrays = {"centers": found.centers, "shift": found.shift, "scale": found.scale}
    return {**arrays, "spread": np.array([found.spread]), "metric": np.array(found.config.metric)}


def clusters_from_arrays(arrays: Mapping[str, NDArray[Any]], config: KMeansConfig) -> Clusters:
    """Return the clusters that were stored."""
    resolved = from_mapping(KMeansConfig, {**to_mapping(config), "metric": str(arrays["metric"])}, "clusters")
    return Clusters(arrays["centers"], arrays["shift"], arrays["scale"], float(arrays["spread"][0]), resolved)
