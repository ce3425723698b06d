"""RoIAlign from the level of the pyramid that fits a box (Lin et al., 2017, Eq. 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
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
        roi_align(features[name], places[index], size, 1 / STRIDES[name], samples, aligned=True)
        for name, index in zip(POOLED, chosen, strict=True)
        if len(index) > 0  # else the backward pass would fill a whole level with zeros
    ]
    if not pooled:
        return features[POOLED[0]].new_zeros(0, features[POOLED[0]].shape[1], size, size)
    return torch.cat(pooled)[torch.cat(chosen).argsort()]
