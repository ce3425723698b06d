"""Classes for things from whole instances, not from pixels: tracked moving segments are described and clustered.

Cars painted differently look different pixel by pixel; as wholes they are alike in size, shape, place and texture.
Reads ``tracks`` and the features of the frames; a track's class is then K + its cluster, after the K pixel classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.semantics.features import FeatureMap
from videocups.semantics.kmeans import Clusters, KMeansConfig, find_clusters
from videocups_core.config import setting
from videocups_core.panoptic.regions import measure_regions

SHAPE_NAMES = ("log area", "log aspect", "fill", "bottom", "middle", "log area over that of the ground below")
"""what a segment's shape and place is described by; all relative to the image's height."""


@dataclass(frozen=True)
class InstanceClassConfig:
    """How many classes of things, and what makes them."""

    classes: int = setting(3, "number of thing pseudo-classes", minimum=1, maximum=64)
    min_frames: int = setting(2, "tracks seen in fewer frames take part in no clustering", minimum=1)
    shape: float = setting(1.0, "weight of size, shape and place", minimum=0.0)
    appearance: float = setting(0.4, "weight of the pooled features", minimum=0.0)
    kmeans: KMeansConfig = field(
        default_factory=lambda: KMeansConfig(metric="euclidean", batch=256, steps=100, restarts=5, min_share=0.0)
    )


@dataclass(frozen=True)
class TrackDescription:
    """One track of a clip: ``vector`` (D,), the median over its frames, and in how many frames it was seen."""

    vector: NDArray[np.float32]
    frames: int


def describe_tracks(tracks: Iterable[NDArray[np.int32]], features: Iterable[FeatureMap]) -> dict[int, TrackDescription]:
    """Describe the tracks of one clip from its (H, W) track maps and (h, w, D) feature maps, frame by frame."""
    seen: dict[int, list[NDArray[np.float32]]] = {}
    for track_map, feature_map in zip(tracks, features, strict=True):
        for track, vector in describe_segments(track_map, feature_map).items():
            seen.setdefault(track, []).append(vector)
    return {
        track: TrackDescription(np.median(vectors, axis=0).astype(np.float32), len(vectors))
        for track, vectors in seen.items()
    }


def describe_segments(track_map: NDArray[np.int32], features: FeatureMap) -> dict[int, NDArray[np.float32]]:
    """Describe each segment of one frame: shape and place, then the mean of the features inside."""
    height = track_map.shape[0]
    size = (features.shape[1], features.shape[0])
    described = {}
    regions = measure_regions(track_map)
    for track, area, box in zip(regions.ids.tolist(), regions.areas_px, regions.boxes_xywh.tolist(), strict=True):
        _, top, box_width, box_height = box
        bottom, middle = (top + box_height) / height, (top + box_height / 2) / height
        # things on the ground grow with the distance of their base from the horizon, taken at half the height
        below = max(bottom - 0.5, 0.02)
        shape = [np.log(area / height**2), np.log(box_width / box_height), area / (box_width * box_height)]
        shape += [bottom, middle, np.log(area / height**2) - 2 * np.log(below)]
        inside = cv2.resize((track_map == track).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        pooled = (features * inside[..., None]).sum(axis=(0, 1)) / max(float(inside.sum()), 1e-6)
        described[int(track)] = np.concatenate([shape, pooled]).astype(np.float32)
    return described


def find_instance_classes(
    clips: Iterable[Mapping[int, TrackDescription]], config: InstanceClassConfig | None = None
) -> Clusters:
    """Cluster the tracks of all clips into thing classes; a track counts once, however long it is."""
    config = config or InstanceClassConfig()
    vectors = [track.vector for clip in clips for _, track in sorted(clip.items()) if track.frames >= config.min_frames]
    if len(vectors) < config.classes:
        raise ValueError(
            f"{config.classes} thing classes need at least as many tracks of {config.min_frames} frames, "
            f"got {len(vectors)}; lower instance_classes.classes or label more recordings"
        )
    pooled = vectors[0].size - len(SHAPE_NAMES)
    weights = np.repeat(
        [config.shape / np.sqrt(len(SHAPE_NAMES)), config.appearance / np.sqrt(max(pooled, 1))],
        [len(SHAPE_NAMES), pooled],
    )
    if config.classes == 1:
        return _single_class(np.stack(vectors), config.kmeans)
    settings = replace(config.kmeans, classes=config.classes)
    return find_clusters(np.stack(vectors), settings, weights.astype(np.float32))


def classify_tracks(described: Mapping[int, TrackDescription], clusters: Clusters, first_class: int) -> dict[int, int]:
    """Return the class of each track: ``first_class`` + its cluster."""
    if not described:
        return {}
    tracks = sorted(described)
    labels = clusters.assign(np.stack([described[track].vector for track in tracks]))
    return {track: first_class + int(label) for track, label in zip(tracks, labels, strict=True)}


def _single_class(vectors: NDArray[np.float32], config: KMeansConfig) -> Clusters:
    middle = vectors.mean(axis=0)
    ones = np.ones_like(middle)
    return Clusters(np.zeros((1, middle.size), np.float32), middle, ones, 1.0, config)
