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
    extent = torch.tensor([[width], [height]], dtype=places.dtype, device=places.device)
    place, weight = axis_taps(places[:, 1:].reshape(-1, 2, 2) * scale, extent, size, samples)
    x, y = place.long().reshape(len(places), 2, size, 2 * samples).unbind(1)
    weight_x, weight_y = weight.reshape(len(places), 2, size, 2 * samples).unbind(1)
    first = places[:, :1, None].long() * (height * width)
    index = (first + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
    share = weight_y[:, :, None, :, None] * weight_x[:, None, :, None, :]
    cells = len(places) * size * size
    pooled = functional.embedding_bag(
        index.reshape(cells, -1), rows, mode="sum", per_sample_weights=share.reshape(cells, -1).to(rows.dtype)
    )
    return pooled.to(field.dtype).reshape(-1, size, size, channels).permute(0, 3, 1, 2)


def axis_taps(corners: Tensor, extent: Tensor, size: int, samples: int) -> tuple[Tensor, Tensor]:
    """Return positions and weights (K, 2, size · 2 samples), for x and y, of what the cells read.

    ``corners`` (K, 2, 2): low and high x, y in cells of the level. A sample between two positions reads both; outside
    of −1 … extent it reads nothing, between that and the border it reads the border.
    """
    low, high = torch.split(corners.transpose(1, 2), 1, dim=2)  # (K, 2, 1) each
    steps = (torch.arange(size * samples, dtype=corners.dtype, device=corners.device) + 0.5) / (samples * size)
    place = low - 0.5 + (high - low) * steps
    inside = ((place >= -1) & (place <= extent)).to(corners.dtype) / samples
    place = torch.minimum(torch.relu(place), extent - 1)
    below = place.floor()
    share = place - below
    positions = torch.stack([below, torch.minimum(below + 1, extent - 1)], dim=-1)
    weights = torch.stack([(1 - share) * inside, share * inside], dim=-1)
    return positions.flatten(2), weights.flatten(2)
