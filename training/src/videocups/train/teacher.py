"""A teacher's labels: several views of a pair are predicted and put together, and only what is sure is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torchvision.ops import nms

from videocups.model.boxes import iou
from videocups.model.classes import IGNORE, THING, ClassTable
from videocups.model.detections import Detections
from videocups.model.network import PanopticNetwork
from videocups.train.augmentation import STEP_PX
from videocups.train.network_engine import evaluating, follow, raw_outputs
from videocups.train.pair import IGNORED, FrameLabels, frame_labels
from videocups.train.panoptic_config import TeacherConfig
from videocups_core.panoptic.merge import MergeConfig


@dataclass(frozen=True)
class Seen:
    """What one image shows: objects, and the probability (C, H, W) of every semantic channel."""

    objects: Detections
    semantic: Tensor


def teach(network: PanopticNetwork, images: Tensor, config: TeacherConfig) -> list[tuple[FrameLabels, FrameLabels]]:
    """Label pairs (B, 2, 3, H, W) uint8."""
    seen = look(network, images.flatten(0, 1), config)
    merge = MergeConfig(score_threshold=config.score)
    table = ClassTable.of(network.classes.bundle_classes)
    pairs = []
    for at in range(0, len(seen), 2):
        raw = [raw_outputs(one.objects, one.semantic, network.classes) for one in seen[at : at + 2]]
        frames = follow(network, (raw[0], raw[1]), merge)
        first, second = (
            sure_labels(frame_labels(frame, table), one.semantic, config.semantic)
            for frame, one in zip(frames, seen[at : at + 2], strict=True)
        )
        pairs.append((first, second))
    return pairs


def look(network: PanopticNetwork, images: Tensor, config: TeacherConfig) -> list[Seen]:
    """Look at images (I, 3, H, W) at several sizes, and mirrored, and put together what is seen."""
    views = [(scale, mirrored) for scale in config.scales for mirrored in ((False, True) if config.flip else (False,))]
    with evaluating(network), torch.no_grad():
        found = [_view(network, images, scale, mirrored) for scale, mirrored in views]
    together = []
    for at in range(len(images)):
        semantic = torch.stack([fields[at] for _, fields in found]).mean(dim=0)
        objects = vote([detections[at] for detections, _ in found], network.config.inference.nms_iou)
        together.append(Seen(objects, semantic))
    return together


def vote(views: list[Detections], overlap: float) -> Detections:
    """Keep the best of the detections that overlap; its score is the mean of the views' best on that object.

    A view that does not see the object counts as 0.
    """
    boxes, scores, classes, masks, embeddings = (
        torch.cat([getattr(view, name) for view in views])
        for name in ("boxes", "scores", "classes", "masks", "embeddings")
    )
    kept = nms(boxes, scores, overlap)
    total = torch.zeros(len(kept), device=boxes.device)
    for view in views:
        if len(view.boxes):
            near = iou(boxes[kept], view.boxes) > overlap
            total += (near * view.scores).amax(dim=1)
    return Detections(boxes[kept], total / len(views), classes[kept], masks[kept], embeddings[kept])


def sure_labels(labels: FrameLabels, semantic: Tensor, share: float) -> FrameLabels:
    """Keep semantics only where a channel is at least ``share`` of its own best in the image.

    Where "thing" wins but no sure object lies, nobody knows: such pixels are ignored.
    """
    best, channel = (values.cpu().numpy() for values in semantic.max(dim=0))
    highest = semantic.amax(dim=(1, 2)).cpu().numpy()
    classes: NDArray[np.uint8] = np.where(best > share * highest[channel], channel, IGNORE).astype(np.uint8)
    objects = labels.objects.copy()
    inside = (objects > 0) & (objects != IGNORED)
    objects[(classes == THING) & ~inside] = IGNORED
    return FrameLabels(np.where(inside, THING, classes).astype(np.uint8), objects, labels.tracks, labels.classes)


def _view(network: PanopticNetwork, images: Tensor, scale: float, mirrored: bool) -> tuple[list[Detections], Tensor]:
    """Return detections and semantic probabilities (I, C, H, W) of one view, as they lie in the images."""
    height, width = images.shape[-2:]
    size = tuple(max(round(side * scale / STEP_PX), 1) * STEP_PX for side in (height, width))
    view = images
    if size != (height, width):
        view = functional.interpolate(images.float(), size=size, mode="bilinear", antialias=True)
        view = view.round().clamp(0, 255).to(torch.uint8)
    detections, logits = network.detect(view.flip(-1) if mirrored else view)
    factor = torch.tensor([width / size[1], height / size[0]] * 2, device=images.device)
    found = [_placed(one, factor, width, mirrored) for one in detections]
    logits = logits.flip(-1) if mirrored else logits
    field = functional.interpolate(logits.float(), size=(height, width), mode="bilinear", align_corners=False)
    return found, field.softmax(dim=1)


def _placed(found: Detections, factor: Tensor, width: int, mirrored: bool) -> Detections:
    boxes, masks = found.boxes * factor, found.masks
    if mirrored:
        boxes = torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], dim=1)
        masks = masks.flip(-1)
    return Detections(boxes, found.scores, found.classes, masks, found.embeddings)
