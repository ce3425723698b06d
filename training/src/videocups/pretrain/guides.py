"""Classes to start from: clusters of classical features, found on the same frames, without any label."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from videocups.pretrain.pairs import FramePairs
from videocups.semantics.features_classical import ClassicalFeatures
from videocups.semantics.kmeans import KMeansConfig, find_clusters, sample_vectors

PER_FRAME = 500
"""Vectors drawn from a frame for the clustering."""


class GuideClasses:
    """The cluster of every cell of a frame; found once, and the same whenever they are found again."""

    def __init__(self, pairs: FramePairs, classes: int, frames: int, seed: int) -> None:
        self._pairs, self._features = pairs, ClassicalFeatures()
        self.stride = self._features.stride
        numbers = np.unique(np.linspace(0, pairs.frames - 1, min(frames, pairs.frames)).round().astype(int))
        maps = (self._features.extract(pairs.frame(int(number))) for number in numbers)
        config = KMeansConfig(classes=classes, restarts=1, seed=seed)
        self._clusters = find_clusters(sample_vectors(maps, PER_FRAME, seed), config, self._features.weights)
        self._found: dict[int, NDArray[np.uint8]] = {}

    def map(self, number: int) -> NDArray[np.uint8]:
        """Return the classes (h, w) of the frame with this number; small, so that all are kept."""
        if number not in self._found:
            self._found[number] = self._clusters.assign(self._features.extract(self._pairs.frame(number)))
        return self._found[number]

    def at(self, number: int, places_px: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the classes (…) at places (…, 2) of a frame; places outside take the border's."""
        classes = self.map(number)
        cell = np.floor((places_px + 0.5) / self.stride).astype(np.int64)
        column = cell[..., 0].clip(0, classes.shape[1] - 1)
        row = cell[..., 1].clip(0, classes.shape[0] - 1)
        return np.asarray(classes[row, column], dtype=np.int64)
