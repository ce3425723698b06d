"""Mini-batch k-means that gives pseudo-classes: cosine distance for learned codes, standardised Euclidean otherwise.

Reads vectors, writes ``Clusters``: one safetensors file with its settings in the header.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from scipy.special import logsumexp

from videocups.semantics.features import FeatureMap
from videocups_core.clip import write_atomically
from videocups_core.config import from_mapping, setting, to_mapping

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class KMeansConfig:
    """Settings of the clustering."""

    classes: int = setting(27, "number of pseudo-classes", minimum=2, maximum=254)
    # cosine suits learned codes; euclidean, standardised, measures better on classical features
    metric: Literal["auto", "cosine", "euclidean"] = setting(
        "auto", "distance to a cluster; auto: euclidean where the features come with weights"
    )
    batch: int = setting(4096, "vectors in a mini-batch", minimum=1)
    steps: int = setting(300, "mini-batches", minimum=1)
    # the best of several runs, by the mean distance on all vectors
    restarts: int = setting(3, "runs from different starts; the tightest is kept", minimum=1)
    # a cluster that held less than this share of the last batches starts anew at a far vector
    min_share: float = setting(0.001, "clusters below this share of vectors start anew", minimum=0.0, maximum=0.5)
    # log-probabilities are softmax(-distance · sharpness); in units of the mean distance for euclidean, 2 = 2·cos
    sharpness: float = setting(2.0, "how sharply distances turn into probabilities", minimum=0.0)
    seed: int = setting(0, "seed of starts and batches", minimum=0)


@dataclass(frozen=True)
class Clusters:
    """Found clusters: ``centers`` (K, D) lie in the space after (v − ``shift``) · ``scale``.

    ``spread``: mean squared distance of a vector to its center there; 1 for cosine.
    """

    centers: Vectors
    shift: Vectors
    scale: Vectors
    spread: float
    config: KMeansConfig

    def distances(self, features: FeatureMap) -> FeatureMap:
        """Return (…, K) float32 distances: 1 − cos, or squared Euclidean in units of the spread."""
        if features.shape[-1] != self.shift.size:
            raise ValueError(
                f"features have {features.shape[-1]} dimensions, the clusters were found in {self.shift.size}; "
                "use the same feature extractor or cluster again"
            )
        points = _prepared(features.reshape(-1, features.shape[-1]), self.shift, self.scale, self.config.metric)
        found = _distances(points, self.centers, self.config.metric) / self.spread
        return found.reshape(*features.shape[:-1], len(self.centers)).astype(np.float32)

    def log_probs(self, features: FeatureMap) -> FeatureMap:
        """Return (…, K) float32 log-probabilities of the pseudo-classes."""
        scores = -self.config.sharpness * self.distances(features)
        return np.asarray(scores - logsumexp(scores, axis=-1, keepdims=True), dtype=np.float32)

    def assign(self, features: FeatureMap) -> NDArray[np.uint8]:
        """Return (…) uint8: the nearest cluster."""
        return np.asarray(self.distances(features).argmin(axis=-1), dtype=np.uint8)

    def save(self, path: Path) -> None:
        """Write one safetensors file, atomically."""
        tensors: dict[str, NDArray[Any]] = {"centers": self.centers, "shift": self.shift, "scale": self.scale}
        tensors["spread"] = np.array([self.spread])
        write_atomically(path, save(tensors, {"config": json.dumps(to_mapping(self.config))}))


def load_clusters(path: Path) -> Clusters:
    """Read what ``Clusters.save`` wrote."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    tensors = load_file(path)
    config = from_mapping(KMeansConfig, json.loads(header["__metadata__"]["config"]), str(path))
    return Clusters(tensors["centers"], tensors["shift"], tensors["scale"], float(tensors["spread"][0]), config)


def sample_vectors(maps: Iterable[FeatureMap], per_map: int, seed: int = 0) -> Vectors:
    """Draw ``per_map`` vectors of each (h, w, D) feature map at random places: (N, D)."""
    rng = np.random.default_rng(seed)
    drawn = []
    for features in maps:
        flat = features.reshape(-1, features.shape[-1])
        drawn.append(flat[rng.choice(len(flat), min(per_map, len(flat)), replace=False)])
    if not drawn:
        raise ValueError("there is no feature map to draw vectors from; give at least one frame")
    return np.concatenate(drawn)


