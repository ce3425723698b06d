"""What turns a frame into features: one interface, whatever stands behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FeatureMap = NDArray[np.float32]


class FeatureExtractor(Protocol):
    """Anything that describes the places of an image by vectors.

    ``dim``: length of a vector. ``stride``: pixels from one vector to the next; vector (i, j) describes the pixels
    ``i·stride … (i+1)·stride``. ``name`` goes into manifests: equal names give equal features.
    """

    name: str
    dim: int
    stride: int

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (ceil(H / stride), ceil(W / stride), dim) float32 for an (H, W, 3) uint8 RGB image."""
        ...
