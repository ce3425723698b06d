"""Pairs made of one frame: the other is the frame bent by a flow that was drawn, and so is known.

From random weights RAFT's correlations say nothing, so the part that reads them learns to look away; and all that could
teach the features goes through that part. Flow stays at zero for as long as this lasts. Made pairs break the circle:
``matching_loss`` asks the features alone where each place of one image lies in the other, and teaches them in a few
hundred steps; then known flow teaches how correlations are read. They need no labels, and what they lack, occlusion and
things that move apart, real pairs teach.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.learned.sampling import mean_where, pixel_grid, warp
from videocups.cues.smurf.losses import sequence_weights

BENDS = 4  # nodes of the bent part across the shorter side


def draw_flow(images: Tensor, largest_px: float) -> Tensor:
    """Return smooth random flows (B, 2, H, W) for images (B, 3, H, W): a shift, and half as much bending."""
    batch, _, height, width = images.shape
    short = min(height, width)
    nodes = (max(2, round(BENDS * height / short)), max(2, round(BENDS * width / short)))
    reach = largest_px * torch.rand(batch, 1, 1, 1, device=images.device)  # small motion as often as large
    shift = 2 * torch.rand(batch, 2, 1, 1, device=images.device) - 1
    bend = 2 * torch.rand(batch, 2, *nodes, device=images.device) - 1
    bend = functional.interpolate(bend, size=(height, width), mode="bicubic", align_corners=True)
    return reach * (2 * shift + bend) / 3


def made_pair(images: Tensor, largest_px: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first and the second image (B, 3, H, W) of made pairs and the flow (B, 2, H, W) between them."""
    flow = draw_flow(images, largest_px)
    return warp(images, flow), images, flow


def known_flow_loss(flows: Sequence[Tensor], known: Tensor, decay: float) -> Tensor:
    """Return the mean distance in px of a sequence of flows (B, 2, H, W) from the one that is known."""
    loss = known.new_zeros(())
    for weight, flow in zip(sequence_weights(len(flows), decay), flows, strict=True):
        loss = loss + weight * ((flow - known).square().sum(1) + 0.01**2).sqrt().mean()
    return loss


def matching_loss(first: Tensor, second: Tensor, known_px: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cross entropy of finding each place of ``first`` in ``second``, and the share found within a cell.

    Features (B, C, h, w) of the two images; the known flow (B, 2, H, W), H = 8h. What leaves the image says nothing.
    """
    height, width = first.shape[-2:]
    cell = known_px.shape[-1] / width
    flow = functional.interpolate(known_px, size=(height, width), mode="area") / cell
    grid = pixel_grid(height, width, flow)
    target = (grid + flow)[..., None, None]  # (B, 2, h, w, 1, 1) against every cell of the second image
    # shared between the four cells around it
    share = (1 - (target - grid[None, :, None, None]).abs()).clamp(min=0).prod(1).flatten(3)
    scores = torch.einsum("bchw,bcij->bhwij", first, second).flatten(3) / first.shape[1] ** 0.5
    stays = share.sum(-1) > 0.99
    entropy = -(share * scores.log_softmax(-1)).sum(-1)
    best = scores.argmax(-1)
    off = torch.stack([best % width, best // width], 1) - target[..., 0, 0]
    found = (off.abs().amax(1) <= 1).to(scores.dtype)
    return mean_where(entropy, stays), mean_where(found, stays)