def find_clusters(vectors: Vectors, config: KMeansConfig, weights: Vectors | None = None) -> Clusters:
    """Cluster (N, D) ``vectors``; equal input and seed give equal clusters.

    ``weights``: (D,), how much each dimension counts after it was standardised (Euclidean only).
    """
    if config.metric == "auto":
        config = replace(config, metric="cosine" if weights is None else "euclidean")
    if len(vectors) < config.classes:
        raise ValueError(f"{config.classes} classes need at least as many vectors, got {len(vectors)}")
    shift, scale = _standard(vectors, weights) if config.metric == "euclidean" else _untouched(vectors.shape[1])
    points = _prepared(vectors, shift, scale, config.metric)
    best: tuple[float, Vectors] | None = None
    for restart in range(config.restarts):
        centers = _run(points, config, np.random.default_rng([config.seed, restart]))
        tightness = float(_distances(points, centers, config.metric).min(axis=1).mean())
        if best is None or tightness < best[0]:
            best = tightness, centers
    assert best is not None
    spread = 1.0 if config.metric == "cosine" else max(best[0], 1e-12)
    return Clusters(best[1], shift, scale, spread, config)


def _standard(vectors: Vectors, weights: Vectors | None) -> tuple[Vectors, Vectors]:
    """Return mean and weight / standard deviation of each dimension; one that never changes counts nothing."""
    shift: Vectors = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    deviation = vectors.std(axis=0, dtype=np.float64)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    return shift, (scale if weights is None else scale * weights).astype(np.float32)


def _untouched(dimensions: int) -> tuple[Vectors, Vectors]:
    return np.zeros(dimensions, np.float32), np.ones(dimensions, np.float32)


def _run(points: Vectors, config: KMeansConfig, rng: np.random.Generator) -> Vectors:
    """Run once: k-means++ start, mini-batch updates with a rate of 1 / (vectors seen), small clusters moved."""
    centers = _spread_start(points[rng.permutation(len(points))[:20_000]], config, rng)
    seen = np.zeros(config.classes)
    recent = np.full(config.classes, 1 / config.classes)  # share of the last batches, fading
    for _ in range(config.steps):
        batch = points[rng.integers(0, len(points), config.batch)]
        distances = _distances(batch, centers, config.metric)
        label = distances.argmin(axis=1)
        counts = np.bincount(label, minlength=config.classes)
        seen += counts
        recent = 0.9 * recent + 0.1 * counts / len(batch)
        sums = _sums(batch, label, counts)
        rate = (counts / np.maximum(seen, 1))[:, None]
        centers += rate * (sums / np.maximum(counts, 1)[:, None] - centers)
        for empty in np.flatnonzero(recent < config.min_share):
            nearest = distances.min(axis=1)
            centers[empty] = batch[rng.choice(len(batch), p=nearest / nearest.sum()) if nearest.sum() > 0 else 0]
            seen[empty], recent[empty] = 0, 1 / config.classes
        if config.metric == "cosine":
            centers = _unit(centers)
    return centers


def _sums(batch: Vectors, label: NDArray[np.int64], counts: NDArray[np.int64]) -> Vectors:
    """Return (K, D): the sum of the vectors of each cluster, in their order; much faster than ``np.add.at``."""
    grouped = np.split(batch[np.argsort(label, kind="stable")], np.cumsum(counts)[:-1])
    return np.stack([vectors.sum(axis=0) for vectors in grouped])


def _spread_start(points: Vectors, config: KMeansConfig, rng: np.random.Generator) -> Vectors:
    """Pick starts far from each other (k-means++)."""
    centers = [points[rng.integers(len(points))]]
    nearest = _distances(points, centers[0][None], config.metric)[:, 0]
    for _ in range(config.classes - 1):
        total = float(nearest.sum())
        pick = rng.choice(len(points), p=nearest / total) if total > 0 else rng.integers(len(points))
        centers.append(points[pick])
        nearest = np.minimum(nearest, _distances(points, centers[-1][None], config.metric)[:, 0])
    return np.stack(centers).astype(np.float32)


def _prepared(vectors: Vectors, shift: Vectors, scale: Vectors, metric: str) -> Vectors:
    moved = (vectors - shift) * scale
    return _unit(moved) if metric == "cosine" else moved.astype(np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _distances(points: Vectors, centers: Vectors, metric: str) -> NDArray[np.float64]:
    """(N, K): 1 − cos, or squared Euclidean; never negative."""
    product = points @ centers.T
    if metric == "cosine":
        return np.asarray(np.maximum(1 - product, 0), dtype=np.float64)
    lengths = (points**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1)
    return np.asarray(np.maximum(lengths - 2 * product, 0), dtype=np.float64)
