"""For every pixel, choose among the flow it has and that of the pixels around it.

Dense inverse search errs where things end: its patches and its smoothness carry flow across borders and into what the
other image does not show. The right flow is nearly always to be had a few px away. So candidates are the flow at hand,
that of rings of neighbours, and no flow at all; each is judged by how well the images match under it and how alike the
two pixels look, and a small U-Net at half resolution weighs these against what lies around. A little is added to the
choice, for what no candidate has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from videocups.cues.learned.sampling import inside, pixel_grid, sample, warp
from videocups.cues.refined.config import RefinementConfig

HALF_COST = 0.05
"""difference of colours, of [0, 1], at which a match is half bad."""
TRUST = 3.0
"""log odds of the flow at hand before anything is learned."""


@dataclass(frozen=True)
class Refined:
    """``flow_px`` (B, 2, H, W); ``candidates_px`` (B, K, 2, H, W) and the log of each one's share (B, K, H, W)."""

    flow_px: Tensor
    candidates_px: Tensor
    log_shares: Tensor


class RefinementNetwork(nn.Module):
    """Better flow from flow."""

    def __init__(self, config: RefinementConfig) -> None:
        super().__init__()
        self.offsets = ring_offsets(config.rings_px)
        self.count = 2 + len(self.offsets)  # the flow at hand, its neighbours', none
        wide = config.channels
        self.enter = nn.Sequential(nn.Conv2d(10 + 3 * self.count, wide, 1), *_convolutions(wide, wide))
        self.down = nn.Sequential(nn.AvgPool2d(2), *_convolutions(wide, 2 * wide))
        self.deep = nn.Sequential(
            nn.AvgPool2d(2), *_convolutions(2 * wide, 2 * wide), *_convolutions(2 * wide, 2 * wide)
        )
        self.rise = nn.Sequential(*_convolutions(4 * wide, 2 * wide))
        self.leave = nn.Sequential(*_convolutions(3 * wide, wide))
        self.judge = nn.Conv2d(wide, self.count + 4, 3, padding=1, padding_mode="replicate")
        nn.init.zeros_(self.judge.weight)
        self.judge.bias = nn.Parameter(torch.zeros(self.count + 4))

    def forward(self, first: Tensor, second: Tensor, flow_px: Tensor, return_flow_px: Tensor) -> Refined:
        """Refine flow (B, 2, H, W) from ``first`` to ``second`` (B, 3, H, W) in [0, 1]; H and W multiples of 8."""
        with torch.no_grad():
            candidates = candidate_flows(flow_px, self.offsets)
            costs = match_costs(first, second, candidates)
            unlike = differences(first, self.offsets)
            seen = self._inputs(first, second, flow_px, return_flow_px, candidates, costs, unlike)
        near = self.enter(seen)
        middle = self.down(near)
        middle = self.rise(torch.cat([middle, _doubled(self.deep(middle))], 1))
        judged = _doubled(self.judge(self.leave(torch.cat([near, _doubled(middle)], 1))))
        logits, weights, rest = judged[:, :-4], functional.softplus(judged[:, -4:-2]), judged[:, -2:]
        logits = logits - weights[:, :1] * costs - weights[:, 1:] * unlike
        logits = torch.cat([logits[:, :1] + TRUST, logits[:, 1:]], 1)
        log_shares = logits.log_softmax(1)
        flow = (log_shares.exp()[:, :, None] * candidates).sum(1) + rest
        return Refined(flow, candidates, log_shares)

    def _inputs(
        self,
        first: Tensor,
        second: Tensor,
        flow: Tensor,
        return_flow: Tensor,
        candidates: Tensor,
        costs: Tensor,
        unlike: Tensor,
    ) -> Tensor:
        height, width = flow.shape[-2:]
        gap = length(flow + warp(return_flow, flow), 1)[:, None]
        stays = inside(flow + pixel_grid(height, width, flow), height, width).to(flow.dtype)
        mean = functional.avg_pool2d(functional.avg_pool2d(flow, 8), 5, 1, 2, count_include_pad=False)
        mean = functional.interpolate(mean, size=(height, width), mode="bilinear", align_corners=False)
        apart = length(candidates - flow[:, None], 2)
        every = [first - 0.5, warp(second, flow) - 0.5, gap.log1p(), stays, (flow - mean) / 4]
        every += [costs, unlike, apart.log1p()]
        return functional.avg_pool2d(torch.cat(every, 1), 2)


def ring_offsets(rings_px: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return (row, column) from a pixel to the eight neighbours on each ring."""
    around = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]
    return tuple((row * ring, column * ring) for ring in rings_px for row, column in around)


def neighbours(field: Tensor, offsets: tuple[tuple[int, int], ...]) -> list[Tensor]:
    """Return ``field`` (B, C, H, W) as seen from ``offsets`` (row, column) away, one view each; edges repeat."""
    height, width = field.shape[-2:]
    reach = max(abs(step) for offset in offsets for step in offset)
    around = functional.pad(field, (reach, reach, reach, reach), mode="replicate")
    return [
        around[..., reach + row : reach + row + height, reach + column : reach + column + width]
        for row, column in offsets
    ]


def candidate_flows(flow_px: Tensor, offsets: tuple[tuple[int, int], ...]) -> Tensor:
    """Return (B, K, 2, H, W): the flow at hand, that of the neighbours, none."""
    return torch.stack([flow_px, *neighbours(flow_px, offsets), torch.zeros_like(flow_px)], 1)


def match_costs(first: Tensor, second: Tensor, candidates_px: Tensor) -> Tensor:
    """Return (B, K, H, W) in [0, 1): how badly colours match under each candidate; a half beyond the image."""
    height, width = first.shape[-2:]
    grid = pixel_grid(height, width, first)
    every = []
    for flow in candidates_px.unbind(1):
        places = grid + flow
        cost = functional.avg_pool2d(unlikeness(first, sample(second, places)), 3, 1, 1, count_include_pad=False)
        every.append(torch.where(inside(places, height, width), cost / (cost + HALF_COST), 0.5))
    return torch.cat(every, 1)


def differences(image: Tensor, offsets: tuple[tuple[int, int], ...]) -> Tensor:
    """Return (B, K, H, W) in [0, 1): how unlike the pixel and the one that a candidate comes from look."""
    unlike = torch.cat([unlikeness(image, other) for other in neighbours(image, offsets)], 1)
    unlike = unlike / (unlike + HALF_COST)
    alone = image[:, :1]
    return torch.cat([torch.zeros_like(alone), unlike, torch.full_like(alone, 0.5)], 1)


def unlikeness(one: Tensor, other: Tensor) -> Tensor:
    """Return the mean difference (B, 1, H, W) of two images' three colours."""
    red, green, blue = (one - other).abs_().unbind(1)
    return ((red + green + blue) / 3)[:, None]


def length(vectors: Tensor, axis: int) -> Tensor:
    """Return the length of vectors of two along ``axis``; many times as fast as a norm."""
    x, y = vectors.unbind(axis)
    return (x * x + y * y).sqrt()


def _convolutions(inner: int, outer: int) -> list[nn.Module]:
    return [nn.Conv2d(inner, outer, 3, padding=1, padding_mode="replicate"), nn.LeakyReLU(0.1)]


def _doubled(field: Tensor) -> Tensor:
    return functional.interpolate(field, scale_factor=2, mode="bilinear", align_corners=False)
