"""Suppression and RoIAlign of fixed shapes, made of operators that every ONNX runtime has (docs/export.md).

Nothing here depends on the data: no loop, no list of survivors, no operator of its own. What torchvision's kernels do
with lists is done with masks over everything.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from videocups.model.config import STRIDES
from videocups.model.pooling import POOLED, axis_taps, level_of

BLOCK = 512  # boxes whose mutual suppression is solved at once
ROUNDS = 12  # of the fixpoint in a block; boxes of a network need 3 to 9
_GATHERED_VALUES = 1 << 24  # of features a RoIAlign gathers at a time: 64 MB of float32


def keep_best(boxes: Tensor, threshold: float, block: int = BLOCK, rounds: int = ROUNDS) -> Tensor:
    """Return which boxes greedy suppression keeps: (G, n) of 0 and 1 for boxes (G, n, 4), best first in each group.

    Blocks are solved one after the other; each drops what it overlaps in all later ones. Inside a block
    keep ← free and not (keep @ overlaps) runs from everything to its fixpoint, which is the greedy answer: round r
    settles what is suppressed through chains of at most r boxes.
    """
    count = boxes.shape[1]
    low, high = torch.split(boxes.transpose(1, 2), 2, dim=1)  # (G, 2, n)
    # inter / union > t is inter > t / (1 + t) · (area + area')
    areas = (high - low).prod(dim=1) * (threshold / (1 + threshold))
    rivals = torch.zeros_like(areas)  # how many better boxes overlap each one
    kept: list[Tensor] = []
    for begin in range(0, count, block):
        end = min(begin + block, count)
        top = torch.maximum(low[:, :, begin:end, None], low[:, :, None, begin:])
        bottom = torch.minimum(high[:, :, begin:end, None], high[:, :, None, begin:])
        width, height = torch.relu(bottom - top).unbind(dim=1)
        overlaps = (width * height > areas[:, begin:end, None] + areas[:, None, begin:]).to(boxes.dtype)
        free = torch.relu(1 - rivals[:, None, : end - begin])
        inner = torch.triu(overlaps[:, :, : end - begin], diagonal=1)
        keep = free
        for _ in range(rounds):
            keep = torch.relu(free - torch.matmul(keep, inner))
        kept.append(keep[:, 0])
        if end < count:
            rivals = (rivals + torch.matmul(keep, overlaps)[:, 0])[:, end - begin :]
    return torch.cat(kept, dim=1)


class FeatureTable:
    """The pooled levels of one image as rows: every position of every level is a row of channels.

    RoIAlign reads neighbourhoods of all channels at a few positions, which rows hold side by side; one gather serves
    boxes of all levels.
    """

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        levels = [features[name] for name in POOLED]
        if any(len(level) != 1 for level in levels):
            raise ValueError(f"the static network takes one image at a time, got {len(levels[0])}")
        self.rows = torch.cat([level[0].flatten(1).transpose(0, 1) for level in levels])
        facts, first = [], 0
        for name, level in zip(POOLED, levels, strict=True):
            height, width = level.shape[2:]
            facts.append((width, height, 1, width, 1 / STRIDES[name], first))
            first += height * width
        # of each level: extents of x and y, rows of a step in x and in y, scale, first row
        self.levels = torch.tensor(facts, dtype=torch.float32, device=self.rows.device)

    def pool(self, boxes: Tensor, size: int, samples: int, canonical_px: int) -> Tensor:
        """Return (K, C, size, size) of boxes (K, 4): what torchvision's roi_align gives with ``aligned=True``."""
        facts = self.levels.index_select(0, level_of(boxes, canonical_px))[:, :, None]
        extent, stride, scale, first = torch.split(facts, [2, 2, 1, 1], dim=1)
        place, weight = axis_taps(boxes.reshape(-1, 2, 2) * scale, extent, size, samples)
        x, y = torch.split(place * stride, 1, dim=1)  # (K, 1, size · taps)
        weight_x, weight_y = torch.split(weight, 1, dim=1)
        y = y + first
        taps, channels = 2 * samples, self.rows.shape[1]
        step = max(1, _GATHERED_VALUES // (size * size * taps * taps * channels))
        parts = []
        for begin in range(0, len(boxes), step):
            chunk = slice(begin, begin + step)
            rows = (_cells(y[chunk], size, across=False) + _cells(x[chunk], size, across=True)).long()
            weights = _cells(weight_y[chunk], size, across=False) * _cells(weight_x[chunk], size, across=True)
            # index_select becomes Gather, which copies whole rows; indexing becomes GatherND, at twice the time
            found = self.rows.index_select(0, rows.flatten()).reshape(-1, taps * taps, channels)
            parts.append(torch.matmul(weights.reshape(-1, 1, taps * taps).to(found.dtype), found))
        return torch.cat(parts).reshape(len(boxes), size, size, channels).permute(0, 3, 1, 2)


def _cells(values: Tensor, size: int, across: bool) -> Tensor:
    """Return the taps of one axis (K, 1, size · taps) so that they broadcast over those of the other, cell by cell."""
    taps = values.shape[2] // size
    return values.reshape((-1, 1, size, 1, taps) if across else (-1, size, 1, taps, 1))
