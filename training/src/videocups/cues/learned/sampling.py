"""Fetch and throw pixels: backward warping and forward splatting, both differentiable. Pixel centres are whole."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return (2, H, W): column and row of every pixel."""
    rows = torch.arange(height, device=like.device, dtype=like.dtype)
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))


def sample(image: Tensor, places_px: Tensor) -> Tensor:
    """Fetch ``image`` (B, C, H, W) at ``places_px`` (B, 2, h, w), column then row, bilinear; edges repeat."""
    height, width = image.shape[-2:]
    # pixel 0 is at −1 and pixel W−1 at 1
    scale = places_px.new_tensor([2 / max(width - 1, 1), 2 / max(height - 1, 1)]).view(1, 2, 1, 1)
    places = (places_px * scale - 1).permute(0, 2, 3, 1)
    return functional.grid_sample(image, places, mode="bilinear", padding_mode="border", align_corners=True)


def inside(places_px: Tensor, height: int, width: int) -> Tensor:
    """Return (B, 1, h, w) bool: the place lies within an image of this size."""
    column, row = places_px[:, :1], places_px[:, 1:2]
    return (column >= 0) & (column <= width - 1) & (row >= 0) & (row <= height - 1)


def warp(image: Tensor, flow_px: Tensor) -> Tensor:
    """Fetch ``image`` (B, C, H, W) of the other frame for each pixel of this one; edges repeat."""
    return sample(image, flow_px + pixel_grid(flow_px.shape[-2], flow_px.shape[-1], flow_px))


def splat(values: Tensor, flow_px: Tensor) -> Tensor:
    """Throw ``values`` (B, C, H, W) along their flow and sum what lands, bilinear; what leaves the image is lost."""
    batch, channels, height, width = values.shape
    places = flow_px + pixel_grid(height, width, flow_px)
    low = places.floor()
    part = places - low
    landed = values.new_zeros(batch, channels, height * width)
    for right in (0, 1):
        for down in (0, 1):
            column, row = low[:, 0] + right, low[:, 1] + down
            weight = (part[:, 0] if right else 1 - part[:, 0]) * (part[:, 1] if down else 1 - part[:, 1])
            there = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            index = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()
            thrown = (values * (weight * there)[:, None]).flatten(2)
            landed = landed.scatter_add(2, index.flatten(1)[:, None].expand_as(thrown), thrown)
    return landed.view(batch, channels, height, width)


def resize_flow(flow_px: Tensor, height: int, width: int) -> Tensor:
    """Resize flow (B, 2, h, w) and its values with it."""
    scale = flow_px.new_tensor([width / flow_px.shape[-1], height / flow_px.shape[-2]]).view(1, 2, 1, 1)
    resized = functional.interpolate(flow_px, size=(height, width), mode="bilinear", align_corners=False)
    return resized * scale


def mean_where(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of ``values`` weighted by ``mask``, which broadcasts; 0 where the mask is empty."""
    weight = mask.expand_as(values)
    return (values * weight).sum() / weight.sum().clamp(min=torch.finfo(values.dtype).eps)
