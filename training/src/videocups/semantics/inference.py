"""Depth-guided semantic inference, VideoCUPS Eq. 2: coarse predictions nearby, fine ones far away.

The whole image at low resolution sees context; windows over the image at full resolution see detail. Both give
log-probabilities, fused per pixel with α = 1 / (d + 1): P* = α · P_low + (1 − α) · P_high.

Reads an image, its depth and a model of codes and clusters; writes log-probabilities, kept by nobody, and after the
CRF a class per pixel, ``semantics/NNNNNN.png`` (8 bit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.semantics.crf_config import CrfConfig
from videocups.semantics.features import FeatureExtractor, FeatureMap, extract_all, stacked
from videocups.semantics.kmeans import Clusters
from videocups_core.config import setting

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class InferenceConfig:
    """Settings of the prediction for one frame."""

    # fuse the coarse and the fine prediction by depth; off: the low resolution alone ("vanilla semantics")
    guided: bool = setting(True, "fuse coarse and fine predictions by depth; off: the coarse one alone")
    # the coarse prediction sees the image at this scale
    low_scale: float = setting(0.5, "scale of the image for the coarse prediction", minimum=0.1, maximum=1.0)
    # square windows of this share of the height
    window: float = setting(0.5, "side of a window as a share of the height", minimum=0.1, maximum=1.0)
    stride: float = setting(0.25, "step between windows as a share of the height", minimum=0.05, maximum=1.0)
    # average the codes of the image and of its mirror image
    flip: bool = setting(True, "average codes with those of the mirror image")
    # depth of a typical pixel after rescaling, in the metres that the fusion weight was made for
    median_depth_m: float = setting(15.0, "median of the rescaled depth in m", minimum=0.1)
    # sharpen the result by the dense CRF
    crf: bool = setting(True, "refine by the dense CRF")
    crf_settings: CrfConfig = field(default_factory=CrfConfig)


@dataclass(frozen=True)
class SemanticModel:
    """Codes for an image and clusters for codes. ``windowed``: whether the image may be cut into windows.

    ``codes_of_all``: what describes several images of one size in one call, where there is such a thing.
    """

    codes: Callable[[Image], FeatureMap]
    clusters: Clusters
    windowed: bool
    codes_of_all: Callable[[Sequence[Image]], Sequence[FeatureMap]] | None = None

    @classmethod
    def of(cls, extractor: FeatureExtractor, clusters: Clusters) -> SemanticModel:
        """Return the model of an extractor, with batches where it has them."""
        return cls(extractor.extract, clusters, extractor.windowed, partial(extract_all, extractor))

    def describe(self, images: Sequence[Image], flip: bool) -> Sequence[FeatureMap]:
        """Return codes, averaged with those of the mirror images; of features that are read as a whole only codes."""
        if not (flip and self.windowed):
            return self._codes(images)
        found = self._codes([*images, *(np.ascontiguousarray(rgb[:, ::-1]) for rgb in images)])
        pairs = zip(found[: len(images)], found[len(images) :], strict=True)
        return [np.asarray((codes + mirrored[:, ::-1]) / 2, dtype=np.float32) for codes, mirrored in pairs]

    def _codes(self, images: Sequence[Image]) -> Sequence[FeatureMap]:
        return [self.codes(rgb) for rgb in images] if self.codes_of_all is None else self.codes_of_all(images)


def predict(
    rgb: Image, model: SemanticModel, depth_m: FeatureMap | None = None, config: InferenceConfig | None = None
) -> NDArray[np.uint8]:
    """Return the (H, W) uint8 pseudo-class of every pixel of an (H, W, 3) image.

    ``depth_m``: (H, W), already rescaled by ``depth_scale``; not finite means infinitely far. Needed where ``guided``.
    """
    return predict_all([rgb], model, [depth_m], config)[0]


def predict_all(
    images: Sequence[Image],
    model: SemanticModel,
    depths_m: Sequence[FeatureMap | None],
    config: InferenceConfig | None = None,
    device: str = "cpu",
) -> list[NDArray[np.uint8]]:
    """Return the same for several images of one size, together in one call of the network; the CRF is on ``device``."""
    config = config or InferenceConfig()
    fused = fused_log_probs(images, model, depths_m, config)
    log_probs = fused[0][None] if len(fused) == 1 else np.stack(fused)
    if config.crf:
        from videocups.semantics.crf import refine  # loads torch, which nothing else here needs

        log_probs = refine(log_probs, stacked(images), config.crf_settings, device)
    return list(log_probs.argmax(axis=3).astype(np.uint8))


def fused_log_probs(
    images: Sequence[Image], model: SemanticModel, depths_m: Sequence[FeatureMap | None], config: InferenceConfig
) -> list[FeatureMap]:
    """Return (H, W, K) float32 log-probabilities before the CRF for each image."""
    lows = coarse_log_probs(images, model, config)
    if not config.guided:
        return lows
    highs = windowed_log_probs(images, model, config) if model.windowed else whole_log_probs(images, model, config)
    found = []
    for rgb, low, high, depth_m in zip(images, lows, highs, depths_m, strict=True):
        if depth_m is None or depth_m.shape != rgb.shape[:2]:
            got = "none" if depth_m is None else f"{depth_m.shape}"
            raise ValueError(
                f"guided inference needs depth of the image's size {rgb.shape[:2]}, got {got}; or guided: false"
            )
        weight = fusion_weight(depth_m)[..., None]
        found.append(np.asarray(weight * low + (1 - weight) * high, dtype=np.float32))
    return found


def fusion_weight(depth_m: NDArray[np.float32]) -> FeatureMap:
    """Return α = 1 / (d + 1) of Eq. 2: 1 at the camera, 0 infinitely far and where depth is unknown."""
    known = np.isfinite(depth_m) & (depth_m >= 0)
    return np.where(known, 1 / (np.where(known, depth_m, 0) + 1), 0).astype(np.float32)


def depth_scale(
    depths: list[NDArray[np.float32]], config: InferenceConfig, camera_height: float | None = None
) -> float:
    """Return the factor that brings a clip's depth to the metres that the fusion weight expects.

    Depth from one camera has no scale of its own. ``camera_height``: the camera's height over the ground in the depth's
    own unit, where the clip's ground plane is known: 1.5 m is then taken as the true one. Else the median of ``depths``
    becomes ``median_depth_m``. Record the factor with the clip.
    """
    if camera_height is not None:
        if not camera_height > 0:
            raise ValueError(f"camera_height must be > 0, got {camera_height}; leave it out to use the median depth")
        return CAMERA_HEIGHT_M / camera_height
    known = [depth[np.isfinite(depth) & (depth > 0)] for depth in depths]
    values = np.concatenate([np.empty(0, np.float32), *known])
    if values.size == 0:
        raise ValueError("no frame has a finite depth to take the scale from; set guided: false for this clip")
    return float(config.median_depth_m / np.median(values))


CAMERA_HEIGHT_M = 1.5
"""height of a car's camera over the road, where nothing better is known."""


