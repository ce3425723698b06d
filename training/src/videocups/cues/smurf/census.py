"""The census loss compares how patches order their pixels, whatever the exposure."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.learned.sampling import mean_where

PATCH = 7


def census_transform(image: Tensor) -> Tensor:
    """Return (B, 49, H, W): how each neighbour differs from the centre, d / √(0.81 + d²) with d in grey levels of 255.

    ``image`` (B, 3, H, W) RGB in [0, 1]. Beyond the border lies 0.
    """
    weights = image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (image * weights).sum(1, keepdim=True) * 255
    height, width = grey.shape[-2:]
    neighbours = functional.unfold(grey, PATCH, padding=PATCH // 2).view(-1, PATCH * PATCH, height, width)
    difference = neighbours - grey
    return difference / (0.81 + difference.square()).sqrt()


def soft_hamming(first: Tensor, second: Tensor) -> Tensor:
    """Return (B, 1, H, W): how many of two transforms' entries differ, each by d² / (0.1 + d²)."""
    squared = (first - second).square()
    return (squared / (0.1 + squared)).sum(1, keepdim=True)


def census_loss(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Compare two images' transforms where ``mask`` (B, 1, H, W) is 1; patches that leave the image do not count."""
    distance = soft_hamming(first, second)
    border = PATCH // 2
    whole = torch.zeros_like(distance)
    whole[..., border:-border, border:-border] = 1
    return mean_where((distance.abs() + 0.01) ** 0.4, mask * whole)
