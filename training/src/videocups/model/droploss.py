"""Video DropLoss (VideoCUPS Eq. 3): objects that no label explains are left alone.

Labels hold moving objects only. Without this loss every parked car would be taught as background. With nothing but
Eq. 3 hardly any background would be taught at all, so what is left alone is narrowed down:
docs/decisions/0006-background-under-droploss.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from videocups.model.boxes import iou, share_inside
from videocups.model.config import DropLossConfig
from videocups.model.labels import EXPLAINED, OBJECTS, SEEN, ImageLabels

PART = 0.5


@torch.no_grad()
def supervised(
    boxes: Tensor, scores: Tensor, background: Tensor, labels: ImageLabels, config: DropLossConfig
) -> Tensor:
    """Return which detections (M,) of one image are learned from.

    ``boxes`` (M, 4) are the regressed ones, ``scores`` (M,) the chance of being an object, ``background`` (M,) those
    that matching calls background. A detection is labelled if it overlaps some label of this image by more than
    ``config.iou``. Of the others only background is learned from, and only where labels explain the box and the
    network is not sure of an object, by the score and, with ``config.seen``, by its semantics too; or where most of
    the box is labelled objects, of which it can only be a part.
    """
    if not config.enabled:
        return torch.ones_like(background)
    labelled = torch.zeros_like(background)
    if len(labels.boxes) > 0:
        labelled = iou(boxes, labels.boxes).amax(dim=1) > config.iou
    shares = share_inside(labels.regions, boxes)
    part = background & (shares[:, OBJECTS] > PART)
    candidates = background & ~labelled & ~part & (shares[:, EXPLAINED] >= config.explained)
    sure = _sure(scores, candidates, config) & (shares[:, SEEN] >= config.seen)
    return labelled | part | (candidates & ~sure)


def _sure(scores: Tensor, candidates: Tensor, config: DropLossConfig) -> Tensor:
    """Return which candidates are surely objects to the network; at most the configured share, the surest."""
    most = int(config.max_confident * int(candidates.sum()))
    ranked = torch.where(candidates, scores, -1.0).topk(most)
    sure = torch.zeros_like(candidates)
    sure[ranked.indices] = ranked.values > config.confident
    return sure
