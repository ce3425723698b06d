"""What the network learns from a batch: proposals are matched, sampled, gated by Video DropLoss and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from videocups.model.boxes import clip, decode, encode
from videocups.model.cascade import CascadeHead
from videocups.model.config import DropLossConfig, RpnConfig
from videocups.model.droploss import supervised
from videocups.model.labels import ImageLabels
from videocups.model.losses import (
    box_loss,
    class_loss,
    nothing,
    objectness_loss,
    row_weights,
)
from videocups.model.matching import NEITHER, Matched, draw, match_anchors, match_boxes, mostly_ignored, sample
from videocups.model.rpn import DELTA_WEIGHTS

SPARE = 8  # so many times the anchors that are needed are looked at, and not all


@dataclass(frozen=True)
class Rows:
    """Boxes of all images that are learned from, image after image."""

    image: Tensor  # (R,) int64
    boxes: Tensor  # (R, 4)
    classes: Tensor  # (R,) thing index, ``things`` = background, NEITHER
    labels: Tensor  # (R,) index of the label in its image, −1 where there is none

    def of(self, image: int) -> Tensor:
        """Return which rows (R,) are of an image."""
        return self.image == image

    def chosen(self, mask: Tensor) -> Rows:
        """Return the rows marked in ``mask`` (R,)."""
        return Rows(self.image[mask], self.boxes[mask], self.classes[mask], self.labels[mask])

    def split(self, images: int) -> list[Tensor]:
        """Return the boxes (n, 4) of each image."""
        return list(torch.split(self.boxes, torch.bincount(self.image, minlength=images).tolist()))


def rpn_losses(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    labels: Sequence[ImageLabels],
    config: RpnConfig,
    droploss: DropLossConfig,
    generators: Sequence[torch.Generator],
) -> tuple[Tensor, Tensor]:
    """Return the losses of objectness and regression; logits (I, A), deltas (I, A, 4), anchors (A, 4)."""
    objectness, regression = nothing(logits), nothing(deltas)
    for index, found in enumerate(labels):
        matched = match_anchors(anchors, found, config.low_iou, config.high_iou)
        positive = draw(matched.classes == 0, int(config.batch * config.positive_share), generators[index])
        candidates = draw(matched.classes == 1, SPARE * config.batch, generators[index])
        taught = _taught_anchors(
            logits[index, candidates], deltas[index, candidates], anchors[candidates], found, droploss
        )
        rows = torch.cat([positive, candidates[taught][: config.batch - len(positive)]])
        if len(rows) == 0:
            continue
        weights = torch.full((len(rows),), 1 / (len(rows) * len(labels)), device=rows.device)
        objects = torch.arange(len(rows), device=rows.device) < len(positive)
        objectness = objectness + objectness_loss(logits[index, rows], objects, weights)
        if len(positive) > 0:
            goals = encode(found.boxes[matched.labels[positive]], anchors[positive], DELTA_WEIGHTS)
            regression = regression + box_loss(deltas[index, positive], goals, weights[: len(positive)])
    return objectness, regression


@torch.no_grad()
def _taught_anchors(
    logits: Tensor, deltas: Tensor, anchors: Tensor, labels: ImageLabels, droploss: DropLossConfig
) -> Tensor:
    """Return which anchors (M,) of the background are taught as such."""
    kept = ~mostly_ignored(anchors, labels)
    regressed = decode(deltas.float(), anchors, DELTA_WEIGHTS)
    return kept & supervised(regressed, logits.float().sigmoid(), kept, labels, droploss)


@torch.no_grad()
def sample_rows(
    proposals: Sequence[Tensor],
    labels: Sequence[ImageLabels],
    cascade: CascadeHead,
    things: int,
    generators: Sequence[torch.Generator],
) -> Rows:
    """Choose the boxes that the cascade learns from, of the proposals and the labels' own boxes."""
    config, parts = cascade.config, []
    for index, (boxes, found) in enumerate(zip(proposals, labels, strict=True)):
        boxes = torch.cat([boxes, found.boxes])
        matched = match_boxes(boxes, found, config.ious[0], things)
        objects = (matched.classes >= 0) & (matched.classes < things)
        chosen = torch.cat(
            sample(objects, matched.classes == things, config.batch, config.positive_share, generators[index])
        )
        image = torch.full_like(chosen, index)
        parts.append(Rows(image, boxes[chosen], matched.classes[chosen], matched.labels[chosen]))
    return Rows(
        *(torch.cat([getattr(part, name) for part in parts]) for name in ("image", "boxes", "classes", "labels"))
    )


def stage_losses(
    logits: Tensor,
    deltas: Tensor,
    rows: Rows,
    labels: Sequence[ImageLabels],
    delta_weights: Sequence[float],
    droploss: DropLossConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the losses of class and box of one stage, and which rows (R,) it learned from."""
    things = logits.shape[1] - 1
    boxes = decode(deltas.detach().float(), rows.boxes, delta_weights)
    scores = 1 - logits.detach().float().softmax(dim=1)[:, -1]
    background, kept = rows.classes == things, rows.classes != NEITHER
    for index, found in enumerate(labels):
        here = rows.of(index)
        kept[here] &= supervised(boxes[here], scores[here], background[here], found, droploss)
    weights = row_weights(kept, rows.image, len(labels))
    objects = kept & ~background
    goals = encode(label_boxes(rows, labels)[objects], rows.boxes[objects], delta_weights)
    regression = box_loss(deltas[objects], goals, weights[objects]) if bool(objects.any()) else nothing(deltas)
    return class_loss(logits, rows.classes, weights), regression, kept


def label_boxes(rows: Rows, labels: Sequence[ImageLabels]) -> Tensor:
    """Return the box (R, 4) of each row's label; any where it has none."""
    found = rows.boxes.clone()
    for index, of_image in enumerate(labels):
        here = rows.of(index) & (rows.labels >= 0)
        found[here] = of_image.boxes[rows.labels[here]]
    return found


@torch.no_grad()
def next_rows(
    rows: Rows,
    deltas: Tensor,
    labels: Sequence[ImageLabels],
    cascade: CascadeHead,
    stage: int,
    size: tuple[int, int],
) -> Rows:
    """Return the rows of the stage after ``stage``: the same boxes, improved and matched again."""
    boxes = clip(decode(deltas.detach().float(), rows.boxes, cascade.delta_weights(stage)), *size)
    classes, index = rows.classes.clone(), rows.labels.clone()
    things = int(cascade.things)
    for image, found in enumerate(labels):
        here = rows.of(image)
        matched: Matched = match_boxes(boxes[here], found, cascade.config.ious[stage + 1], things)
        classes[here], index[here] = matched.classes, matched.labels
    return replace(rows, boxes=boxes, classes=classes, labels=index)
