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
    first = features[POOLED[0]]
    pooled = first.new_zeros(len(rows), first.shape[1], size, size)
    for index, name in enumerate(POOLED):
        chosen = torch.nonzero(levels == index).squeeze(1)
        if len(chosen) == 0:  # the backward pass would fill a whole level with zeros
            continue
        found = roi_align(features[name], places[chosen], size, 1 / STRIDES[name], samples, aligned=True)
        pooled = pooled.index_copy(0, chosen, found.to(pooled.dtype))
    return pooled
