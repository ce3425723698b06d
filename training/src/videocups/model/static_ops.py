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
_SHARED_CELLS = 7  # cells of a RoI, side by side, that one product sums up at most
_GATHERED_VALUES = 1 << 24  # of features a RoIAlign gathers at a time: 64 MB of float32


def keep_best(boxes: Tensor, threshold: float, block: int = BLOCK, rounds: int = ROUNDS) -> Tensor:
    """Return which boxes greedy suppression keeps: (G, n) of 0 and 1 for boxes (G, n, 4), best first in each group.

    Blocks are solved one after the other; each drops what it overlaps in all later ones. Inside a block
    keep ← free and not (keep @ overlaps) runs from everything to its fixpoint, which is the greedy answer: round r
    settles what is suppressed through chains of at most r boxes.
    """
    count = boxes.shape[1]
    left, top, right, bottom = boxes.unbind(dim=2)  # (G, n) each
    # inter / union > t is inter > t / (1 + t) · (area + area')
    areas = (right - left) * (bottom - top) * (threshold / (1 + threshold))
    rivals = torch.zeros_like(areas)  # how many better boxes overlap each one
    kept: list[Tensor] = []
    for begin in range(0, count, block):
        end = min(begin + block, count)
        rows, columns = slice(begin, end), slice(begin, None)
        # where only the height is below 0 the product is too, which is no overlap either
        common = torch.relu(_common(left, right, rows, columns)) * _common(top, bottom, rows, columns)
        overlaps = common > areas[:, rows, None] + areas[:, None, columns]
        free = torch.relu(1 - rivals[:, None, : end - begin])
        place = torch.arange(end - begin, device=boxes.device)
        inner = (overlaps[:, :, : end - begin] & (place[:, None] < place)).to(boxes.dtype)
        keep = free
        for _ in range(rounds):
            keep = torch.relu(free - torch.matmul(keep, inner))
        kept.append(keep[:, 0])
        if end < count:
            later = overlaps[:, :, end - begin :].to(boxes.dtype)
            rivals = rivals[:, end - begin :] + torch.matmul(keep, later)[:, 0]
    return torch.cat(kept, dim=1)


def _common(low: Tensor, high: Tensor, rows: slice, columns: slice) -> Tensor:
    """Return how far each of ``rows`` reaches over each of ``columns`` along one axis; below 0 where they are apart."""
    return torch.minimum(high[:, rows, None], high[:, None, columns]) - torch.maximum(
        low[:, rows, None], low[:, None, columns]
    )


class FeatureTable:
    """The pooled levels of one image as rows: every position of every level is a row of channels.

    RoIAlign reads neighbourhoods of all channels at a few positions, which rows hold side by side; one gather serves
    boxes of all levels.
    """

    def __init__(self, features: Mapping[str, Tensor]) -> None:
        levels = [features[name] for name in POOLED]
        if any(len(level) != 1 for level in levels):
            raise ValueError(f"the static network takes one image at a time, got {len(levels[0])}")
        # each level becomes rows by itself: runtimes with channels last do that without moving anything
        self.rows = torch.cat([level.permute(0, 2, 3, 1).flatten(0, 2) for level in levels])
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
        x, y = (place * stride).unbind(1)  # (K, size · taps) each
        weight_x, weight_y = weight.unbind(1)
        y = y + first[:, 0]
        taps, channels = 2 * samples, self.rows.shape[1]
        step = max(1, _GATHERED_VALUES // (size * size * taps * taps * channels))
        parts = []
        for begin in range(0, len(boxes), step):
            chunk = slice(begin, begin + step)
            rows = (y[chunk, :, None] + x[chunk, None, :]).long()
            # index_select becomes Gather, which copies whole rows; indexing becomes GatherND, at twice the time
            found = self.rows.index_select(0, rows.flatten()).reshape(-1, taps, size * taps * channels)
            down = torch.matmul(weight_y[chunk].reshape(-1, 1, taps).to(found.dtype), found)
            parts.append(_across(down.reshape(-1, size, size * taps, channels), weight_x[chunk], size))
        return torch.cat(parts).permute(0, 3, 1, 2)


def _across(field: Tensor, weight: Tensor, size: int) -> Tensor:
    """Return (K, size, size, C): the weighted sums of (K, size, size · taps, C) over the taps of each cell of x.

    A product for every cell would be many tiny ones; a few neighbours share one, with zeros for the others' taps.
    """
    count, taps, channels = len(field), field.shape[2] // size, field.shape[3]
    cells = max(share for share in range(1, _SHARED_CELLS + 1) if size % share == 0)
    own = torch.eye(cells, dtype=field.dtype, device=field.device).repeat_interleave(taps, dim=1)
    shares = weight.reshape(count, 1, size // cells, 1, cells * taps).to(field.dtype) * own
    summed = torch.matmul(shares, field.reshape(count, size, size // cells, cells * taps, channels))
    return summed.reshape(count, size, size, channels)
