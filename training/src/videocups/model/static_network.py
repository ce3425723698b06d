"""The inference face: the network's weights in one graph of fixed shapes, with the outputs of docs/bundle.md."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from videocups.model.boxes import clip, decode
from videocups.model.cascade import STAGES
from videocups.model.network import PanopticNetwork
from videocups.model.rpn import DELTA_WEIGHTS
from videocups.model.static_masks import StaticMaskHead
from videocups.model.static_ops import FeatureTable, keep_best

OUTPUT_NAMES = ("semantic", "masks", "boxes", "scores", "classes", "embeddings", "semantic_score")
SIZE_MULTIPLE = 32  # the coarsest level that boxes are pooled from must be whole
_DROPPED = -1e9  # below every logit a network gives


class StaticNetwork(nn.Module):
    """``network`` for one (1, height, width, 3) uint8 RGB image; gives the tensors of ``OUTPUT_NAMES`` in that order.

    Weights are shared, but for the last two layers of the masks. ``semantic`` has stride ``semantic_stride``,
    ``semantic_score`` stride 4. Boxes are computed in float32 whatever the precision of the weights: half a pixel is
    all that float16 tells at 1,280.
    """

    anchors: list[Tensor]

    def __init__(self, network: PanopticNetwork, height: int, width: int, semantic_stride: int = 1) -> None:
        super().__init__()
        if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
            raise ValueError(
                f"the input's height and width must be multiples of {SIZE_MULTIPLE}, got {height}x{width}; "
                f"the nearest is {_nearest(height)}x{_nearest(width)}"
            )
        if semantic_stride not in (1, 2, 4):
            raise ValueError(f"semantic_stride must be 1, 2 or 4, got {semantic_stride}")
        self.network = network
        self.height, self.width, self.semantic_stride = height, width, semantic_stride
        self.config = network.config
        self.masks = StaticMaskHead(network.mask_head)
        device = next(network.parameters()).device
        self.level_sizes = []
        for index, anchors in enumerate(network.rpn.anchors(height, width, device)):
            self.register_buffer(f"anchors_{index}", anchors.float(), persistent=False)
            self.level_sizes.append(len(anchors))
        self.register_buffer("stuff_ids", torch.tensor(network.classes.stuff_ids, device=device), persistent=False)
        self.register_buffer("thing_ids", torch.tensor(network.classes.thing_ids, device=device), persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map the image to the outputs."""
        features = self._features(image)
        semantic, semantic_score = self._stuff(features)
        boxes, scores, classes, table = self._detect(features)
        inference, config = self.config.inference, self.config
        samples, canonical = config.roi.samples, config.canonical_px
        count = min(inference.max_detections, len(scores))
        scores, order = scores.topk(count)
        boxes, classes = boxes.index_select(0, order), classes.index_select(0, order)
        masks = self.masks(table.pool(boxes, config.mask.pool, samples, canonical)).float().sigmoid()
        embeddings = self.network.track_head(table.pool(boxes, config.track.pool, samples, canonical)).float()
        return (
            semantic,
            to_uint8(masks),
            boxes,
            scores,
            self.get_buffer("thing_ids").index_select(0, classes),
            embeddings,
            semantic_score,
        )

    def _features(self, image: Tensor) -> dict[str, Tensor]:
        """Normalise in float32 and look in the precision of the weights."""
        network = self.network
        # every engine casts uint8, not every one transposes it
        pixels = image.float().permute(0, 3, 1, 2)
        normalized = (pixels - network.mean.float()) / network.deviation.float()
        features: dict[str, Tensor] = network.fpn(network.backbone(normalized.to(network.backbone.conv1.weight.dtype)))
        return features

    def _stuff(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the best stuff's class id at ``semantic_stride`` and its probability·255 at stride 4."""
        logits = self.network.semantic_head(features).float()
        stuff = logits[:, 1:]
        # the best stuff's part of the softmax alone: over channels runtimes are slow at the whole
        best_logit = stuff.amax(dim=1)
        highest = torch.maximum(best_logit, logits[:, 0])
        total = torch.exp(logits - highest[:, None]).sum(dim=1)
        score = to_uint8((torch.exp(best_logit - highest) / total)[0])  # TensorRT takes no bytes but as outputs
        size = (self.height // self.semantic_stride, self.width // self.semantic_stride)
        if stuff.shape[2:] != size:
            stuff = functional.interpolate(stuff, size=size, mode="bilinear", align_corners=False)
        return self._stuff_ids(stuff.argmax(dim=1)[0]), score

    def _stuff_ids(self, indices: Tensor) -> Tensor:
        """Return the class ids of (H, W) indices of stuff."""
        ids = self.network.classes.stuff_ids
        if ids == tuple(range(ids[0], ids[0] + len(ids))):  # a table read pixel by pixel costs more than the arg-max
            return (indices + ids[0]).to(torch.uint8)
        named = self.get_buffer("stuff_ids").index_select(0, indices.flatten()).reshape(indices.shape)
        return named.to(torch.uint8)

    def _detect(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, FeatureTable]:
        """Return boxes (K, 4), scores (K,), 0 where suppressed, and thing indices (K,) of all proposals, best first."""
        logits, deltas = self.network.rpn.head(features)
        boxes, valid = self._proposals(logits[0].float(), deltas[0].float())
        table, roi = FeatureTable(features), self.config.roi
        probability = torch.zeros(1, device=boxes.device)
        for stage in range(STAGES):
            pooled = table.pool(boxes, roi.pool, roi.samples, self.config.canonical_px)
            class_logits, box_deltas = self.network.cascade.stage(stage, pooled)
            weights = self.network.cascade.delta_weights(stage)
            boxes = clip(decode(box_deltas.float(), boxes, weights), self.height, self.width)
            probability = probability + torch.softmax(class_logits.float(), dim=1)
        best, classes = (probability[:, :-1] / STAGES).max(dim=1)
        scores, order = (best * valid).topk(len(best))
        boxes, classes = boxes.index_select(0, order), classes.index_select(0, order)
        kept = keep_best(boxes[None], self.config.inference.nms_iou)[0]
        return boxes, scores * kept, classes, table

    def _proposals(self, logits: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best boxes (K, 4) of all levels, and 1 for each that suppression left, else 0."""
        rpn = self.config.rpn
        best, moves, anchors = [], [], []
        levels = zip(torch.split(logits, self.level_sizes), torch.split(deltas, self.level_sizes), strict=True)
        for index, (level_logits, level_deltas) in enumerate(levels):
            score, order = level_logits.topk(min(rpn.pre_nms, self.level_sizes[index]))
            best.append(score)
            moves.append(level_deltas.index_select(0, order))
            anchors.append(self.get_buffer(f"anchors_{index}").index_select(0, order))
        boxes = clip(decode(torch.cat(moves), torch.cat(anchors), DELTA_WEIGHTS), self.height, self.width)
        kept = self._survivors(boxes, [len(score) for score in best])
        scores = torch.where(kept > 0.5, torch.cat(best), _DROPPED)
        scores, order = scores.topk(min(rpn.post_nms_test, len(scores)))
        return boxes.index_select(0, order), (scores > _DROPPED / 2).to(boxes.dtype)

    def _survivors(self, boxes: Tensor, counts: list[int]) -> Tensor:
        """Return 1 for each of the boxes (N, 4) that is whole and the best of its level where it is, else 0: (N,)."""
        levels = torch.split(boxes, counts)
        kept: dict[int, Tensor] = {}
        for count in dict.fromkeys(counts):  # levels of as many boxes are suppressed together, each for itself
            places = [place for place, other in enumerate(counts) if other == count]
            found = keep_best(torch.stack([levels[place] for place in places]), self.config.rpn.nms_iou)
            kept |= dict(zip(places, found.unbind(), strict=True))
        whole = (boxes[:, 2:] - boxes[:, :2]).amin(dim=1) > 0
        return torch.cat([kept[place] for place in range(len(counts))]) * whole.to(boxes.dtype)


def to_uint8(share: Tensor) -> Tensor:
    """Return 0…1 as rounded 0…255."""
    return torch.round(share * 255).to(torch.uint8)


def _nearest(size: int) -> int:
    return max(SIZE_MULTIPLE, round(size / SIZE_MULTIPLE) * SIZE_MULTIPLE)
