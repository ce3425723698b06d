"""Dynamo-Depth's losses; each takes what it needs and returns a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.dynamo.photometric import photometric_difference
from videocups.cues.learned.smoothness import edge_aware_smoothness

TIE = 1e-5  # noise that decides between equal differences in flat regions


def photometric_loss(
    warped: Sequence[Tensor], target: Tensor, unwarped: Sequence[Tensor] | None, ssim: float
) -> Tensor:
    """Return the mean, over pixels, of the least difference of any neighbour.

    ``unwarped``: the neighbours' images as they are; pixels that fit better without motion are left out (automask).
    """
    differences = [photometric_difference(image, target, ssim) for image in warped]
    if unwarped is not None:
        still = [photometric_difference(image, target, ssim) for image in unwarped]
        differences += [difference + TIE * torch.randn_like(difference) for difference in still]
    return torch.cat(differences, dim=1).amin(1).mean()


def smooth_disparity(disparity: Tensor, image: Tensor) -> Tensor:
    """Return the smoothness of disparity (B, 1, H, W) relative to its mean, so that shrinking does not help."""
    relative = disparity / (disparity.mean(dim=(2, 3), keepdim=True) + 1e-7)
    return smooth(relative, image)


def smooth(field: Tensor, image: Tensor) -> Tensor:
    """Return the edge-aware smoothness of a field (B, C, H, W)."""
    return edge_aware_smoothness(field, image, order=1, edge_weight=1.0)


def consistency_loss(residual: Tensor, mask: Tensor, disparity: Tensor, least_disparity: float) -> Tensor:
    """Return how far complete flow is from ego-motion where nothing moves and it is not far away.

    ``residual`` (B, 3, H, W), ``mask`` and ``disparity`` (B, 1, H, W); only the residual learns from it.
    """
    counts = (disparity.detach() > least_disparity) * (1 - mask.detach())
    return (counts * residual.abs()).mean()


def sparsity_loss(logits: Tensor, ego_px: Tensor, complete_px: Tensor) -> Tensor:
    """Return the cross-entropy of the mask's logits (B, 1, H, W) to "static" where the two ways differ little.

    Little: the squared distance of ``ego_px`` and ``complete_px`` (B, 2, H, W) is below the batch's mean.
    """
    distance = (ego_px - complete_px).square().sum(1, keepdim=True)
    static = distance < distance.mean()
    if not bool(static.any()):
        return logits.sum() * 0
    return functional.softplus(logits[static]).mean()
