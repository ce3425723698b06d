"""What turns a frame into features: one interface, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FeatureMap = NDArray[np.float32]


class FeatureExtractor(Protocol):
    """Anything that describes the places of an image by vectors.

    ``name`` goes into manifests: equal names and configs give equal features. ``dim``: length of a vector.
    ``stride``: px from one vector to the next; vector (i, j) describes pixels i·stride … (i + 1)·stride.
    ``weights``: (dim,) float32, how much each entry counts in a Euclidean distance after it was standardised; None
    where vectors are compared by their angle.
    ``windowed``: whether the image may be cut into windows, each described on its own.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def stride(self) -> int: ...  # noqa: D102
    @property
    def weights(self) -> NDArray[np.float32] | None: ...  # noqa: D102
    @property
    def windowed(self) -> bool: ...  # noqa: D102

    def extract(self, rgb: NDArray[np.uint8]) -> FeatureMap:
        """Return (ceil(H / stride), ceil(W / stride), dim) float32 for an (H, W, 3) uint8 RGB image."""
        ...


def extract_all(extractor: FeatureExtractor, images: Sequence[NDArray[np.uint8]]) -> list[FeatureMap]:
    """Describe images of one size, all in one call of the network where the extractor has ``extract_batch`` for that.

    What comes out is what ``extract`` returns for each, up to rounding.
    """
    together = getattr(extractor, "extract_batch", None)
    if together is None or len(images) == 1:
        return [extractor.extract(rgb) for rgb in images]
    found: list[FeatureMap] = together(images)
    return found


def stacked(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return (B, H, W, 3) uint8; images of several sizes, or what is no RGB image, are refused."""
    if len({rgb.shape for rgb in images}) != 1:
        raise ValueError(f"images of a batch must be of one size, got {sorted({rgb.shape for rgb in images})}")
    if images[0].ndim != 3 or images[0].shape[2] != 3 or images[0].dtype != np.uint8:
        raise ValueError(f"features need (H, W, 3) uint8 RGB images, got {images[0].shape} {images[0].dtype}")
    return np.stack(images)
