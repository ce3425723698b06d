"""Pairs made of one frame: the other is the frame bent by a flow that was drawn, and so is known.

From random weights RAFT's correlations say nothing, and of drives seen forwards, backwards and in the mirror the best
guess without them is no motion: training on real pairs rests there for thousands of steps. Made pairs show at once what
correlations are for. They need no labels, and what they lack, occlusion and things that move apart, real pairs teach.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.learned.sampling import warp
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
