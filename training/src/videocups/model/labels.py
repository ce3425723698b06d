"""What a training batch says of each of its images, in the form that matching and losses need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from videocups.model.boxes import integral
from videocups.model.classes import IGNORE, THING

FRAMES = 2
IGNORED, EXPLAINED, OBJECTS, SEEN = range(4)  # masks of ``ImageLabels.regions``


@dataclass(frozen=True)
class ImageLabels:
    """The labels of one image; objects sorted by their boxes, so that their order in the batch means nothing.

    ``regions`` is the ``boxes.integral`` of four masks: IGNORED pixels, EXPLAINED ones (stuff, or a labelled object),
    labelled OBJECTS, and what the network's semantic head has SEEN as things.
    """

    boxes: Tensor  # (n, 4) float32
    classes: Tensor  # (n,) int64 thing index
    rows: Tensor  # (n,) int64 row in the batch: the same track has the same row in both frames
    instances: Tensor  # (H, W) int64: 0 none, n + 1 = row n
    regions: Tensor  # (H + 1, W + 1, 4) int32


def read_batch(batch: Mapping[str, Tensor], seen: Tensor | None = None) -> list[ImageLabels]:
    """Return the labels of every image, in the order of ``images.flatten(0, 1)``.

    ``seen`` (B, 2, H, W) bool: where the network sees things; everywhere if it was not asked.
    """
    check_batch(batch)
    batch = {**batch, "seen": torch.ones_like(batch["ignore"]) if seen is None else seen}
    return [_image_labels(batch, pair, frame) for pair in range(len(batch["images"])) for frame in range(FRAMES)]


def check_batch(batch: Mapping[str, Tensor]) -> None:
    """Refuse a batch whose tensors do not fit together."""
    pairs, frames, channels, height, width = batch["images"].shape
    if frames != FRAMES or channels != 3:
        raise ValueError(
            f"images must be (B, 2, 3, H, W), got {tuple(batch['images'].shape)}; give pairs of RGB frames"
        )
    count = batch["classes"].shape[-1]
    wanted = {
        "semantic": (pairs, FRAMES, height, width),
        "instances": (pairs, FRAMES, height, width),
        "ignore": (pairs, FRAMES, height, width),
        "classes": (pairs, FRAMES, count),
        "boxes": (pairs, FRAMES, count, 4),
    }
    for name, shape in wanted.items():
        if tuple(batch[name].shape) != shape:
            raise ValueError(f"{name} must be {shape} beside these images, got {tuple(batch[name].shape)}")


def _image_labels(batch: Mapping[str, Tensor], pair: int, frame: int) -> ImageLabels:
    classes, boxes = batch["classes"][pair, frame], batch["boxes"][pair, frame].float()
    rows = torch.nonzero(classes >= 0).squeeze(1)
    for column in (3, 2, 1, 0):  # stable sorts, the last one leads
        rows = rows[boxes[rows, column].argsort(stable=True)]
    semantic, instances = batch["semantic"][pair, frame], batch["instances"][pair, frame]
    ignore = batch["ignore"][pair, frame]
    objects = instances > 0
    explained = (((semantic != THING) & (semantic != IGNORE)) | objects) & ~ignore
    return ImageLabels(
        boxes=boxes[rows],
        classes=classes[rows],
        rows=rows,
        instances=instances,
        regions=integral(torch.stack([ignore, explained, objects, batch["seen"][pair, frame]], dim=-1)),
    )
