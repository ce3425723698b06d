"""The losses as plain functions of rows.

Each is the mean over images of the mean over an image's rows, so that a step on some images is the mean of steps on its
parts: what distributed training computes is what one process computes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from videocups.model.classes import IGNORE


def row_weights(kept: Tensor, image: Tensor, images: int) -> Tensor:
    """Return what each row (R,) counts: kept rows of an image share 1 / ``images`` equally, the others have 0."""
    counts = torch.zeros(images, device=kept.device).index_add(0, image, kept.float())
    return torch.where(kept, 1 / (counts[image].clamp(min=1) * images), 0.0)


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """Return Σ values · weights; rows of weight 0 get no gradient, whatever their value."""
    used = weights > 0
    return (values[used] * weights[used]).sum() if bool(used.any()) else nothing(values)


def nothing(tensor: Tensor) -> Tensor:
    """Return a 0 that hangs on ``tensor``, so that every part of the network always has a gradient."""
    return (tensor[:0] if tensor.ndim else tensor * 0).sum()


def objectness_loss(logits: Tensor, objects: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of logits (R,) against ``objects`` (R,) bool."""
    return weighted(
        functional.binary_cross_entropy_with_logits(logits.float(), objects.float(), reduction="none"), weights
    )


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of logits (R, K + 1) against classes (R,)."""
    return weighted(functional.cross_entropy(logits.float(), classes.clamp(min=0), reduction="none"), weights)


def box_loss(deltas: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum of the absolute differences of deltas (R, 4) from their targets."""
    return weighted((deltas.float() - targets).abs().sum(dim=1), weights)


def mask_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of masks (R, s, s), the mean over their cells."""
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return weighted(losses.mean(dim=(1, 2)), weights)


def semantic_loss(logits: Tensor, semantic: Tensor) -> Tensor:
    """Cross-entropy of logits (I, C, h, w), enlarged to ``semantic`` (I, H, W), over pixels whose class is known."""
    enlarged = functional.interpolate(logits.float(), size=semantic.shape[-2:], mode="bilinear", align_corners=False)
    losses = functional.cross_entropy(enlarged, semantic, ignore_index=IGNORE, reduction="none")
    known = (semantic != IGNORE).sum(dim=(1, 2)).clamp(min=1)
    return (losses.sum(dim=(1, 2)) / known).mean()


def track_loss(logits: Sequence[Tensor], targets: Sequence[Tensor], kept: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of each image's association logits (r, 1 + n) against columns (r,), over its kept rows."""
    total = torch.stack([nothing(rows) for rows in logits]).sum()
    for rows, columns, used in zip(logits, targets, kept, strict=True):
        if bool(used.any()):
            total = total + functional.cross_entropy(rows.float()[used], columns[used]) / len(logits)
    return total
