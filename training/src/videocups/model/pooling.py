"""RoIAlign from the level of the pyramid that fits a box (Lin et al., 2017, Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from videocups.model.boxes import area
from videocups.model.config import STRIDES

POOLED = ("p2", "p3", "p4", "p5")
CANONICAL_LEVEL = 2  # index in POOLED of the level for boxes of the canonical size


def level_of(boxes: Tensor, canonical_px: int) -> Tensor:
    """Return the index in ``POOLED`` that each box (N, 4) is pooled from."""
    size = area(boxes).sqrt()
    level = torch.floor(CANONICAL_LEVEL + torch.log2(size / canonical_px + 1e-8))
    return level.clamp(0, len(POOLED) - 1).long()


def pool_boxes(
    features: Mapping[str, Tensor], boxes: Sequence[Tensor], size: int, samples: int, canonical_px: int
) -> Tensor:
    """Return (R, C, size, size) of the boxes (n, 4) of every image, image after image."""
    rows = torch.cat(list(boxes))
    images = torch.repeat_interleave(
        torch.arange(len(boxes), device=rows.device), torch.tensor([len(b) for b in boxes], device=rows.device)
    )
    places = torch.cat([images[:, None].to(rows.dtype), rows], dim=1)
    levels = level_of(rows, canonical_px)
    chosen = [torch.nonzero(levels == index).squeeze(1) for index in range(len(POOLED))]
    pooled = [
        align(features[name], places[index], size, 1 / STRIDES[name], samples)
        for name, index in zip(POOLED, chosen, strict=True)
        if len(index) > 0  # else the backward pass would fill a whole level with zeros
    ]
    if not pooled:
        return features[POOLED[0]].new_zeros(0, features[POOLED[0]].shape[1], size, size)
    return torch.cat(pooled)[torch.cat(chosen).argsort()]


def align(field: Tensor, places: Tensor, size: int, scale: float, samples: int) -> Tensor:
    """Return (R, C, size, size) of places (R, 5), which are image, x0, y0, x1, y1, in a field (I, C, h, w)."""
    if field.device.type == "cpu":
        return _align_rows(field, places, size, scale, samples)
    pooled: Tensor = roi_align(field, places, size, scale, samples, aligned=True)
    return pooled


def _align_rows(field: Tensor, places: Tensor, size: int, scale: float, samples: int) -> Tensor:
    """Do what torchvision's roi_align does as weighted sums of rows: a third of its time forwards and backwards."""
    channels, height, width = field.shape[1:]
    rows = field.permute(0, 2, 3, 1).reshape(-1, channels)
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))  # sums in bf16 would lose what is small
    x, weight_x = _taps(places[:, 1::2] * scale - 0.5, width, size, samples)
    y, weight_y = _taps(places[:, 2::2] * scale - 0.5, height, size, samples)
    first = places[:, :1, None].long() * (height * width)
    index = (first + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
    weight = weight_y[:, :, None, :, None] * weight_x[:, None, :, None, :]
    cells = len(places) * size * size
    pooled = functional.embedding_bag(
        index.reshape(cells, -1), rows, mode="sum", per_sample_weights=weight.reshape(cells, -1).to(rows.dtype)
    )
    return pooled.to(field.dtype).reshape(-1, size, size, channels).permute(0, 3, 1, 2)


def _taps(ends: Tensor, extent: int, size: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return the positions and weights (R, size, 2 · samples) that the cells between two ends (R, 2) read of one axis.

    A sample between two positions reads both; beyond −1 and the extent it reads nothing, before that the border.
    """
    steps = (torch.arange(size * samples, dtype=ends.dtype, device=ends.device) + 0.5) / (size * samples)
    sample = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * steps
    inside = ((sample >= -1) & (sample <= extent)).to(sample.dtype) / samples
    sample = sample.clamp(0, extent - 1)
    below = sample.floor()
    share = sample - below
    above = (below + 1).clamp(max=extent - 1)
    positions = torch.stack([below, above], dim=-1).long()
    weights = torch.stack([(1 - share) * inside, share * inside], dim=-1)
    return positions.reshape(len(ends), size, -1), weights.reshape(len(ends), size, -1)
