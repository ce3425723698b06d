"""The losses as plain functions of rows.

Each is the mean over images of the mean over an image's rows, so that a step on some images is the mean of steps on its
parts: what distributed training computes is what one process computes. Rows of weight 0 get no gradient, whatever
their value.
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


def nothing(tensor: Tensor) -> Tensor:
    """Return a 0 that hangs on ``tensor``, so that every part of the network always has a gradient."""
    return tensor.flatten()[:0].sum()


def objectness_loss(logits: Tensor, objects: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of logits (R,) against ``objects`` (R,) bool."""
    used = weights > 0
    rows = _exact(logits[used])
    losses = functional.binary_cross_entropy_with_logits(rows, objects[used].to(rows.dtype), reduction="none")
    return (losses * weights[used]).sum()


def class_loss(logits: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross-entropy of logits (R, K + 1) against classes (R,)."""
    used = weights > 0
    losses = functional.cross_entropy(_exact(logits[used]), classes[used], reduction="none")
    return (losses * weights[used]).sum()


def box_loss(deltas: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum of the absolute differences of deltas (R, 4) from their targets."""
    used = weights > 0
    return ((_exact(deltas[used]) - targets[used]).abs().sum(dim=1) * weights[used]).sum()


def mask_loss(logits: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy of masks (R, s, s), the mean over their cells."""
    used = weights > 0
    rows = _exact(logits[used])
    losses = functional.binary_cross_entropy_with_logits(rows, targets[used].to(rows.dtype), reduction="none")
    return (losses.mean(dim=(1, 2)) * weights[used]).sum()


def semantic_loss(logits: Tensor, semantic: Tensor) -> Tensor:
    """Cross-entropy of logits (I, C, h, w), enlarged to ``semantic`` (I, H, W), over pixels whose class is known."""
    enlarged = functional.interpolate(_exact(logits), size=semantic.shape[-2:], mode="bilinear", align_corners=False)
    losses = functional.cross_entropy(enlarged, semantic, ignore_index=IGNORE, reduction="none")
    known = (semantic != IGNORE).sum(dim=(1, 2)).clamp(min=1)
    return (losses.sum(dim=(1, 2)) / known).mean()


def track_loss(logits: Sequence[Tensor], targets: Sequence[Tensor], kept: Sequence[Tensor]) -> Tensor:
    """Cross-entropy of each image's association logits (r, 1 + n) against columns (r,), over its kept rows."""
    total = sum((nothing(rows) for rows in logits), logits[0].new_zeros(()))
    for rows, columns, used in zip(logits, targets, kept, strict=True):
        if bool(used.any()):
            total = total + functional.cross_entropy(_exact(rows)[used], columns[used]) / len(logits)
    return total


def _exact(values: Tensor) -> Tensor:
    """Return ``values`` in 32 bits at least: half precision is for the network, not for its losses."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
