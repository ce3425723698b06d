"""The Panoptic Cascade MaskTrack R-CNN: backbone, pyramid, proposals, cascade, masks, semantics and tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from videocups.model.backbone import FeaturePyramid, ResNetBody
from videocups.model.boxes import clip, decode
from videocups.model.cascade import STAGES, CascadeHead
from videocups.model.classes import THING, ClassTable
from videocups.model.config import STRIDES, DropLossConfig, ModelConfig
from videocups.model.detections import Detections
from videocups.model.labels import FRAMES, ImageLabels, check_batch, read_batch
from videocups.model.losses import mask_loss, row_weights, semantic_loss, track_loss
from videocups.model.masks import MaskHead, mask_targets
from videocups.model.objective import Rows, next_rows, rpn_losses, sample_rows, stage_losses
from videocups.model.pooling import pool_boxes
from videocups.model.rpn import RegionProposals
from videocups.model.semantics import SemanticHead
from videocups.model.tracks import TrackHead, association_logits

MEAN_RGB, DEVIATION_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of 0…255, as DINO was trained
WHOLE = 32  # sides of an image are multiples of this


class PanopticNetwork(nn.Module):
    """One set of weights; ``losses`` learns from pairs of frames, ``detect`` looks at single ones."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: ModelConfig, classes: ClassTable) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        things, width = len(classes.things), config.fpn_channels
        self.register_buffer("mean", torch.tensor(MEAN_RGB).reshape(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION_RGB).reshape(3, 1, 1))
        self.backbone = ResNetBody(config.backbone)
        self.fpn = FeaturePyramid(self.backbone.channels, width)
        self.rpn = RegionProposals(config.rpn, width)
        self.cascade = CascadeHead(config.roi, width, things)
        self.mask_head = MaskHead(config.mask, width)
        self.semantic_head = SemanticHead(config.semantic, width, 1 + len(classes.stuff))
        self.track_head = TrackHead(config.track, width)

    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Map images (I, 3, H, W) uint8 RGB to p2 … p6."""
        height, width = images.shape[-2:]
        if height % WHOLE or width % WHOLE:
            raise ValueError(f"the network takes sides that are multiples of {WHOLE}, got {height}×{width}; resize")
        normalized = (images.float() - self.mean) / self.deviation
        features: dict[str, Tensor] = self.fpn(self.backbone(normalized))
        return features

    def pool(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], size: int) -> Tensor:
        """Return (R, C, size, size) of the boxes (n, 4) of every image."""
        return pool_boxes(features, boxes, size, self.config.roi.samples, self.config.canonical_px)

    def forward(self, batch: Mapping[str, Tensor], droploss: DropLossConfig) -> dict[str, Tensor]:
        """Return ``losses``; the face that distributed training wraps."""
        return self.losses(batch, droploss=droploss)

    def losses(self, batch: Mapping[str, Tensor], *, droploss: DropLossConfig) -> dict[str, Tensor]:
        """Return the weighted losses of a batch; their sum is what to minimise.

        ``batch["seed"]`` (B,) int64 may fix what is sampled of each pair; else torch's generator draws it.
        """
        check_batch(batch)
        generators = _generators(batch)
        features = self.features(batch["images"].flatten(0, 1))
        pixels = self.semantic_head(features)
        labels = read_batch(batch, _things_seen(pixels).reshape(batch["ignore"].shape))
        size = (batch["images"].shape[-2], batch["images"].shape[-1])
        weights, found = self.config.loss, {}
        logits, deltas = self.rpn.head(features)
        anchors = self.rpn.anchors(*size, device=logits.device)
        objectness, regression = rpn_losses(
            logits, deltas, torch.cat(anchors), labels, self.config.rpn, droploss, generators
        )
        found["rpn_objectness"] = weights.rpn_objectness * objectness
        found["rpn_box"] = weights.rpn_box * regression
        proposals = self.rpn.proposals(logits.detach(), deltas.detach(), anchors, *size, self.config.rpn.post_nms_train)
        rows = sample_rows(proposals, labels, self.cascade, len(self.classes.things), generators)
        stages, kept = self._cascade_losses(features, rows, labels, droploss, size)
        found |= stages
        positive = rows.chosen(kept & (rows.labels >= 0))
        found["mask"] = weights.mask * self._mask_loss(features, positive, labels)
        semantic = semantic_loss(pixels, batch["semantic"].flatten(0, 1))
        found["semantic"] = weights.semantic * semantic
        found["track"] = weights.track * self._track_loss(features, positive, labels)
        return found

    def _cascade_losses(
        self,
        features: Mapping[str, Tensor],
        rows: Rows,
        labels: Sequence[ImageLabels],
        droploss: DropLossConfig,
        size: tuple[int, int],
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses of the stages and which rows the first one learned from."""
        # three stages speak to the features, each with a third of the voice
        quiet = {name: _scale_gradient(field, 1 / STAGES) for name, field in features.items()}
        found: dict[str, Tensor] = {}
        first = torch.empty(0)
        for stage in range(STAGES):
            pooled = self.pool(quiet, rows.split(len(labels)), self.config.roi.pool)
            logits, deltas = self.cascade.stage(stage, pooled)
            of_class, of_box, kept = stage_losses(
                logits, deltas, rows, labels, self.cascade.delta_weights(stage), droploss
            )
            found[f"cascade{stage + 1}_class"] = self.config.loss.cascade_class * of_class
            found[f"cascade{stage + 1}_box"] = self.config.loss.cascade_box * of_box
            if stage == 0:
                first = kept
            if stage + 1 < STAGES:
                rows = next_rows(rows, deltas, labels, self.cascade, stage, size)
        return found, first

    def _mask_loss(self, features: Mapping[str, Tensor], rows: Rows, labels: Sequence[ImageLabels]) -> Tensor:
        logits = self.mask_head(self.pool(features, rows.split(len(labels)), self.config.mask.pool))
        targets = torch.zeros_like(logits, dtype=torch.float32)
        for index, found in enumerate(labels):
            here = rows.of(index)
            targets[here] = mask_targets(
                found.instances, found.rows[rows.labels[here]], rows.boxes[here], logits.shape[-1]
            )
        kept = torch.ones_like(rows.image, dtype=torch.bool)
        return mask_loss(logits, targets, row_weights(kept, rows.image, len(labels)))

    def _track_loss(self, features: Mapping[str, Tensor], rows: Rows, labels: Sequence[ImageLabels]) -> Tensor:
        """Each frame of a pair finds its boxes again among the labels of the other."""
        size, images = self.config.track.pool, len(labels)
        keys = self.track_head(self.pool(features, rows.split(images), size))
        references = self.track_head(self.pool(features, [found.boxes for found in labels], size))
        of_image = torch.split(references, [len(found.boxes) for found in labels])
        logits, targets = [], []
        for index, found in enumerate(labels):
            here, other = rows.of(index), index ^ 1
            logits.append(association_logits(keys[here], of_image[other]))
            targets.append(_columns(found.rows[rows.labels[here]], labels[other].rows))
        return track_loss(logits, targets, [torch.ones_like(column, dtype=torch.bool) for column in targets])

    @torch.no_grad()
    def detect(self, images: Tensor) -> tuple[list[Detections], Tensor]:
        """Return the objects of each image (B, 3, H, W) uint8 and the semantic logits (B, C, H / 4, W / 4)."""
        features = self.features(images)
        size = (images.shape[-2], images.shape[-1])
        logits, deltas = self.rpn.head(features)
        if not bool(torch.isfinite(logits).all()):  # else NaN would look like an empty street
            raise ValueError(
                "the network's objectness is not finite: its weights or its input are damaged; load others"
            )
        anchors = self.rpn.anchors(*size, device=logits.device)
        boxes = self.rpn.proposals(logits, deltas, anchors, *size, self.config.rpn.post_nms_test)
        scores, boxes = self._refine(features, boxes, size)
        kept = [self._suppress(image_scores, found) for image_scores, found in zip(scores, boxes, strict=True)]
        final = [found for found, _, _ in kept]
        counts = [len(found) for found in final]
        masks = self.mask_head(self.pool(features, final, self.config.mask.pool)).float().sigmoid()
        embeddings = self.track_head(self.pool(features, final, self.config.track.pool)).float()
        found = [
            Detections(*what, mask, embedding)
            for what, mask, embedding in zip(
                kept, torch.split(masks, counts), torch.split(embeddings, counts), strict=True
            )
        ]
        return found, self.semantic_head(features)

    def _refine(
        self, features: Mapping[str, Tensor], boxes: list[Tensor], size: tuple[int, int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return the mean of the stages' probabilities (n, things + 1) and the last boxes (n, 4) of every image."""
        counts = [len(found) for found in boxes]
        total: Tensor | float = 0.0
        for stage in range(STAGES):
            logits, deltas = self.cascade.stage(stage, self.pool(features, boxes, self.config.roi.pool))
            total = total + logits.float().softmax(dim=1) / STAGES
            rows = clip(decode(deltas.float(), torch.cat(boxes), self.cascade.delta_weights(stage)), *size)
            boxes = list(torch.split(rows, counts))
        assert isinstance(total, Tensor)
        return list(torch.split(total, counts)), boxes

    def _suppress(self, scores: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, scores and classes of what is left when the better of two near ones wins."""
        best, classes = scores[:, :-1].max(dim=1)
        kept = nms(boxes, best, self.config.inference.nms_iou)[: self.config.inference.max_detections]
        return boxes[kept], best[kept], classes[kept]


def _columns(rows: Tensor, others: Tensor) -> Tensor:
    """Return 1 + the place of each of ``rows`` (R,) in ``others`` (N,), 0 where it is not there."""
    same = rows[:, None] == others[None, :]
    places = torch.arange(1, len(others) + 1, device=rows.device)
    return (same * places).sum(dim=1)


def _generators(batch: Mapping[str, Tensor]) -> list[torch.Generator]:
    """Return a generator for each image, so that what is sampled in one does not hang on the others."""
    pairs, device = len(batch["images"]), batch["images"].device
    seeds = batch["seed"].tolist() if "seed" in batch else torch.randint(2**60, (pairs,)).tolist()
    return [
        torch.Generator(device).manual_seed((FRAMES * seed + frame) % 2**63)
        for seed in seeds
        for frame in range(FRAMES)
    ]


def _things_seen(logits: Tensor) -> Tensor:
    """Return where semantic logits (I, C, H / 4, W / 4) are highest for "thing": (I, H, W) bool."""
    things = logits.detach().argmax(dim=1) == THING
    return things.repeat_interleave(STRIDES["p2"], dim=1).repeat_interleave(STRIDES["p2"], dim=2)


def _scale_gradient(field: Tensor, factor: float) -> Tensor:
    return field * factor + (field * (1 - factor)).detach()
