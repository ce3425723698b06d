"""What the network says of one image."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Detections:
    """Objects of one image, best first; boxes in pixels of the network's input."""

    boxes: Tensor  # (n, 4) x0 y0 x1 y1
    scores: Tensor  # (n,) 0…1
    classes: Tensor  # (n,) int64 thing index
    masks: Tensor  # (n, s, s) probability inside the box
    embeddings: Tensor  # (n, D); e·e′ is the logit of "the same", 0 that of "new"
