"""Depth-guided semantic inference, VideoCUPS Eq. 2: coarse predictions nearby, fine ones far away.

The whole image at low resolution sees context; windows over the image at full resolution see detail. Both give
log-probabilities, fused per pixel with α = 1 / (d + 1): P* = α · P_low + (1 − α) · P_high.

Reads an image, its depth and a model of codes and clusters; writes log-probabilities, kept by nobody, and after the
CRF a class per pixel, ``semantics/NNNNNN.png`` (8 bit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.semantics.crf_config import CrfConfig
from videocups.semantics.features import FeatureMap
from videocups.semantics.kmeans import Clusters
from videocups_core.config import setting


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
    """Codes for an image and clusters for codes. ``windowed``: whether the image may be cut into windows."""

    codes: Callable[[NDArray[np.uint8]], FeatureMap]
    clusters: Clusters
    windowed: bool


def predict(
    rgb: NDArray[np.uint8],
    model: SemanticModel,
    depth_m: NDArray[np.float32] | None = None,
    config: InferenceConfig | None = None,
) -> NDArray[np.uint8]:
    """Return the (H, W) uint8 pseudo-class of every pixel of an (H, W, 3) image.

    ``depth_m``: (H, W), already rescaled by ``depth_scale``; not finite means infinitely far. Needed where ``guided``.
    """
    config = config or InferenceConfig()
    log_probs = fused_log_probs(rgb, model, depth_m, config)
    if config.crf:
        from videocups.semantics.crf import refine  # loads torch, which nothing else here needs

        log_probs = refine(log_probs, rgb, config.crf_settings)
    return np.asarray(log_probs.argmax(axis=2), dtype=np.uint8)


def fused_log_probs(
    rgb: NDArray[np.uint8], model: SemanticModel, depth_m: NDArray[np.float32] | None, config: InferenceConfig
) -> FeatureMap:
    """Return (H, W, K) float32 log-probabilities before the CRF."""
    low = coarse_log_probs(rgb, model, config)
    if not config.guided:
        return low
    if depth_m is None or depth_m.shape != rgb.shape[:2]:
        got = "none" if depth_m is None else f"{depth_m.shape}"
        raise ValueError(
            f"guided inference needs depth of the image's size {rgb.shape[:2]}, got {got}; or guided: false"
        )
    high = windowed_log_probs(rgb, model, config) if model.windowed else whole_log_probs(rgb, model, config)
    weight = fusion_weight(depth_m)[..., None]
    fused = weight * low + (1 - weight) * high
    return np.asarray(fused, dtype=np.float32)


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


def coarse_log_probs(rgb: NDArray[np.uint8], model: SemanticModel, config: InferenceConfig) -> FeatureMap:
    """Predict on the whole image at low resolution, enlarged to (H, W, K)."""
    size = (max(round(rgb.shape[1] * config.low_scale), 1), max(round(rgb.shape[0] * config.low_scale), 1))
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    codes = _codes(small, model, config.flip)
    return resize_map(model.clusters.log_probs(codes), rgb.shape[0], rgb.shape[1])


def whole_log_probs(rgb: NDArray[np.uint8], model: SemanticModel, config: InferenceConfig) -> FeatureMap:
    """Predict on the whole image at full resolution: for features that must know where in the image they are."""
    return resize_map(model.clusters.log_probs(_codes(rgb, model, config.flip)), rgb.shape[0], rgb.shape[1])


def windowed_log_probs(rgb: NDArray[np.uint8], model: SemanticModel, config: InferenceConfig) -> FeatureMap:
    """Predict on overlapping square windows at full resolution and average where they overlap: (H, W, K)."""
    height, width = rgb.shape[:2]
    side = min(max(round(height * config.window), 1), height, width)
    total = np.zeros((height, width, len(model.clusters.centers)), np.float32)
    count = np.zeros((height, width, 1), np.float32)
    for top in window_starts(height, side, round(height * config.stride)):
        for left in window_starts(width, side, round(height * config.stride)):
            place = np.s_[top : top + side, left : left + side]
            codes = _codes(np.ascontiguousarray(rgb[place]), model, config.flip)
            total[place] += resize_map(model.clusters.log_probs(codes), side, side)
            count[place] += 1
    return np.asarray(total / count, dtype=np.float32)


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


def _codes(rgb: NDArray[np.uint8], model: SemanticModel, flip: bool) -> FeatureMap:
    """Codes, averaged with those of the mirror image; features that are read as a whole hardly change by it."""
    codes = model.codes(rgb)
    if not (flip and model.windowed):
        return codes
    mirrored = model.codes(np.ascontiguousarray(rgb[:, ::-1]))
    return np.asarray((codes + mirrored[:, ::-1]) / 2, dtype=np.float32)
