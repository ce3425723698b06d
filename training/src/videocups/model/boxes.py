"""Boxes x0 y0 x1 y1 in pixels (x1 and y1 exclusive): overlap, regression and what lies inside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# a box grows at most this much in one step, in log
MAX_LOG_GROWTH = math.log(1000 / 16)


def area(boxes: Tensor) -> Tensor:
    """Return (...) of boxes (..., 4); 0 where one is inside out."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Return the common area of every pair: (N, M) of (N, 4) and (M, 4)."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = (high - low).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the overlap of every pair over their union: (N, M); 0 for boxes without area."""
    common = intersection(first, second)
    union = area(first)[:, None] + area(second)[None, :] - common
    return torch.where(union > 0, common / union.clamp(min=1e-9), torch.zeros_like(common))


def encode(targets: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the deltas (N, 4) that lead from ``boxes`` to ``targets``."""
    size, center = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    wanted, goal = targets[:, 2:] - targets[:, :2], (targets[:, 2:] + targets[:, :2]) / 2
    unit = boxes.new_tensor(weights)
    return torch.cat([(goal - center) / size, torch.log(wanted / size)], dim=1) * unit


def decode(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return ``boxes`` (..., 4) moved and stretched by ``deltas``."""
    size = boxes[..., 2:] - boxes[..., :2]
    unit = deltas.new_tensor(weights)
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 + deltas[..., :2] / unit[:2] * size
    half = torch.exp((deltas[..., 2:] / unit[2:]).clamp(max=MAX_LOG_GROWTH)) * size / 2
    return torch.cat([center - half, center + half], dim=-1)


def clip(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return boxes (..., 4) cut at the image's border."""
    border = boxes.new_tensor([width, height, width, height])
    return torch.minimum(torch.relu(boxes), border)


def integral(masks: Tensor) -> Tensor:
    """Return the sums (H + 1, W + 1, M) int32 of ``masks`` (H, W, M) bool over everything above and left."""
    height, width, count = masks.shape
    sums = torch.zeros(height + 1, width + 1, count, device=masks.device, dtype=torch.int32)
    sums[1:, 1:] = masks.int().cumsum(0, dtype=torch.int32).cumsum(1, dtype=torch.int32)
    return sums


def share_inside(sums: Tensor, boxes: Tensor) -> Tensor:
    """Return what share of each box (N, 4) is set in the masks whose ``integral`` is given: (N, M) in 0…1.

    Boxes are rounded outwards to whole pixels; what lies outside of the image does not count. A box without a pixel
    inside has 0.
    """
    height, width, flat = sums.shape[0] - 1, sums.shape[1] - 1, sums.flatten(0, 1)
    low, high = boxes[:, :2].floor().long(), boxes[:, 2:].ceil().long()
    x0, y0 = low[:, 0].clamp(0, width), low[:, 1].clamp(0, height) * (width + 1)
    x1, y1 = high[:, 0].clamp(0, width), high[:, 1].clamp(0, height) * (width + 1)
    found = flat[y1 + x1] - flat[y0 + x1] - flat[y1 + x0] + flat[y0 + x0]
    pixels = (x1 - x0).clamp(min=0) * ((y1 - y0).clamp(min=0) // (width + 1))
    return torch.where(pixels > 0, 1 / pixels.clamp(min=1), 0.0)[:, None] * found
