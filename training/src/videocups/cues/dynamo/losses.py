"""Dynamo-Depth's losses; each takes what it needs and returns a number."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from videocups.cues.dynamo.photometric import photometric_difference
from videocups.cues.learned.sampling import mean_where
from videocups.cues.learned.smoothness import edge_aware_smoothness

TURN = 10.0  # camera heights that one radian counts
TIE = 1e-5  # noise that decides between equal differences in flat regions


def photometric_loss(
    warped: Sequence[Tensor],
    target: Tensor,
    unwarped: Sequence[Tensor] | None,
    ssim: float,
    counts: Tensor | None = None,
) -> Tensor:
    """Return the mean, over pixels, of the least difference of any neighbour.

    ``unwarped``: the neighbours' images as they are; pixels that fit better without motion are left out (automask).
    ``counts`` (B, 1, H, W): 0 for pixels that are left out, 1 for others; None: all count.
    """
    differences = [photometric_difference(image, target, ssim) for image in warped]
    if unwarped is not None:
        still = [photometric_difference(image, target, ssim) for image in unwarped]
        differences += [difference + TIE * torch.randn_like(difference) for difference in still]
    least = torch.cat(differences, dim=1).amin(1, keepdim=True)
    return least.mean() if counts is None else mean_where(least, counts)


def depth_hint_loss(inverse_depth: Tensor, hint: Tensor, weight: Tensor, largest: float) -> Tensor:
    """Return the mean weighted difference of inverse depths (B, 1, H, W) where there are hints.

    ``weight``: 0 = no hint; times the difference it is a relative error, which counts up to ``largest``.
    """
    error = (weight * (inverse_depth - hint).abs()).clamp(max=largest)
    return mean_where(error, (weight > 0).to(error.dtype))


def error_hint_loss(error: Tensor, inverse_depth: Tensor, hint: Tensor, weight: Tensor, largest: float) -> Tensor:
    """Return how ill the expected relative ``error`` (B, 1, H, W) fits the differences to hints: Laplace's likelihood.

    Only the error learns from it. A hint that is not to be trusted says little of the error.
    """
    trust = (weight * hint.abs()).clamp(max=1)
    found = (weight * (inverse_depth - hint).abs()).clamp(max=largest).detach()
    return mean_where(found / error + trust * error.log(), (weight > 0).to(error.dtype))


def mask_hint_loss(logits: Tensor, moves: Tensor, still: Tensor) -> Tensor:
    """Return the cross-entropy of the mask's logits (B, 1, H, W) to what was seen to move and to be ``still``.

    Both count alike, however few pixels move; what is neither does not count.
    """
    return (mean_where(functional.softplus(-logits), moves) + mean_where(functional.softplus(logits), still)) / 2


def pose_hint_loss(motions: Tensor, hints: Tensor) -> Tensor:
    """Return the mean difference of camera motions (B, 2, 4, 4) to hints, NaN where there are none.

    A turn by 0.1 counts as much as a step by one camera height.
    """
    known = ~hints.isnan()
    error = (motions - hints.nan_to_num()).abs()
    scale = error.new_tensor([TURN, TURN, TURN, 1.0])
    return mean_where(error * scale, known.to(error.dtype))


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
