"""Correlation losses of STEGO (Hamilton et al., 2022) and the depth term of DepthG (Sick et al., 2024).

Codes of two places should be alike where their features are: −max(cos(c, c'), 0) · (cos(f, f') − shift), over all pairs
of sampled places. The depth term does the same with depth in the place of features.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as nn_functional
from torch import Tensor

DepthTerm = Literal["repaired", "released", "off"]


def sample_at(field: Tensor, places: Tensor) -> Tensor:
    """Read (B, C, h, w) at ``places`` (B, S, S, 2), x and y in −1 … 1 across the image: (B, C, S, S)."""
    return nn_functional.grid_sample(field, places, mode="bilinear", padding_mode="border", align_corners=False)


def correlate(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of each pair of places of two (B, C, S, S) maps: (B, S, S, S, S)."""
    first, second = nn_functional.normalize(first, dim=1), nn_functional.normalize(second, dim=1)
    return torch.einsum("bcij,bckl->bijkl", first, second)


def correlation_loss(target: Tensor, codes: Tensor, shift: float) -> Tensor:
    """Return the mean loss of code correlations against target correlations; ``shift`` decides attract or repel."""
    return -(codes.clamp(min=0) * (target - shift)).mean()


def depth_correlation(depth: Tensor, places: Tensor, term: DepthTerm) -> Tensor:
    """Return what stands for the likeness of two places' depth, (B, S, S, S, S).

    ``repaired``: the product of both depths, each image's brought to 0 … 1, read at the places of the codes.
    ``released``: what DepthG's published code computes. It normalises a map of one channel, after which every depth
    but 0 is 1, and shrinks the map to S × S instead of reading it at the places: no depth is left in it.
    """
    if term == "released":
        side = places.shape[1]
        shrunk = nn_functional.interpolate(depth, size=(side, side), mode="bilinear", align_corners=False)
        return correlate(shrunk, shrunk)
    lowest, highest = (depth.flatten(1).amin(1), depth.flatten(1).amax(1))
    span = (highest - lowest).clamp_min(1e-6)
    scaled = (depth - lowest[:, None, None, None]) / span[:, None, None, None]
    read = sample_at(scaled, places)
    return torch.einsum("bcij,bckl->bijkl", read, read)


def random_places(batch: int, side: int, generator: torch.Generator) -> Tensor:
    """Return (batch, side, side, 2) places, uniform over the image."""
    return torch.rand(batch, side, side, 2, generator=generator) * 2 - 1


def furthest_places(depth: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """Return (B, side, side, 2) places that lie far apart in space: furthest-point sampling of the depth map's pixels.

    ``depth``: (B, 1, h, w). Pixels are lifted with a field of view of 90°, as DepthG does where no camera is known.
    """
    batch, _, height, width = depth.shape
    y, x = torch.meshgrid(_centers(height), _centers(width), indexing="ij")
    z = depth.reshape(batch, -1).cpu()
    points = torch.stack([x.reshape(-1) * z, y.reshape(-1) * z * (height / width), z], dim=2)
    chosen = torch.zeros(batch, side * side, dtype=torch.long)
    chosen[:, 0] = torch.randint(0, height * width, (batch,), generator=generator)
    nearest = torch.full((batch, height * width), torch.inf)
    rows = torch.arange(batch)
    for k in range(1, side * side):
        gap = (points - points[rows, chosen[:, k - 1]][:, None]).square().sum(dim=2)
        nearest = torch.minimum(nearest, gap)
        chosen[:, k] = nearest.argmax(dim=1)
    flat = torch.stack([x.reshape(-1), y.reshape(-1)], dim=1)
    return flat[chosen].reshape(batch, side, side, 2)


def _centers(count: int) -> Tensor:
    """Middles of ``count`` cells over −1 … 1."""
    return (torch.arange(count) + 0.5) / count * 2 - 1
