"""Which pixels are seen in the other frame: by what lands on them (Wang), or by the way back (Brox)."""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.cues.learned.sampling import inside, pixel_grid, splat, warp


def range_map(return_flow_px: Tensor) -> Tensor:
    """Return (B, 1, H, W): how many pixels of the other frame land on each pixel of this one."""
    return splat(torch.ones_like(return_flow_px[:, :1]), return_flow_px)


def visible_by_range(flow_px: Tensor, return_flow_px: Tensor) -> Tensor:
    """Return (B, 1, H, W) in [0, 1]: something of the other frame lands here.

    Where the flow leaves the frame nothing could land, which says nothing: 1 there.
    """
    height, width = flow_px.shape[-2:]
    stays = inside(flow_px + pixel_grid(height, width, flow_px), height, width)
    return torch.where(stays, range_map(return_flow_px).clamp(0, 1), 1)


def visible_by_return(flow_px: Tensor, return_flow_px: Tensor) -> Tensor:
    """Return (B, 1, H, W), 0 or 1: the flow comes back, |f + b(x + f)|² < 0.01 (|f|² + |b|²) + 0.5.

    Where the flow leaves the frame there is no way back to look at: 1 there.
    """
    height, width = flow_px.shape[-2:]
    stays = inside(flow_px + pixel_grid(height, width, flow_px), height, width)
    back = warp(return_flow_px, flow_px)
    gap = (flow_px + back).square().sum(1, keepdim=True)
    size = flow_px.square().sum(1, keepdim=True) + back.square().sum(1, keepdim=True)
    return torch.where(stays, (gap < 0.01 * size + 0.5).to(flow_px.dtype), 1)


def confidence(flow_px: Tensor, return_flow_px: Tensor, tolerance: float) -> Tensor:
    """Return (B, 1, H, W) in [0, 1]: exp(−gap² / (tolerance · diagonal)²), the gap of going there and back."""
    height, width = flow_px.shape[-2:]
    gap = (flow_px + warp(return_flow_px, flow_px)).square().sum(1, keepdim=True)
    return torch.exp(-gap / (tolerance**2 * (height**2 + width**2)))