def coarse_log_probs(images: Sequence[Image], model: SemanticModel, config: InferenceConfig) -> list[FeatureMap]:
    """Predict on whole images at low resolution, enlarged to (H, W, K)."""
    height, width = images[0].shape[:2]
    size = (max(round(width * config.low_scale), 1), max(round(height * config.low_scale), 1))
    small = [np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8) for rgb in images]
    codes = model.describe(small, config.flip)
    return [resize_map(model.clusters.log_probs(one), height, width) for one in codes]


def whole_log_probs(images: Sequence[Image], model: SemanticModel, config: InferenceConfig) -> list[FeatureMap]:
    """Predict on whole images at full resolution: for features that must know where in the image they are."""
    codes = model.describe(images, config.flip)
    return [resize_map(model.clusters.log_probs(one), *images[0].shape[:2]) for one in codes]


def windowed_log_probs(images: Sequence[Image], model: SemanticModel, config: InferenceConfig) -> list[FeatureMap]:
    """Predict on overlapping square windows at full resolution and average where they overlap: (H, W, K) each."""
    height, width = images[0].shape[:2]
    side = min(max(round(height * config.window), 1), height, width)
    step = round(height * config.stride)
    places = [(top, left) for top in window_starts(height, side, step) for left in window_starts(width, side, step)]
    total = [np.zeros((height, width, len(model.clusters.centers)), np.float32) for _ in images]
    count = np.zeros((height, width, 1), np.float32)
    at_once = max(height * width // side**2, 1)  # no call sees more pixels than those of the images
    for first in range(0, len(places), at_once):
        windows = [np.s_[top : top + side, left : left + side] for top, left in places[first : first + at_once]]
        cut = [np.ascontiguousarray(rgb[window]) for window in windows for rgb in images]
        codes = iter(model.describe(cut, config.flip))
        for window in windows:
            count[window] += 1
            for sums in total:
                sums[window] += resize_map(model.clusters.log_probs(next(codes)), side, side)
    return [np.asarray(sums / count, dtype=np.float32) for sums in total]


def window_starts(length: int, side: int, step: int) -> Iterator[int]:
    """Yield where windows of ``side`` begin so that they cover ``length``; the last one ends with the image."""
    step = min(max(step, 1), side)  # wider steps would leave gaps
    yield from range(0, length - side, step)
    yield length - side


def resize_map(field: FeatureMap, height: int, width: int) -> FeatureMap:
    """Resize (h, w, K) to (H, W, K), bilinear."""
    if field.shape[:2] == (height, width):
        return field
    step = 128  # OpenCV 5 takes no more channels at a time
    parts = [
        cv2.resize(np.ascontiguousarray(field[..., k : k + step]), (width, height), interpolation=cv2.INTER_LINEAR)
        for k in range(0, field.shape[2], step)
    ]
    return np.concatenate([part.reshape(height, width, -1) for part in parts], axis=2).astype(np.float32)
