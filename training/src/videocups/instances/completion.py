"""Completes objects upward: what moves like the part that is surely moving, and hangs together with it, is part of it.

The roof of a car stands above the horizon, where a static world can explain any depth; only its lower part, in front of
the ground, is sure to move. The flow of the sure part, a shift and an expansion, is carried on to the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from videocups.instances.boxes import Box, label_boxes
from videocups_core.config import setting

LabelMap = NDArray[np.int32]
Mask = NDArray[np.bool_]
FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class CompletionConfig:
    """How far and how alike."""

    enabled: bool = setting(True, "complete objects upward and sideways")
    # flow may differ from the object's by this much, plus this share of its length
    tolerance_px: float = setting(0.5, "flow may differ from the object's by this", minimum=0.0)
    tolerance_share: float = setting(0.06, "... plus this share of its length", minimum=0.0)
    # objects are at most this high and wide, in camera heights, where the ground is known ...
    max_height: float = setting(2.2, "objects are at most this high, in camera heights", minimum=0.1)
    # ... and never grow beyond this multiple of the sure part's own size
    max_growth: float = setting(2.5, "objects grow up to this multiple of the sure part's height", minimum=0.0)
    sideways: float = setting(0.15, "objects grow sideways by this share of their width", minimum=0.0)
    # a growth that fills more than this share of the limit's upper edge is background that moves alike
    max_leak: float = setting(
        0.4, "growth filling this share of the upper limit is background", minimum=0.0, maximum=1.0
    )


def complete_regions(
    regions: LabelMap,
    flow_px: FloatMap,
    open_pixels: Mask,
    ground_slope: FloatMap | None,
    focal_px: float,
    config: CompletionConfig | None = None,
) -> LabelMap:
    """Grow each region into ``open_pixels`` (H, W) that share its flow; regions never take from each other.

    ``ground_slope`` (H, W): inverse depth of the ground in camera heights, for the limit of size; None where unknown.
    """
    config = config or CompletionConfig()
    if not config.enabled:
        return regions
    grown = regions.copy()
    # larger ones first: they know their motion best
    for number, _, box in sorted(label_boxes(regions), key=lambda entry: -entry[1]):
        limit = _limit(box, ground_slope, focal_px, regions.shape, config)
        seed = regions[limit] == number
        free = (grown[limit] == 0) & open_pixels[limit]
        grown[limit][_completion(seed, free, flow_px[limit], config)] = number
    return grown


def _limit(
    box: Box,
    ground_slope: FloatMap | None,
    focal_px: float,
    shape: tuple[int, int],
    config: CompletionConfig,
) -> Box:
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    top = box[0].stop - height * (1 + config.max_growth)
    if ground_slope is not None:
        base, middle = min(box[0].stop, shape[0] - 1), (box[1].start + box[1].stop) // 2
        at_base = float(ground_slope[base, middle])
        if at_base > 0:
            top = min(max(top, box[0].stop - config.max_height * focal_px * at_base), box[0].start)
    aside = round(config.sideways * width) + 2
    rows = slice(max(0, int(top)), min(shape[0], box[0].stop + 2))
    return rows, slice(max(0, box[1].start - aside), min(shape[1], box[1].stop + aside))


def _completion(seed: Mask, free: Mask, flow_px: FloatMap, config: CompletionConfig) -> Mask:
    """Return the free pixels that move with the seed and are connected to it."""
    model = _expansion(seed, flow_px)
    gap = np.linalg.norm(flow_px - model, axis=2)
    alike = free & (gap < config.tolerance_px + config.tolerance_share * np.linalg.norm(model, axis=2))
    _, parts = cv2.connectedComponents((alike | seed).astype(np.uint8), connectivity=4)
    touched = np.unique(parts[seed])
    grown = alike & np.isin(parts, touched[touched > 0])
    columns = seed.any(axis=0)
    if grown[0, columns].mean() > config.max_leak:
        return np.zeros_like(seed)
    opened = cv2.morphologyEx((grown | seed).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    result: Mask = grown & opened
    return result


def _expansion(seed: Mask, flow_px: FloatMap) -> FloatMap:
    """Fit a shift and an isotropic expansion to the seed's flow, robustly; return it for every pixel."""
    row, column = np.nonzero(seed)
    center = np.array([column.mean(), row.mean()])
    place = np.stack([column, row], axis=1) - center
    flow = flow_px[seed].astype(np.float64)
    weight = np.ones(len(flow))
    shift, expansion = np.median(flow, axis=0), 0.0
    for _ in range(4):
        mean_place = (weight[:, None] * place).sum(axis=0) / weight.sum()
        mean_flow = (weight[:, None] * flow).sum(axis=0) / weight.sum()
        away = place - mean_place
        spread = (weight[:, None] * np.square(away)).sum()
        expansion = float((weight[:, None] * away * (flow - mean_flow)).sum() / (spread + 50.0))
        shift = mean_flow - expansion * mean_place
        error = np.linalg.norm(flow - shift - expansion * place, axis=1)
        weight = 1 / (1 + np.square(error / max(float(np.median(error)) * 1.5, 0.1))) ** 2
    height, width = seed.shape
    field = np.empty((height, width, 2), np.float32)
    field[..., 0] = shift[0] + expansion * (np.arange(width) - center[0])[None, :]
    field[..., 1] = shift[1] + expansion * (np.arange(height) - center[1])[:, None]
    return field
